"""``larder ... --engine spark`` as its user or a scheduler runs it: output, exit code, answers."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from pyspark.sql import SparkSession

from app.contracts.recommendations import Namespace
from app.contracts.refreshes import refreshes_key
from batch.command.cli import cli
from batch.datasets.movielens import SMALL
from batch.errors import BadInteractions, BadSettings, LarderError, NotGoodEnough, UnknownGeneration
from batch.generations.lock import hold
from batch.generations.registry import Generations
from tests import servers
from tests.app.served import following
from tests.servers import PATIENCE_SECONDS, Api, Server, environment, wait_until
from tests.spark.cluster import QUICK

CONF = {
    "spark.master": "local[2]",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": " ".join(QUICK),
    "spark.sql.shuffle.partitions": "2",
}
SPARK = ["--engine", "spark", *(f"--conf={name}={value}" for name, value in CONF.items())]
QUICKLY = ["--factors", "8", "--iterations", "3"]
UNJUDGED = ["--holdout", "0", "--force"]
STAGE = re.compile(r"[a-z -]+: [\d,]+ [a-z]+ in \d+\.\d s")

Done = subprocess.CompletedProcess[str]


def larder(folder: Path, *arguments: str | Path, **variables: str) -> Done:
    """Run the command; whatever happens, nobody must read a traceback or a page of Java."""
    done = servers.run(
        *map(str, arguments),
        "--rejects",
        str(folder / "rejects"),
        variables={f"LARDER_{name.upper()}": value for name, value in variables.items()},
    )
    for sign in ("Traceback", "\tat ", "WARN", "pyspark"):
        assert sign not in done.stderr
    return done


def refused(done: Done, sentence: str, code: int = 2) -> None:
    """It said that one sentence, after the stages that went well, and nothing else."""
    assert done.returncode == code, done.stderr
    *stages, last = done.stderr.splitlines()
    assert sentence in last and last.startswith("error: "), done.stderr
    assert not [stage for stage in stages if not STAGE.fullmatch(stage)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ratings of the first sixty users, and two wrong rows."""
    path = tmp_path_factory.mktemp("films") / "ratings.csv"
    head, *rows = (SMALL / "ratings.csv").read_text().splitlines()
    some = [row for row in rows if int(row.split(",")[0]) <= 60]
    path.write_text("\n".join([head, *some, ",1,4.0,1260759144", "7,31,awful,1260759144"]) + "\n")
    return path


@pytest.fixture
def where(server: Server, namespace: Namespace) -> dict[str, str]:
    """The variables that lead to this test's own namespace."""
    return {"cache_url": server.url, "namespace": namespace.name}


def is_ready(url: str) -> bool:
    try:
        return bool(answer(f"{url}/health/ready"))
    except urllib.error.HTTPError as error:
        error.close()
        return False


def answer(url: str) -> Any:
    with urllib.request.urlopen(url) as response:
        return json.load(response)


@pytest.mark.usefixtures("java")
def test_a_refresh_says_what_it_does_and_the_api_answers_from_it(
    films: Path, tmp_path: Path, server: Server, client: Any, namespace: Namespace
) -> None:
    to = {"cache_url": server.url, "namespace": namespace.name}
    preset = ["--preset", "ml-latest", "--items", str(SMALL / "movies.csv")]
    done = larder(tmp_path, "refresh", films, *preset, *SPARK, *QUICKLY, "--force", **to)
    assert done.returncode == 0, done.stderr
    read, *_, published = done.stdout.splitlines()
    assert re.fullmatch(
        r"9,199 rows in 1 file\(s\): 9,197 pairs of 60 users and 3,567 items; 0 merged, 0 of "
        "weight 0 left out, 2 rejected",
        read,
    )
    for line in (
        "  1 x missing user",
        "  1 x not a number: rating",
        "(60 users judged)",
    ):
        assert line in done.stdout.splitlines(), done.stdout
    assert "documents for" in done.stdout and "nDCG@10" in done.stdout
    assert re.fullmatch(
        r"published generation \S+: 60 users, [\d,]+ items, top 10, in namespace "
        rf"{namespace.name}; documents take \d\.\d MB on each machine of the API",
        published,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("--force:")]
    where_rejects_are = f"the rejected rows are listed in {tmp_path / 'rejects'}"
    stages = [line for line in said if not line.endswith(where_rejects_are)]
    assert len(stages) == len(said) - 1, done.stderr
    assert not [stage for stage in stages if not STAGE.fullmatch(stage)], done.stderr
    names = [stage.split(":")[0] for stage in stages]
    assert names[0] == "read" and names[-2:] == ["train on all", "publish"]
    assert {"train", "evaluate the model", "evaluate most-popular"} < set(names)
    listed = "".join(part.read_text() for part in (tmp_path / "rejects").glob("part-*"))
    assert "awful" in listed and len(listed.splitlines()) >= 2 + 1
    with Api(server.url, namespace.name, workers="1") as api:
        wait_until(lambda: is_ready(api.url))
        found = answer(f"{api.url}/recommendations/7")
    assert found["source"] == "personal" and len(found["recommendations"]) == 10
    assert all("title" in json.dumps(each) for each in found["recommendations"]), found
    seen = {line.split(",")[1] for line in films.read_text().splitlines() if line[:2] == "7,"}
    assert len(seen) > 10
    assert not seen & {each["item"] for each in found["recommendations"]}


def test_the_options_of_spark_are_variables_too(
    spark: SparkSession,
    films: Path,
    tmp_path: Path,
    client: Any,
    where: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Settings in LARDER_CONF stand apart by spaces; one that the session has may be said again."""
    conf = f"spark.master={spark.sparkContext.master} spark.sql.shuffle.partitions=1"
    chosen = {"engine": "spark", "conf": conf, "als": "mllib", "feedback": "explicit"}
    for name, value in {**chosen, **where, "rejects": str(tmp_path / "rejects")}.items():
        monkeypatch.setenv(f"LARDER_{name.upper()}", value)
    less = ["--preset", "ml-latest", "--factors", "4", "--iterations", "2"]
    cli.main(["refresh", str(films), *less, *UNJUDGED], standalone_mode=False)
    made = Generations(client, Namespace(where["namespace"])).live_manifest()
    assert made is not None and made.engine == "spark"
    assert (made.settings["als"], made.settings["feedback"]) == ("mllib", "explicit")
    monkeypatch.setenv("LARDER_CONF", f"{conf} spark.driver.memory=3g")
    with pytest.raises(BadSettings, match="^spark.driver.memory cannot change"):
        cli.main(["refresh", str(films)], standalone_mode=False)


def test_an_evaluation_is_printed_and_written(
    spark: SparkSession,
    films: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    head, *rows = films.read_text().splitlines()
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    for path, part in ((train, rows[1::2]), (test, rows[::2])):
        path.write_text("\n".join([head, *part]) + "\n")
    preset = ["--preset", "ml-latest", "--rejects", str(tmp_path / "rejects")]
    to = ["--json", "--engine", "spark"]
    inputs = ["--train", str(train), "--test", str(test)]
    with caplog.at_level("INFO"):
        cli.main(["evaluate", *inputs, *preset, *to, *QUICKLY], standalone_mode=False)
    printed = capfd.readouterr()
    stages = [line for line in caplog.messages if "rejected rows are listed in" not in line]
    assert stages and not [line for line in stages if not STAGE.fullmatch(line)]
    found = json.loads(printed.out)
    assert re.search(rf"nDCG@10 +{found['model']['ndcg']:.4f} ", printed.err)
    assert found["ratings"] is None
    assert found["model"]["users"] == 60


@pytest.fixture
def refresh(
    spark: SparkSession, films: Path, tmp_path: Path, where: dict[str, str]
) -> Callable[..., None]:
    """The command inside this process, in the session of all tests."""

    def run(*arguments: str) -> None:
        to = ["--cache-url", where["cache_url"], "--namespace", where["namespace"]]
        to += ["--rejects", str(tmp_path / "rejects"), "--preset", "ml-latest", "--engine", "spark"]
        cli.main(["refresh", str(films), *to, *arguments], standalone_mode=False)

    return run


def test_neighbours_from_a_cluster_follow_what_a_user_does(
    refresh: Callable[..., None], server: Server, client: Any, where: dict[str, str]
) -> None:
    knn = ["--engine", "spark-knn", "--neighbours", "30", "--weighting", "tfidf"]
    refresh(*knn, "--live", *UNJUDGED)
    namespace = Namespace(where["namespace"])
    made = Generations(client, namespace).live_manifest()
    assert made is not None and (made.engine, made.factors) == ("spark-knn", 0)
    assert made.follows == "neighbours"
    assert (made.settings["neighbours"], made.settings["weighting"]) == (30, "tfidf")
    with following(server, namespace) as worker:
        first = worker.items("/recommendations/7")
        assert worker.get("/recommendations/7")["source"] == "personal" and len(first) == 10
        for user in ("7", "a newcomer"):
            worker.did("purchase", first[0], user)
        assert worker.get("/recommendations/7")["source"] == "personal+recent"
        assert first[0] not in worker.items("/recommendations/7")
        assert worker.get("/recommendations/a%20newcomer")["source"] == "recent"
        stranger = worker.items("/recommendations/a%20stranger")
        assert worker.items("/recommendations/a%20newcomer") != stranger


REFUSED: Mapping[str, tuple[list[str], type[LarderError], str]] = {
    "no such column": (
        ["--user-column", "who"],
        BadInteractions,
        "expected a column 'who', found 'userId'",
    ),
    "too many rejects": (
        ["--max-rejects", "0"],
        BadInteractions,
        "rejects",
    ),
    "a model that is not good enough": (
        [*QUICKLY, "--min-ndcg", "0.99"],
        NotGoodEnough,
        "Nothing was published",
    ),
    "a setting that comes too late": (
        ["--conf", "spark.driver.memory=3g"],
        BadSettings,
        "cannot change in a Spark session that runs already",
    ),
    "a solver that knows no ratings": (
        ["--feedback", "explicit", "--als", "blocked"],
        BadSettings,
        "--feedback explicit needs --als mllib",
    ),
    "a date after all": (
        ["--after", "2031-01-01"],
        BadSettings,
        "leaves 9197 interactions to train on and 0 to evaluate",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_terminal_and_publishes_nothing(
    name: str, refresh: Callable[..., None], client: Any, where: dict[str, str]
) -> None:
    arguments, kind, sentence = REFUSED[name]
    with pytest.raises(kind) as raised:
        refresh(*arguments)
    assert raised.value.exit_code == 2
    assert sentence in str(raised.value)
    with pytest.raises(UnknownGeneration):
        Generations(client, Namespace(where["namespace"])).roll_back()


def test_an_input_that_is_not_there_is_named(spark: SparkSession, where: dict[str, str]) -> None:
    arguments = ["refresh", "/no/such.csv", "--engine", "spark", "--cache-url", where["cache_url"]]
    with pytest.raises(BadInteractions, match="^/no/such.csv: there is no such file or folder$"):
        cli.main(arguments, standalone_mode=False)


def test_explicit_feedback_needs_ratings(
    spark: SparkSession, tmp_path: Path, where: dict[str, str]
) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("user,item\nu,i\nv,j\n")
    to = ["--cache-url", where["cache_url"], "--rejects", str(tmp_path / "rejects")]
    arguments = ["refresh", str(pairs), *to, "--engine", "spark", "--feedback", "explicit"]
    with pytest.raises(BadSettings, match="has none: name their column with --rating-column"):
        cli.main(arguments, standalone_mode=False)


WRONG_USE: Mapping[str, tuple[list[str], str]] = {
    "als": (["--als", "mllib"], "--als means nothing to --engine auto, but to spark"),
    "conf": (["--conf", "spark.master=local"], "--conf needs --engine spark"),
    "feedback": (["--feedback", "explicit"], "--feedback explicit needs --engine spark"),
    "whole": (["--whole-mb", "1"], "--whole-mb means nothing to --engine auto, but to spark"),
    "factors of none": (
        ["--engine", "spark-knn", "--factors", "8"],
        "--factors means nothing to --engine spark-knn, but to auto, als, blend, spark",
    ),
    "log": (["--spark-log", "warn"], "--spark-log needs --engine spark"),
    "no setting": (
        ["--engine", "spark", "--conf", "spark.master"],
        "--conf must be spark.<name>=<value>, not 'spark.master'",
    ),
    "no setting of Spark": (
        ["--engine", "spark", "--conf", "master=local"],
        "--conf must be spark.<name>=<value>, not 'master' ...",
    ),
}


@pytest.mark.parametrize("name", WRONG_USE)
def test_a_wrong_use_is_told_before_anything_is_read(name: str, where: dict[str, str]) -> None:
    arguments, sentence = WRONG_USE[name]
    to = ["--cache-url", where["cache_url"]]
    with pytest.raises(BadSettings, match=re.escape(sentence)) as raised:
        cli.main(["refresh", "/no/such.csv", *to, *arguments], standalone_mode=False)
    assert raised.value.exit_code == 2


@pytest.mark.usefixtures("java")
def test_a_setting_that_is_none_is_one_sentence(
    films: Path, tmp_path: Path, where: dict[str, str]
) -> None:
    wait = ["--engine", "spark", "--conf", "spark.larder.executorWaitSeconds=long"]
    done = larder(tmp_path, "refresh", films, "--preset", "ml-latest", *wait, **where)
    refused(done, "spark.larder.executorWaitSeconds must be a number of seconds")
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)


def test_a_cache_that_is_away_is_transient_and_told_before_anything_starts(
    films: Path, tmp_path: Path
) -> None:
    away = {"cache_url": "redis://127.0.0.1:1/0"}
    done = larder(tmp_path, "refresh", films, "--preset", "ml-latest", *SPARK, **away)
    refused(done, "redis://127.0.0.1:1/0 cannot be used now", 75)
    assert done.stdout == ""


def test_a_run_that_finds_another_one_is_transient_and_told_before_anything_starts(
    client: Any, namespace: Namespace, where: dict[str, str], tmp_path: Path
) -> None:
    with hold(client, namespace):
        done = larder(tmp_path, "refresh", "/no/such/file", *SPARK, **where)
    refused(done, "is being refreshed by process", 75)
    assert done.stdout == ""


@pytest.mark.usefixtures("java")
def test_a_master_that_is_away_is_transient(
    films: Path, tmp_path: Path, where: dict[str, str]
) -> None:
    master = ["--engine", "spark", "--conf", "spark.master=spark://127.0.0.1:1"]
    done = larder(tmp_path, "refresh", films, *master, **where)
    refused(done, "no Spark master answers at spark://127.0.0.1:1: is it running?", 75)


def test_without_the_extra_the_command_says_what_to_install(
    films: Path, tmp_path: Path, where: dict[str, str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pyspark'] = None\n")
    done = subprocess.run(
        [sys.executable, "-m", "batch", "refresh", str(films), "--engine", "spark"],
        env={
            **environment({f"LARDER_{name.upper()}": value for name, value in where.items()}),
            "PYTHONPATH": str(tmp_path),
        },
        capture_output=True,
        text=True,
    )
    refused(done, "Spark needs the Python package 'pyspark': pip install '.[spark]' in Larder's")


@pytest.mark.usefixtures("java")
def test_ctrl_c_ends_all_of_it_at_once(films: Path, tmp_path: Path, own_server: Server) -> None:
    """A terminal sends it to every process of the group, while Spark works for the driver."""
    to = ["--cache-url", own_server.url, "--rejects", str(tmp_path / "rejects")]
    much = ["--preset", "ml-latest", "--iterations", "1000", *UNJUDGED]
    process = psutil.Popen(
        [sys.executable, "-m", "batch", "refresh", str(films), *to, *SPARK, *much],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with redis.Redis.from_url(own_server.url) as client, process:
        wait_until(lambda: trains(client) or process.poll() is not None)
        children = process.children(recursive=True)
        for each in [process, *children]:
            with contextlib.suppress(psutil.NoSuchProcess):  # ended by itself meanwhile
                each.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 128 + signal.SIGINT, said
        assert said.endswith("error: stopped by SIGINT\n")
        assert "Traceback" not in said
        psutil.wait_procs(children, PATIENCE_SECONDS)
        assert not [child for child in children if child.is_running()]
        left = [refreshes_key("default").encode()]
        assert client.keys() == left, "neither a lock nor a part is left"


def trains(client: Any) -> bool:
    """It holds the lock, and has nothing to write for a long time."""
    return bool(client.exists(Namespace("default").lock))
