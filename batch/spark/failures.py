"""What goes wrong in Spark, as errors of ours: one sentence, never a page of Java."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from batch import errors
from batch.errors import (
    BadInteractions,
    BadSettings,
    ClusterUnavailable,
    JobFailed,
    LarderError,
    OutOfMemory,
)

_GONE = "Java hung up"
_UNANSWERED = r"An error occurred while calling \S+"  # py4j, when nothing came back
_STOPPED = "SparkContext was shut ?down|stopped SparkContext"
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
    (
        r"(invalid null input: name)",
        BadSettings,
        "Spark needs a user that has a name ({}): give this user id one in /etc/passwd",
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
        r"(Spark context stopped while waiting for backend)",
        ClusterUnavailable,
        "Spark got no executor ({}): --spark-log warn shows what the cluster said",
    ),
    (
        r"(OutOfMemoryError|MemoryError|cannot allocate memory|failed to map segment|"
        r"Container killed|OOMKilled|Python worker exited unexpectedly|"
        r"exit(?:ed with)?(?: exit)? ?(?:code|status)(?: is)?:? (?:52|137|143)\b|"
        r"ExecutorLostFailure(?=.*(?:memory|\bOOM\b)))",
        OutOfMemory,
        f"an executor ran out of memory, or was killed ({{}}): {_ROOM}",
    ),
    (
        r"(ExecutorLostFailure|FetchFailed|Missing an output location for shuffle)",
        ClusterUnavailable,
        "the Spark cluster lost executors, or what they kept, more often than Spark tries again "
        "({}): see the logs of its workers; --conf spark.task.maxFailures=... tries more often",
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


@contextmanager
def spark_errors() -> Iterator[None]:
    """Raise Spark's and py4j's errors as ours; for whoever lends a session, while Java runs.

    An error of ours from an executor comes out as what it was. Else what ``_MEANINGS`` says of it:
    BadInteractions, BadSettings, ClusterUnavailable or OutOfMemory; JobFailed: the first line of
    any other cause.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    with no_pages():
        try:
            yield
        except (PySparkException, Py4JError) as error:
            raise _ours(_text(error)) from error
        except ConnectionError as error:
            if not _from_py4j(error):
                raise
            raise _ours(_GONE) from error


@contextmanager
def no_pages() -> Iterator[None]:
    """Stop pyspark and py4j from showing a page before they raise the same."""
    from pyspark.logger import PySparkLogger

    names = ("DataFrameQueryContextLogger", "SQLQueryContextLogger")
    loggers = [PySparkLogger.getLogger(name) for name in names]
    before = [logger.disabled for logger in loggers]
    quiet = partial(_is_not_py4j)  # an object of its own: calls may lie within each other
    logging.root.addFilter(quiet)
    try:
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "toPandas attempted Arrow optimization")
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
        logging.root.removeFilter(quiet)


def _is_not_py4j(record: logging.LogRecord) -> bool:
    """False for what py4j logs by the root logger: its traceback when Java hangs up."""
    return Path(record.pathname).parent.name != "py4j"


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
        gone = isinstance(error, Py4JNetworkError) or re.fullmatch(_UNANSWERED, text)
        return _GONE if gone or _ends(text) else text
    except (Py4JError, OSError):  # a Java error is asked for its text
        return _GONE


def _ends(text: str) -> bool:
    """Is Java about to exit? With a local master no cluster can have stopped the run."""
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    stopped = re.search(_STOPPED, text) is not None
    return stopped and context is not None and (context.master or "").startswith("local")


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
    return plain((python[-1:] or java[-1:] or first)[0])[:300]


def plain(line: str) -> str:
    """Return a line that Java said without the names of its classes in front."""
    return re.sub(r'^(Exception in thread "\w+" )?((?:[a-z][\w$]*\.)+[\w$]+: )+', "", line)
