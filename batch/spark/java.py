"""The Java that Spark's driver runs in: found, started without a word, and ended.

pyspark is imported inside functions: without the extra, ``require`` still says what to install.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from batch.errors import BadSettings
from batch.spark.failures import plain

OLDEST_JAVA = 17
# What no command line may show: `ps` does, to everyone on this machine.
_SECRET = re.compile(
    r"secret|pass(word|phrase)|token|(access|account).?key|credential|\.sas\.", re.IGNORECASE
)
_LOG = """\
rootLogger.level = {level}
logger.start.name = org.apache.spark.api.python.PythonGatewayServer
logger.start.level = {level}
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{{HH:mm:ss}} %p %c{{1}}: %m%n
"""


def require() -> None:
    """Raise BadSettings with what to install when the extra or Java is missing."""
    _require_packages()
    if not _runs():
        _require_java()


def _require_packages() -> None:
    try:
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
        import pyspark  # noqa: F401
    except ModuleNotFoundError as error:
        raise BadSettings(
            f"Spark needs the Python package {error.name!r}: "
            "pip install '.[spark]' in Larder's folder"
        ) from error


def _runs() -> bool:
    from pyspark import SparkContext

    return "PYSPARK_GATEWAY_PORT" in os.environ or SparkContext._gateway is not None


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    found = _version(java) if java else 0
    if found < OLDEST_JAVA:
        there = f"Java {found}" if found else "no Java"
        where = f"in JAVA_HOME={home!r}" if home else "on the PATH"
        raise BadSettings(
            f"Spark needs Java {OLDEST_JAVA} or newer, found {there} {where}: install it (Debian: "
            f"apt-get install openjdk-{OLDEST_JAVA}-jre-headless) or set JAVA_HOME"
        )


def _version(java: str) -> int:
    """17 for a java that says 'version "17.0.15"', 8 for "1.8.0_402"; 0 when it does not run."""
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    number = re.search(r'version "(?:1\.)?(\d+)', said.stderr)
    return int(number[1]) if number else 0


@contextmanager
def running(conf: Mapping[str, str], log_level: str) -> Iterator[None]:
    """Run Spark's Java, unless spark-submit or a notebook started one; end it with its files.

    Settings that look like secrets are not passed: whoever makes the context sets them again.
    """
    from pyspark import SparkContext

    if _runs():
        SparkContext._ensure_initialized()
        yield
        return
    with TemporaryDirectory(prefix="larder-spark-") as folder:
        gateway = _launch(conf, log_level, Path(folder))
        try:
            SparkContext._ensure_initialized(gateway=gateway)
            yield
        finally:
            gateway.shutdown()
            end(gateway.proc)
            SparkContext._gateway = SparkContext._jvm = None
            SparkContext._active_spark_context = None  # left behind when Java died


def _launch(conf: Mapping[str, str], log_level: str, folder: Path) -> Any:
    """Start Java; when the log is off, what Java and native libraries print goes to a file."""
    from pyspark import SparkConf
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway

    (folder / "log4j2.properties").write_text(_LOG.format(level=log_level))
    option = f"-Dlog4j2.configurationFile={(folder / 'log4j2.properties').as_uri()}"
    inherited = os.environ.get("SPARK_SUBMIT_OPTS", "")
    os.environ["SPARK_SUBMIT_OPTS"] = f"{inherited} {option}".strip()  # of two, the last one counts
    shown = [(key, value) for key, value in conf.items() if not _SECRET.search(key)]
    with (folder / "said").open("w+") as said:
        try:
            quiet = {"stdout": said, "stderr": said} if log_level == "off" else None
            return launch_gateway(SparkConf(loadDefaults=False).setAll(shown), quiet)
        except PySparkRuntimeError as error:
            said.seek(0)
            raise BadSettings(f"Spark did not start: {_complaint(said.read())}") from error


def _complaint(said: str) -> str:
    lines = [
        line for line in said.splitlines() if not re.match(r"WARNING|Error( occurred|:)", line)
    ]
    return plain(lines[0]) if lines else "see what it printed above"


def end(process: "subprocess.Popen[Any]", seconds: float = 30) -> None:
    """Wait for a process that should end with its input; kill it when it has not by then."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
