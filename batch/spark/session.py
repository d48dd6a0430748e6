"""A Spark session that is quiet, has our code on its executors, and fails in one sentence.

pyspark is imported inside functions: without the extra, ``require`` still says what to install.
"""

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

import batch
from app.contracts import recommendations
from batch import errors
from batch.errors import (
    BadInteractions,
    BadSettings,
    ClusterUnavailable,
    JobFailed,
    LarderError,
    OutOfMemory,
)

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

OLDEST_JAVA = 17
WAIT = "spark.larder.executorWaitSeconds"
"""Our own setting: how long work may wait on a cluster that has no executor for it at all."""
_WAIT_SECONDS = 600
# Set where neither the caller nor spark-submit nor spark-defaults.conf did.
_SQL = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.legacy.parquet.nanosAsLong": "true",  # pandas writes them; Spark refuses them
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.pyspark.jvmStacktrace.enabled": "true",  # what ran out of memory is named there only
}
_ANYWHERE = {
    **_SQL,
    "spark.app.name": "larder",
    "spark.master": "local[*,4]",  # 4: failures that a task may have; Spark's own 1 retries nothing
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.maxResultSize": "0",  # what comes back is as large as the items or --whole-mb
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",  # a task is one thread; Spark counts the cores
}
_LOCAL = {"spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1))}
_HERE = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
# What spark-submit sets by itself for a Python program that starts it: nobody's wish.
_INVENTED = {
    "spark.app.name": "pyspark-shell",
    "spark.master": "local[*]",
    "spark.ui.showConsoleProgress": "true",
}
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
    if not _java_runs():
        _require_java()


def _require_packages() -> None:
    try:
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
        import pyspark  # noqa: F401
    except ModuleNotFoundError as error:
        raise BadSettings(
            f"Spark needs the Python package {error.name!r}: pip install 'larder[spark]'"
        ) from error


def _java_runs() -> bool:
    from pyspark import SparkContext

    return "PYSPARK_GATEWAY_PORT" in os.environ or SparkContext._gateway is not None


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    found = _java_version(java) if java else 0
    if found < OLDEST_JAVA:
        there = f"Java {found}" if found else "no Java"
        where = f"in JAVA_HOME={home!r}" if home else "on the PATH"
        raise BadSettings(
            f"Spark needs Java {OLDEST_JAVA} or newer, found {there} {where}: install it (Debian: "
            f"apt-get install openjdk-{OLDEST_JAVA}-jre-headless) or set JAVA_HOME"
        )


def _java_version(java: str) -> int:
    """17 for a java that says 'version "17.0.15"', 8 for "1.8.0_402"; 0 when it does not run."""
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    number = re.search(r'version "(?:1\.)?(\d+)', said.stderr)
    return int(number[1]) if number else 0


@contextmanager
def session(conf: Mapping[str, str], log_level: str = "off") -> "Iterator[SparkSession]":
    """Lend a Spark session; one that is active already is used, and left running.

    conf: Spark's own settings by name; they win over ours, over those of spark-submit and
    over spark-defaults.conf. log_level: "off", "error", "warn", "info" of Spark's log on stderr.
    Raises BadSettings, or as ``translated`` says; errors raised inside are translated too.
    """
    require()
    from pyspark import SparkContext

    logging.getLogger("py4j").setLevel(logging.WARNING)  # at INFO it tells of its sockets
    active = SparkContext._active_spark_context is not None
    lent = _borrowed(conf) if active else _started(conf, log_level)
    with _restored(), lent as spark, translated():
        yield spark


@contextmanager
def _restored() -> Iterator[None]:
    """Put back what pyspark changes in this process: variables, import paths."""
    variables, paths = dict(os.environ), list(sys.path)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        sys.path[:] = paths


@contextmanager
def _borrowed(conf: Mapping[str, str]) -> "Iterator[SparkSession]":
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    wanted = {**_SQL, **conf}
    before = {key: spark.conf.get(key, None) for key in wanted}
    for key in [key for key, value in conf.items() if before[key] != value]:
        if not spark.conf.isModifiable(key):
            raise BadSettings(
                f"{key} cannot change in a Spark session that runs already "
                f"({before[key]!r} there, {conf[key]!r} here): set it where that one is started"
            )
    try:
        _set(spark, {key: value for key, value in wanted.items() if before[key] != value})
        _ship(spark.sparkContext)
        yield spark
    finally:
        _set(spark, before)


def _set(spark: "SparkSession", values: Mapping[str, str | None]) -> None:
    for key, value in values.items():
        if value is None:
            spark.conf.unset(key)
        elif spark.conf.isModifiable(key):
            spark.conf.set(key, value)


@contextmanager
def _started(conf: Mapping[str, str], log_level: str) -> "Iterator[SparkSession]":
    from pyspark.sql import SparkSession

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with (
        TemporaryDirectory(prefix="larder-spark-") as folder,
        _java(conf, log_level, Path(folder)),
        translated(),  # while Java still runs: it is asked for what it raised
    ):
        settings = _settings(conf)
        _choose_python(settings)
        _reach(settings.get("spark.master") or "")
        wait_seconds = _wait_seconds(settings)
        before = _handlers()
        try:
            spark = SparkSession.builder.config(conf=settings).getOrCreate()
            try:
                _handle(spark.sparkContext, before)
                spark.sparkContext.setLogLevel(log_level.upper())
                _ship(spark.sparkContext)
                with _attended(spark.sparkContext, wait_seconds):
                    yield spark
            finally:
                _stop(spark)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _stop(spark: "SparkSession") -> None:
    with warnings.catch_warnings():  # that Java died is told as our error
        warnings.filterwarnings("ignore", "Unable to cleanly shutdown Spark JVM process")
        spark.stop()


def _handlers() -> dict[signal.Signals, Any]:
    """What this process does at the signals that end a run."""
    if current_thread() is not main_thread():
        return {}
    return {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}


def _handle(context: "SparkContext", handlers: Mapping[signal.Signals, Any]) -> None:
    """Let these signals end the run at once, however long Spark would still be busy.

    Also instead of pyspark, which takes Ctrl-C for itself.
    """

    gateway: Any = context._gateway
    of_thread = getattr(gateway._gateway_client, "thread_connection", None)

    def stop(number: int, frame: Any) -> None:
        if of_thread is not None:  # else it takes the answer that it did not wait for as the next
            of_thread.__dict__.pop("connection", None)
        try:
            context.cancelAllJobs()
        finally:
            handlers[signal.Signals(number)](number, frame)

    for number, handler in handlers.items():
        signal.signal(number, stop if callable(handler) else handler)


def _wait_seconds(settings: "SparkConf") -> float:
    text = settings.get(WAIT) or str(_WAIT_SECONDS)
    try:
        return float(text)
    except ValueError as error:
        raise BadSettings(f"{WAIT} must be a number of seconds, not {text!r}") from error


@contextmanager
def _attended(context: "SparkContext", wait_seconds: float) -> Iterator[None]:
    """Raise ClusterUnavailable when work waits too long for executors; Spark waits for ever."""
    if _is_local(context.master or ""):
        yield
        return
    ended, given_up = Event(), Event()
    watch = Thread(target=_watch, args=(context, wait_seconds, ended, given_up), daemon=True)
    watch.start()
    try:
        yield
    except Exception as error:
        if not given_up.is_set():
            raise
        raise ClusterUnavailable(
            f"{context.master} gave this run no executor within {wait_seconds:g} s: see that it "
            "has workers that are up, with free cores and the memory of --conf "
            f"spark.executor.memory=...; --conf {WAIT}=... waits longer"
        ) from error
    finally:
        ended.set()
        watch.join()


def _watch(context: "SparkContext", wait_seconds: float, ended: Event, given_up: Event) -> None:
    from py4j.protocol import Py4JError

    served = time.monotonic()
    while not ended.wait(1):
        try:
            if not _starves(context):
                served = time.monotonic()
            elif time.monotonic() - served > wait_seconds:
                given_up.set()
                context.cancelAllJobs()
        except (Py4JError, OSError):  # Java is gone, and the run hears of it
            return


def _starves(context: "SparkContext") -> bool:
    """Is there work, and nobody but the driver?"""
    assert context._jsc is not None
    members = context._jsc.sc().getExecutorMemoryStatus().size()
    return members < 2 and bool(context.statusTracker().getActiveJobsIds())


@contextmanager
def _java(conf: Mapping[str, str], log_level: str, folder: Path) -> Iterator[None]:
    """Spark's Java process, unless spark-submit or a notebook started one; ended with its files."""
    from pyspark import SparkContext

    if _java_runs():
        SparkContext._ensure_initialized()
        yield
        return
    gateway = _launch(conf, log_level, folder)
    try:
        SparkContext._ensure_initialized(gateway=gateway)
        yield
    finally:
        gateway.shutdown()
        gateway.proc.stdin.close()  # which ends it
        gateway.proc.wait()
        SparkContext._gateway = SparkContext._jvm = None
        SparkContext._active_spark_context = None  # left behind when Java died


def _launch(conf: Mapping[str, str], log_level: str, folder: Path) -> Any:
    """Start Java; when the log is off, what Java and native libraries print goes to a file."""
    from pyspark import SparkConf
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway

    (folder / "log4j2.properties").write_text(_LOG.format(level=log_level))
    option = f"-Dlog4j2.configurationFile={(folder / 'log4j2.properties').as_uri()}"
    os.environ["SPARK_SUBMIT_OPTS"] = f"{option} {os.environ.get('SPARK_SUBMIT_OPTS', '')}".strip()
    given = SparkConf(loadDefaults=False).setAll(list(conf.items()))
    with (folder / "said").open("w+") as said:
        try:
            quiet = {"stdout": said, "stderr": said} if log_level == "off" else None
            return launch_gateway(given, quiet)
        except PySparkRuntimeError as error:
            said.seek(0)
            raise BadSettings(f"Spark did not start: {_complaint(said.read())}") from error


def _complaint(said: str) -> str:
    lines = [
        line for line in said.splitlines() if not re.match(r"WARNING|Error( occurred|:)", line)
    ]
    return _plain(lines[0]) if lines else "see what it printed above"


def _settings(given: Mapping[str, str]) -> "SparkConf":
    from pyspark import SparkConf

    settings = SparkConf().setAll(list(given.items()))
    _fill(settings, _ANYWHERE, given)
    master = settings.get("spark.master") or ""
    if _is_here(master):
        _fill(settings, _HERE, given)
    if _is_local(master):
        _fill(settings, _LOCAL, given)
    return settings


def _fill(settings: "SparkConf", defaults: Mapping[str, str], given: Mapping[str, str]) -> None:
    for key, value in defaults.items():
        if key not in given and settings.get(key) in (None, _INVENTED.get(key)):
            settings.set(key, value)


def _is_local(master: str) -> bool:
    """Do tasks run in the driver's own process?"""
    return re.fullmatch(r"local(\[.*\])?", master) is not None


def _is_here(master: str) -> bool:
    """Does all of it run on this machine?"""
    return re.match(r"local|spark://(127\.|localhost[:/])", master) is not None


def _choose_python(settings: "SparkConf") -> None:
    """Executors on this machine run this Python, not the first python3 of the PATH."""
    chosen = settings.get("spark.pyspark.python")
    if chosen or _is_here(settings.get("spark.master") or ""):
        os.environ.setdefault("PYSPARK_PYTHON", chosen or sys.executable)


def _reach(master: str) -> None:
    """Raise ClusterUnavailable at once: Spark itself would try a dead master for a minute."""
    if not master.startswith("spark://"):
        return
    if not any(_listens(address) for address in master.removeprefix("spark://").split(",")):
        raise ClusterUnavailable(f"no Spark master answers at {master}: is it running?")


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=10):
            return True
    except OSError:
        return False
    except ValueError as error:
        raise BadSettings(f"a standalone master is spark://host:port, found {address!r}") from error


def _ship(context: "SparkContext") -> None:
    """Give our code to executors elsewhere, unless it came out of a zip that they have already."""
    from pyspark import SparkFiles

    if _is_local(context.master or "") or not Path(batch.__path__[0]).is_dir():
        return
    # There it lives as long as the context: executors that join late fetch it too.
    path = Path(SparkFiles.getRootDirectory()) / "larder-shipped.zip"
    package(path)
    context.addPyFile(str(path))


def package(path: Path) -> None:
    """Write the zip that executors need: ``batch`` and ``app.contracts``, no data, no Flask."""
    own, door = Path(batch.__path__[0]), Path(recommendations.__file__).parent
    found = [each for each in own.rglob("*") if "datasets" not in each.relative_to(own).parts]
    names = {each: Path("batch") / each.relative_to(own) for each in found}
    names |= {each: Path("app/contracts") / each.relative_to(door) for each in door.rglob("*")}
    names |= {door.parent / name: Path("app") / name for name in ("__init__.py", "py.typed")}
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for source, name in sorted(names.items()):
            if name.suffix == ".py" or name.name == "py.typed":
                archive.write(source, name)


@contextmanager
def translated() -> Iterator[None]:
    """Raise Spark's and py4j's errors as ours, in one sentence, never a page of Java.

    An error of ours from an executor comes out as what it was. Else BadInteractions: no such
    input; BadSettings: no such master, unknown file system; ClusterUnavailable: given up by the
    cluster; OutOfMemory; JobFailed: the first line of any other cause.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        with _no_pages():
            yield
    except (PySparkException, Py4JError) as error:
        raise _ours(_text(error)) from error
    except ConnectionError as error:
        if not _from_py4j(error):
            raise
        raise _ours(_GONE) from error


@contextmanager
def _no_pages() -> Iterator[None]:
    """Stop pyspark from showing a page of Java before it raises the same."""
    from pyspark.logger import PySparkLogger

    names = ("DataFrameQueryContextLogger", "SQLQueryContextLogger")
    loggers = [PySparkLogger.getLogger(name) for name in names]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "toPandas attempted Arrow optimization")
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _from_py4j(error: BaseException) -> bool:
    """Was it Java that hung up?"""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").startswith("py4j."):
            return True
        trace = trace.tb_next
    return False


def _text(error: Exception) -> str:
    from py4j.protocol import Py4JError, Py4JNetworkError

    try:
        text = str(error)
        return _GONE if isinstance(error, Py4JNetworkError) or _ends(text) else text
    except (Py4JError, OSError):  # a Java error is asked for its text
        return _GONE


_STOPPED = "SparkContext was shut ?down|stopped SparkContext"


def _ends(text: str) -> bool:
    """Is Java about to exit? With a local master no cluster can have stopped the run."""
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    stopped = re.search(_STOPPED, text) is not None
    return stopped and context is not None and _is_local(context.master or "")


_GONE = "Java hung up"
_ROOM = (
    "give executors more by --conf spark.executor.memory=... (Java) or --conf "
    "spark.executor.memoryOverhead=... (Python; spark.executor.pyspark.memory, where that is set), "
    "a local master by --conf spark.driver.memory=..., or use more partitions"
)
# The first that matches says what happened; its first group is shown.
_MEANINGS: tuple[tuple[str, type[LarderError], str], ...] = (
    (
        r"(?:\[PATH_NOT_FOUND\] P|Input p)ath does not exist: (.+?)(?:\. SQLSTATE.*)?$",
        BadInteractions,
        "no such input: {}",
    ),
    (
        r'(?:No FileSystem for scheme "?|ClassNotFoundException: Class )([\w.-]+)',
        BadSettings,
        "Spark lacks what reads {}: name its package by --conf spark.jars.packages=...",
    ),
    (r"Could not parse Master URL: '?(.*?)'?$", BadSettings, "no such Spark master: {!r}"),
    (
        r"(StackOverflowError)",
        BadSettings,
        "Java's stack was too small ({}), as Spark noted down the origin of every iteration: name "
        "a folder that all executors reach by --conf spark.checkpoint.dir=..., or give more by "
        "--conf spark.driver.extraJavaOptions=-Xss16m (and spark.executor.extraJavaOptions)",
    ),
    (
        rf"(All masters are unresponsive|Master removed our application: \w+|{_STOPPED})",
        ClusterUnavailable,
        "the Spark cluster gave the run up ({}): see that it has workers that are free",
    ),
    (
        r"(OutOfMemoryError|MemoryError|cannot allocate memory|failed to map segment|"
        r"Container killed|OOMKilled|ExecutorLostFailure|"
        r"Python worker exited unexpectedly|exit(?:ed with)? ?code:? (?:52|137|143)\b)",
        OutOfMemory,
        f"an executor ran out of memory, or was killed ({{}}): {_ROOM}",
    ),
    (
        r"(Connection refused|Failed to connect to [^:\s]+|UnknownHostException: [\w.-]+|"
        r"Connection timed out)",
        ClusterUnavailable,
        "the Spark cluster or its storage does not answer ({})",
    ),
    (
        f"^({_GONE})$",
        OutOfMemory,
        "Spark's driver process ended ({}), most likely out of memory: give it more by --conf "
        "spark.driver.memory=...",
    ),
)


def _ours(text: str) -> LarderError:
    if raised := re.findall(r"^batch\.errors\.(\w+): (.+)$", text, re.MULTILINE):
        name, sentence = raised[-1]
        return _class(name)(sentence)
    for pattern, kind, sentence in _MEANINGS:
        if found := re.search(pattern, text, re.MULTILINE | re.IGNORECASE):
            return kind(sentence.format(found[1]))
    return JobFailed(f"Spark could not finish: {_cause(text)}")


def _class(name: str) -> type[LarderError]:
    found = getattr(errors, name, JobFailed)
    return found if issubclass(found, LarderError) else JobFailed


def _cause(text: str) -> str:
    """What says most: a Python traceback's last line, else Java's deepest cause, or line one."""
    python = re.findall(r"^Traceback .*\n(?:[ \t].*\n|\n)*(\S.*)$", text, re.MULTILINE)
    java = re.findall(r"^Caused by: (.+)$", text, re.MULTILINE)
    first = re.findall(r"^: (.+)$", text, re.MULTILINE) or text.strip().splitlines() or [text]
    return _plain((python[-1:] or java[-1:] or first)[0])[:300]


def _plain(line: str) -> str:
    """Without the names of Java's classes in front."""
    return re.sub(r'^(Exception in thread "\w+" )?((?:[a-z][\w$]*\.)+[\w$]+: )+', "", line)
