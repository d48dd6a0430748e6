"""A Spark session that is quiet, has our code on its executors, and fails in one sentence.

pyspark is imported inside functions: without the extra, ``java.require`` says what to install.
"""

import logging
import os
import re
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Event, Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any

from batch.errors import BadSettings, ClusterUnavailable
from batch.spark import java
from batch.spark.failures import no_pages, spark_errors
from batch.spark.package import is_local, ship

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

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
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.maxResultSize": "0",  # what comes back is as large as the items or --whole-mb
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",  # a task is one thread; Spark counts the cores
    "spark.executorEnv.OMP_WAIT_POLICY": "passive",  # of LightGBM: threads that spin take cores
}
_LOCAL = {"spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1))}
_HERE = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
}
# What spark-submit sets by itself for a Python program that starts it: nobody's wish.
_INVENTED = {
    "spark.app.name": "pyspark-shell",
    "spark.master": "local[*]",
    "spark.ui.showConsoleProgress": "true",
}


@contextmanager
def session(conf: Mapping[str, str], log_level: str = "off") -> "Iterator[SparkSession]":
    """Lend a Spark session; one that is active already is used, and left running.

    conf: Spark's own settings by name; they win over ours, over those of spark-submit and
    over spark-defaults.conf. log_level: "off", "error", "warn", "info" of Spark's log on stderr.
    Raises BadSettings, or as ``spark_errors`` says; errors raised inside are translated too.
    """
    java.require()
    from pyspark import SparkContext

    logging.getLogger("py4j").setLevel(logging.WARNING)  # at INFO it tells of its sockets
    active = SparkContext._active_spark_context is not None
    lent = _borrowed(conf) if active else _started(conf, log_level)
    with _restored(), lent as spark:
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

    with spark_errors(), ExitStack() as stack:
        spark = SparkSession.builder.getOrCreate()
        wanted = {**_SQL, **conf}
        before = {key: spark.conf.get(key, None) for key in wanted}
        _refuse_the_fixed(spark, {key for key in conf if conf[key] != before[key]})
        stack.callback(_set, spark, before)
        _set(spark, {key: value for key, value in wanted.items() if before[key] != value})
        ship(spark.sparkContext)
        yield spark


def _refuse_the_fixed(spark: "SparkSession", keys: set[str]) -> None:
    for key in sorted(keys):
        if not spark.conf.isModifiable(key):
            raise BadSettings(
                f"{key} cannot change in a Spark session that runs already, and has another value "
                "there: set it where that one is started"
            )


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
    # Errors are translated while Spark and Java still run: they are asked what happened.
    with java.running(conf, log_level), ExitStack() as stack, spark_errors():
        settings = settings_of(conf)
        _choose_python(settings)
        _reach(settings.get("spark.master") or "")
        wait_seconds = _wait_seconds(settings)
        before = _handlers()
        stack.callback(_handle_again, before)
        spark = SparkSession.builder.config(conf=settings).getOrCreate()
        stack.callback(_stop, spark)
        _handle(spark.sparkContext, before)
        spark.sparkContext.setLogLevel(log_level.upper())
        ship(spark.sparkContext)
        with _attended(spark.sparkContext, wait_seconds):
            yield spark


def _stop(spark: "SparkSession") -> None:
    from py4j.protocol import Py4JError

    with no_pages(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unable to cleanly shutdown Spark JVM process")
        try:
            spark.stop()
        except (Py4JError, ConnectionError):  # Java died: there is nothing to stop, and whoever
            return  # wanted more of it was told so


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


def _handle_again(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _wait_seconds(settings: "SparkConf") -> float:
    text = settings.get(WAIT) or str(_WAIT_SECONDS)
    try:
        return float(text)
    except ValueError as error:
        raise BadSettings(f"{WAIT} must be a number of seconds") from error


@contextmanager
def _attended(context: "SparkContext", wait_seconds: float) -> Iterator[None]:
    """Raise ClusterUnavailable when work waits too long for executors; Spark waits for ever."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    if is_local(context.master or ""):
        yield
        return
    ended, given_up = Event(), Event()
    watch = Thread(target=_watch, args=(context, wait_seconds, ended, given_up), daemon=True)
    watch.start()
    try:
        yield
    except (PySparkException, Py4JError) as error:
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


def settings_of(given: Mapping[str, str]) -> "SparkConf":
    """Return these settings of Spark, those that it has, and ours where neither says anything."""
    from pyspark import SparkConf

    settings = SparkConf().setAll(list(given.items()))
    _fill(settings, _ANYWHERE, given)
    master = settings.get("spark.master") or ""
    if _is_here(master):
        _fill(settings, _HERE, given)
    if is_local(master):
        _fill(settings, _LOCAL, given)
    return settings


def _fill(settings: "SparkConf", defaults: Mapping[str, str], given: Mapping[str, str]) -> None:
    for key, value in defaults.items():
        if key not in given and settings.get(key) in (None, _INVENTED.get(key)):
            settings.set(key, value)


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
