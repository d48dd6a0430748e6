"""A real standalone Spark cluster on loopback: a master and its workers, each a process."""

import os
import signal
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Self

import psutil
import pyspark

from tests.servers import environment, free_port, wait_until

QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # Java that lives for a minute
# For a few rows it takes longer to compile a program than to interpret the plan.
INTERPRETED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
PACKAGE = Path(pyspark.__path__[0])


class StandaloneCluster:
    """One master and two workers of one core each; every executor runs this Python.

    folder: for logs and the executors' work; a worker offers ``memory_mb`` to executors.
    """

    def __init__(self, folder: Path, workers: int = 2, memory_mb: int = 1024) -> None:
        self._folder = folder
        self._wanted = workers
        self._memory_mb = memory_mb
        self._port = free_port()
        self._master: psutil.Process | None = None
        self._numbers = count()
        self.workers: list[psutil.Process] = []

    @property
    def url(self) -> str:
        return f"spark://127.0.0.1:{self._port}"

    def add_worker(self) -> None:
        """Start one more worker; returns when the master has it."""
        log = self._start_worker()
        wait_until(lambda: _registered(log))

    def _start_worker(self) -> Path:
        number = next(self._numbers)
        log = self._folder / f"worker-{number}.log"
        self.workers.append(
            self._start(
                "worker.Worker",
                log,
                *("--cores", "1", "--memory", f"{self._memory_mb}m"),
                *("--work-dir", str(self._folder / f"work-{number}"), self.url),
            )
        )
        return log

    def kill_worker(self) -> None:
        """Kill -9 the last worker and all that it started: executors and their Python."""
        _kill_all(self.workers.pop())

    def replace_the_dead(self) -> None:
        """Start a worker for each that was killed."""
        while len(self.workers) < self._wanted:
            self.add_worker()

    def all_use(self, ports: set[int]) -> bool:
        """Whether each worker has a task that is connected from one of these ports."""
        return all(ports & _ports(worker) for worker in self.workers)

    def shuffled(self) -> int:
        """How many times a task has written what other tasks read."""
        return sum(1 for _ in (self._folder / "local").glob("**/shuffle_*.index"))

    def failures(self) -> int:
        """How many times an executor has said that a task failed."""
        said = self._folder.glob("work-*/*/*/stderr")
        return sum(each.read_text().count("Exception in task") for each in said)

    def executors(self, number: int) -> list[psutil.Process]:
        """The Java processes of executors that a worker runs now."""
        children = self.workers[number].children()
        return [each for each in children if "java" in each.name()]

    def __enter__(self) -> Self:
        try:
            log = self._folder / "master.log"
            self._master = self._start("master.Master", log, "--port", str(self._port))
            wait_until(lambda: "New state: ALIVE" in log.read_text())
            logs = [self._start_worker() for _ in range(self._wanted)]
            wait_until(lambda: all(_registered(log) for log in logs))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        for process in [*self.workers, *filter(None, [self._master])]:
            _kill_all(process)

    def _start(self, kind: str, log: Path, *arguments: str) -> psutil.Process:
        home = os.environ.get("JAVA_HOME")
        command = [f"{home}/bin/java" if home else "java", "-Xmx512m", *QUICK]
        command += ["-cp", f"{PACKAGE / 'jars'}/*", f"org.apache.spark.deploy.{kind}"]
        command += ["--host", "127.0.0.1", "--webui-port", str(free_port()), *arguments]
        with log.open("w") as opened:
            return psutil.Popen(
                command, env=environment(self._variables()), stdout=opened, stderr=opened
            )

    def _variables(self) -> dict[str, str]:
        return {
            "SPARK_HOME": str(PACKAGE),
            "SPARK_SCALA_VERSION": "2.13",  # Spark's own scripts would set it
            "SPARK_LOCAL_IP": "127.0.0.1",  # the web pages' address
            "SPARK_LOCAL_DIRS": str(self._folder / "local"),
            "PYSPARK_PYTHON": sys.executable,
        }


def _registered(log: Path) -> bool:
    return "Successfully registered with master" in log.read_text()


def _ports(worker: psutil.Process) -> set[int]:
    found: set[int] = set()
    for each in worker.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found |= {connection.laddr.port for connection in each.net_connections()}
    return found


def _kill_all(process: psutil.Process) -> None:
    """Kill -9 a process of ours and its descendants, and wait until they are gone."""
    if not process.is_running():
        return
    doomed = [process, *process.children(recursive=True)]
    for each in doomed:
        if each.is_running():
            each.send_signal(signal.SIGKILL)
    psutil.wait_procs(doomed)
