"""A standalone Spark cluster beside a notebook: a master and workers, each a process."""

import atexit
import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from batch.command.stack.up import StepFailed, check_port, end, get
from batch.command.stack.waiting import soon
from batch.spark import java
from batch.workbench.service import launch

HERE = "127.0.0.1"
READY_SECONDS = 120.0
SETTINGS = {
    "SPARK_LOCAL_IP": HERE,  # where their web pages listen
    "SPARK_DAEMON_MEMORY": "512m",
    "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
}


class SparkCluster:
    """A master that takes work at ``url`` until the kernel ends, or ``stop`` is called."""

    def __init__(self) -> None:
        port, page = (check_port(f"{HERE}:0", "spark_cluster") for _ in range(2))
        self.url = f"spark://{HERE}:{port}"
        self.page = f"http://{HERE}:{page}"
        """Shows its workers, and what runs on them."""
        self.folder = Path(tempfile.mkdtemp(prefix="larder-spark-"))
        """What they say, and what executors leave until it is stopped."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        atexit.register(self.stop)
        ports = ("--port", str(port), "--webui-port", str(page))
        self._start("master", "master.Master", *ports)

    def add(self, *options: str) -> None:
        """Start one more worker."""
        name = f"worker-{len(self._processes)}"
        own = ("--work-dir", str(self.folder / name), "--webui-port", "0")
        self._start(name, "worker.Worker", *own, *options, self.url)

    def wait(self) -> None:
        """Return once the master has all workers. Raises StepFailed and Transient."""
        otherwise = f"the Spark cluster was not ready after {READY_SECONDS:.0f} seconds"
        soon(self._is_whole, READY_SECONDS, otherwise)

    def said(self) -> str:
        """What master and workers wrote down."""
        logs = sorted(self.folder.glob("*.log"))
        return "".join(each.read_text(errors="replace") for each in logs)

    def stop(self) -> None:
        """End all of it, and wait until it has."""
        atexit.unregister(self.stop)
        while self._processes:
            end(self._processes.popitem()[1])
        shutil.rmtree(self.folder, ignore_errors=True)

    def __repr__(self) -> str:
        return f"<{self.url}, {self.page}>"

    def _is_whole(self) -> bool:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise StepFailed(f"Spark {name}", process.returncode or 1)
        with contextlib.suppress(OSError):
            workers = len(self._processes) - 1
            return bool(get(f"{self.page}/json/")["aliveworkers"] == workers)
        return False

    def _start(self, name: str, kind: str, *options: str) -> None:
        import pyspark

        program = Path(pyspark.__path__[0]) / "bin" / "spark-class"
        command = [str(program), f"org.apache.spark.deploy.{kind}", "--host", HERE, *options]
        local = {"SPARK_LOCAL_DIRS": str(self.folder / "local")}
        log = self.folder / f"{name}.log"
        self._processes[name] = launch(command, {**SETTINGS, **local}, log)


def spark_cluster(workers: int = 1, cores: int = 2, memory: str = "1g") -> SparkCluster:
    """Start Spark's own cluster on free ports of loopback; returns once it has its workers.

    cores, memory: what each of the workers lends to executors. Raises BadSettings where there is no
    Spark or no Java, and StepFailed and Transient, after what the cluster said.
    """
    java.require()
    cluster = SparkCluster()
    try:
        for _ in range(workers):
            cluster.add("--cores", str(cores), "--memory", memory)
        cluster.wait()
    except BaseException:
        print(cluster.said(), end="")
        cluster.stop()
        raise
    return cluster
