"""The session is quiet, leaves nothing behind, has our code everywhere, fails in one sentence."""

import json
import logging
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import py4j.protocol
import pyspark.errors
import pytest
from pyspark.sql import SparkSession

from batch import errors
from batch.errors import (
    BadInteractions,
    BadSettings,
    CacheUnavailable,
    ClusterUnavailable,
    JobFailed,
    OutOfMemory,
)
from batch.spark import java
from batch.spark.failures import spark_errors
from batch.spark.package import package
from batch.spark.session import session, settings_of
from tests.servers import environment
from tests.spark.cluster import QUICK

HOUSE = Path(__file__).parents[2]


def python(
    program: str, folder: Path, variables: dict[str, str] | None = None, given: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a program in an empty folder, as a user's own process would."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**environment(variables), "PYTHONPATH": str(HOUSE)},
        input=given,
        capture_output=True,
        text=True,
    )


RUN = """
import json, os, signal, sys
import psutil
from batch.spark.session import session

CONF = {"spark.master": "local[1]", "spark.driver.memory": "1g"}
CONF["spark.sql.shuffle.partitions"] = "3"
CONF["spark.driver.extraJavaOptions"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

def seen(_):
    from threadpoolctl import threadpool_info
    import numpy
    blas = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
    return [sys.executable, blas]

before = dict(os.environ), list(sys.path), signal.getsignal(signal.SIGINT)
with session(CONF) as spark:
    from pyspark.ml.recommendation import ALS
    pairs = spark.createDataFrame([(0, 0, 1.0), (1, 1, 1.0)], "user int, item int, rating float")
    ALS(rank=2, maxIter=1).fit(pairs).itemFactors.toPandas()
    context = spark.sparkContext
    python, blas = context.parallelize([0]).map(seen).first()
    found = {
        "partitions": spark.conf.get("spark.sql.shuffle.partitions"),
        "memory": context._jvm.java.lang.Runtime.getRuntime().maxMemory() >> 20,
        "zone": spark.conf.get("spark.sql.session.timeZone"),
        "name": context.appName,
        "python": python == sys.executable,
        "blas": blas,
        "page": context.uiWebUrl,
    }
found["restored"] = before == (dict(os.environ), list(sys.path), signal.getsignal(signal.SIGINT))
found["left"] = [each.name() for each in psutil.Process().children(recursive=True)]
print(json.dumps(found))
"""


@pytest.mark.usefixtures("java")
def test_a_run_prints_nothing_of_its_own_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "tmp").mkdir()
    done = python(RUN, tmp_path / "work", {"TMPDIR": str(tmp_path / "tmp")})
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert 900 <= found.pop("memory") <= 1024, "the memory asked for"
    assert found == {
        "partitions": "3",
        "zone": "UTC",
        "name": "larder",
        "python": True,
        "blas": [1],
        "page": None,
        "restored": True,
        "left": [],
    }
    assert not list((tmp_path / "work").iterdir())
    assert not list((tmp_path / "tmp").iterdir())


WITH_SECRETS = """
import json, subprocess, sys
import psutil
from batch.spark.session import session

secrets = json.loads(sys.stdin.read())
with session({"spark.master": "local[1]", "spark.driver.memory": "1g", **secrets}, "info") as spark:
    context = spark.sparkContext
    java = psutil.Process(context._gateway.proc.pid)
    found = {
        "reached": all(context.getConf().get(key) == value for key, value in secrets.items()),
        "hadoop": context._jsc.hadoopConfiguration().get("fs.s3a.secret.key") == "hush-0",
        "command": java.cmdline(),
    }
print(json.dumps(found))
"""


@pytest.mark.usefixtures("java")
def test_the_log_is_there_when_it_is_asked_for_and_nothing_shows_a_secret(tmp_path: Path) -> None:
    names = ["hadoop.fs.s3a.secret.key", "hadoop.fs.s3a.access.key", "ssl.keyPassword"]
    names += ["hadoop.fs.azure.account.key.shop.dfs.core.windows.net", "my.TOKEN", "a.credential"]
    secrets = {f"spark.{name}": f"hush-{number}" for number, name in enumerate(names)}
    done = python(WITH_SECRETS, tmp_path, given=json.dumps(secrets))
    assert done.returncode == 0, done.stderr
    assert "INFO SparkContext: Running Spark version" in done.stderr
    assert "hush" not in done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert "spark.driver.memory=1g" in found["command"], "it is Java, with what is no secret"
    assert found["reached"] and found["hadoop"]


SMALLEST = {"spark.master": "local[1]", "spark.driver.extraJavaOptions": " ".join(QUICK)}
REFUSED = """
import sys
{before}
from batch.errors import LarderError
from batch.spark.session import session
try:
    with session({conf}) as spark:
        {inside}
except LarderError as error:
    print(type(error).__name__, error)
"""


def refused(folder: Path, variables: dict[str, str] | None = None, **parts: str) -> str:
    """What a session says when it cannot start or go on; nothing else may be printed."""
    parts = {"before": "", "conf": "{}", "inside": "pass", **parts}
    done = python(REFUSED.format(**parts), folder, variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout.rstrip()


def test_without_java_a_sentence_says_what_to_install(tmp_path: Path) -> None:
    assert refused(tmp_path, {"PATH": "", "JAVA_HOME": ""}) == (
        "BadSettings Spark needs Java 17 or newer, found no Java on the PATH: install it (Debian: "
        "apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    )


def test_an_old_java_is_named(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    said = refused(tmp_path, {"JAVA_HOME": str(tmp_path)})
    assert f"found Java 8 in JAVA_HOME={str(tmp_path)!r}: install it" in said


@pytest.mark.parametrize("name", ["pyspark", "pandas", "pyarrow"])
def test_without_the_extra_a_sentence_says_what_to_install(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path, before=f"sys.modules[{name!r}] = None") == (
        f"BadSettings Spark needs the Python package {name!r}: "
        "pip install '.[spark]' in Larder's folder"
    )


@pytest.mark.usefixtures("java")
@pytest.mark.parametrize(
    ("conf", "said"),
    [
        (
            {"spark.master": "elsewhere"},
            "BadSettings Spark did not start: Master must either be yarn or start with spark, k8s, "
            "or local",
        ),
        (
            {"spark.driver.memory": "lots"},
            "BadSettings Spark did not start: Invalid maximum heap size: -Xmxlots",
        ),
    ],
)
def test_a_session_that_cannot_start_says_why(
    conf: dict[str, str], said: str, tmp_path: Path
) -> None:
    assert refused(tmp_path, conf=repr(conf)) == said


@pytest.mark.usefixtures("java")
def test_a_driver_out_of_memory_names_the_setting(tmp_path: Path) -> None:
    said = refused(
        tmp_path,
        conf=repr({**SMALLEST, "spark.driver.memory": "512m"}),
        inside="spark.range(4).selectExpr('array_repeat(id, 400000000) a').rdd.count()",
    )
    assert said.startswith("OutOfMemory ")
    assert "--conf spark.driver.memory=..." in said


HUNG_UP = """
        from threading import Timer
        gateway = spark.sparkContext._gateway
        {unread}
        Timer(1, gateway.proc.kill).start()
        spark._jvm.java.lang.Thread.sleep(60000)
"""
UNREAD = (
    "Timer(0.5, gateway._gateway_client.get_thread_connection().socket.sendall, [b'x']).start()"
)


@pytest.mark.usefixtures("java")
@pytest.mark.parametrize("unread", ["", UNREAD], ids=["closed", "reset"])
def test_a_driver_that_is_killed_is_one_sentence(unread: str, tmp_path: Path) -> None:
    inside = HUNG_UP.format(unread=unread).strip()
    assert refused(tmp_path, conf=repr(SMALLEST), inside=inside) == (
        "OutOfMemory Spark's driver process ended (Java hung up), most likely out of memory: give "
        "it more by --conf spark.driver.memory=..."
    )


def test_a_session_that_runs_already_is_used_and_left_running(spark: SparkSession) -> None:
    with session({}) as same:
        assert same.sparkContext is spark.sparkContext
    assert spark.range(3).count() == 3


def test_settings_reach_a_running_session_and_are_taken_back(spark: SparkSession) -> None:
    before = spark.conf.get("spark.sql.shuffle.partitions")
    with session({"spark.sql.shuffle.partitions": "7", "spark.sql.ansi.enabled": "false"}) as same:
        assert same.conf.get("spark.sql.shuffle.partitions") == "7"
        assert same.sql("select 1 / 0 as nothing").first() == (None,)
    assert spark.conf.get("spark.sql.shuffle.partitions") == before
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"


def test_a_setting_that_comes_too_late_is_refused(spark: SparkSession) -> None:
    with pytest.raises(BadSettings) as raised, session({"spark.driver.memory": "2345m"}):
        pass
    assert str(raised.value) == (
        "spark.driver.memory cannot change in a Spark session that runs already, and has another "
        "value there: set it where that one is started"
    )


@pytest.mark.parametrize(
    ("master", "page"), [("local[2]", "false"), ("spark://127.0.0.1:7077", "false"), ("yarn", None)]
)
def test_the_web_page_is_off_on_this_machine_alone(
    spark: SparkSession, master: str, page: str | None
) -> None:
    assert settings_of({"spark.master": master}).get("spark.ui.enabled") == page
    asked = settings_of({"spark.master": master, "spark.ui.enabled": "true"})
    assert asked.get("spark.ui.enabled") == "true"


def test_a_process_that_does_not_end_is_killed() -> None:
    process = subprocess.Popen(["sleep", "600"], stdin=subprocess.PIPE)
    java.end(process, 0.1)
    assert process.returncode == -signal.SIGKILL


def wrong_row(_: Any) -> None:
    raise BadInteractions("row 7: no user; found ''")


def wrong_rows(batches: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from map(len, next(batches).nothing)
    except AttributeError as error:
        raise CacheUnavailable("127.0.0.1:1 refuses: is it running?") from error


def bug(_: Any) -> None:
    raise ValueError("a bug\nof two lines")


def greedy(_: Any) -> int:
    return len(bytearray(1 << 50))


def crash(_: Any) -> None:
    os._exit(1)


def crashing(batches: Iterator[Any]) -> Iterator[Any]:
    crash(batches)
    yield from batches


def java_lang(spark: SparkSession) -> Any:
    assert spark._jvm is not None
    return spark._jvm.java.lang


def mapped(work: Callable[[Any], Any]) -> Callable[[SparkSession], Any]:
    return lambda spark: spark.sparkContext.parallelize([1], 1).map(work).collect()


FAILURES: dict[str, tuple[Callable[[SparkSession], Any], type[errors.LarderError], str]] = {
    "ours": (mapped(wrong_row), BadInteractions, r"row 7: no user; found ''"),
    "ours, caused by another": (
        lambda spark: spark.range(0, 3, 1, 1).mapInArrow(wrong_rows, "a long").collect(),
        CacheUnavailable,
        r"127\.0\.0\.1:1 refuses: is it running\?",
    ),
    "a bug": (mapped(bug), JobFailed, "Spark could not finish: ValueError: a bug"),
    "Python out of memory": (
        mapped(greedy),
        OutOfMemory,
        r".*MemoryError.*memoryOverhead=\.\.\..*",
    ),
    "Python killed": (mapped(crash), OutOfMemory, ".*Python worker exited .*memoryOverhead=.*"),
    "Arrow killed": (
        lambda spark: spark.range(0, 3, 1, 1).mapInArrow(crashing, "a long").toPandas(),
        OutOfMemory,
        ".*Python worker exited unexpectedly.*",
    ),
    "no such file": (
        lambda spark: spark.read.csv("/no such/file.csv"),
        BadInteractions,
        "no such input: file:/no such/file.csv",
    ),
    "no such text": (
        lambda spark: spark.sparkContext.textFile("/no such/file").count(),
        BadInteractions,
        "no such input: file:/no such/file",
    ),
    "unknown file system": (
        lambda spark: spark.read.csv("odd://bucket/file.csv"),
        BadSettings,
        r"Spark lacks what reads odd: name its package by --conf spark\.jars\.packages=\.\.\.",
    ),
    "no such class": (
        lambda spark: spark.read.csv("s3a://bucket/file.csv"),
        BadSettings,
        r"Spark lacks what reads org\.apache\.hadoop\.fs\.s3a\.S3AFileSystem: .*",
    ),
    "storage away": (
        lambda spark: spark.read.csv("hdfs://127.0.0.1:1/file.csv"),
        ClusterUnavailable,
        r"the Spark cluster or its storage does not answer \(Connection refused\)",
    ),
    "no such column": (
        lambda spark: spark.range(3).select("nothing"),
        JobFailed,
        r"Spark could not finish: \[UNRESOLVED_COLUMN.*`nothing` cannot be resolved.*",
    ),
    "not Parquet": (
        lambda spark: spark.read.parquet(__file__).count(),
        JobFailed,
        "Spark could not finish: .*test_session.py is not a Parquet file.*",
    ),
    "nothing in Java": (
        lambda spark: java_lang(spark).Integer.parseInt("x"),
        JobFailed,
        'Spark could not finish: For input string: "x"',
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_of_spark_is_one_sentence_of_ours(
    name: str, spark: SparkSession, capfd: pytest.CaptureFixture[str]
) -> None:
    work, kind, sentence = FAILURES[name]
    with pytest.raises(kind) as raised, spark_errors():
        work(spark)
    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
    assert re.fullmatch(sentence, str(raised.value)), str(raised.value)
    assert capfd.readouterr().err == ""


LOST = "ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Reason: "


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (LOST + "worker lost: Not receiving heartbeat for 60 seconds", ClusterUnavailable),
        (LOST + "Command exited with code 1", ClusterUnavailable),
        (LOST + "Command exited with code 52", OutOfMemory),
        (LOST + "Command exited with code 137", OutOfMemory),
        (LOST + "Container marked as failed. Exit status: 143. Diagnostics: ", OutOfMemory),
        (LOST + "Container from a bad node. Exit code is 137", OutOfMemory),
        (LOST + "Container killed by YARN for exceeding limits", OutOfMemory),
        (LOST + "The executor exited (SIGKILL, possible container OOM)", OutOfMemory),
        (LOST + "Remote RPC client disassociated. Memory limit", OutOfMemory),
        ("FetchFailed(BlockManagerId(1, 127.0.0.1, 7337, None), shuffleId=0)", ClusterUnavailable),
        (
            "org.apache.spark.shuffle.MetadataFetchFailedException: Missing an output location "
            "for shuffle 0 partition 1",
            ClusterUnavailable,
        ),
    ],
)
def test_executors_that_are_lost_are_no_lack_of_memory_unless_spark_says_so(
    said: str, kind: type[errors.LarderError]
) -> None:
    """In the words of Spark's sources; transient, or not."""
    text = f"Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times: {said}\nmemory"
    with pytest.raises(kind) as raised, spark_errors():
        raise py4j.protocol.Py4JError(text)
    assert type(raised.value) is kind
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Spark context stopped while waiting for backend", ClusterUnavailable),
        ("invalid null input: name", BadSettings),
    ],
)
def test_a_context_that_does_not_come_up_says_why(
    said: str, kind: type[errors.LarderError]
) -> None:
    text = f"An error occurred while calling None.JavaSparkContext.\n: java.lang.Exception: {said}"
    with pytest.raises(kind), spark_errors():
        raise py4j.protocol.Py4JError(text)


def test_py4j_stays_quiet_around_a_session_that_is_lent(caplog: pytest.LogCaptureFixture) -> None:
    """Which is spark_errors within: here and there py4j is not heard, afterwards it is again."""
    page = logging.LogRecord("root", logging.ERROR, py4j.protocol.__file__, 1, "a page", None, None)
    before = list(logging.root.filters)
    with spark_errors():
        with spark_errors():
            pass
        logging.root.handle(page)
    assert not caplog.records
    assert logging.root.filters == before


def test_every_error_that_spark_or_py4j_raises_is_translated() -> None:
    roots = (pyspark.errors.PySparkException, py4j.protocol.Py4JError)
    known = [getattr(pyspark.errors, name) for name in pyspark.errors.__all__]
    known += list(vars(py4j.protocol).values())
    raised = [each for each in known if isinstance(each, type) and issubclass(each, Exception)]
    assert len(raised) > 20
    assert not [each for each in raised if not issubclass(each, roots)]


@pytest.mark.parametrize(
    "error", [OSError("disk full"), ConnectionResetError("the cache"), KeyError(1)]
)
def test_what_is_not_of_spark_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, spark_errors():
        raise error
    assert raised.value is error


def test_the_package_holds_code_alone_and_needs_no_flask(tmp_path: Path) -> None:
    package(tmp_path / "larder.zip")
    with ZipFile(tmp_path / "larder.zip") as archive:
        names = archive.namelist()
    assert {"batch/generations/publish.py", "batch/spark/session.py", "app/__init__.py"} <= set(
        names
    )
    assert {name for name in names if name.startswith("app/")} == {
        "app/__init__.py",
        "app/py.typed",
        *(str(path.relative_to(HOUSE)) for path in (HOUSE / "app/contracts").rglob("*.py")),
    }
    assert not [
        name for name in names if "datasets" in name or not name.endswith((".py", "py.typed"))
    ]
