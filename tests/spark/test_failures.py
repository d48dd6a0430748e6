"""On a real cluster the walk ends well, or in order, when workers, the cache or memory are lost."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import pytest
import redis
from pyspark.sql import SparkSession

from app.contracts.recommendations import Manifest, Namespace, user_part
from app.contracts.refreshes import refreshes_key
from batch.command import cli
from batch.errors import BadSettings, LostLock
from batch.generations.registry import Generations
from batch.recommendations.cluster.contents import Target
from batch.recommendations.lists import Shelves
from batch.recommendations.topk import Lists
from batch.spark.failures import spark_errors
from tests.generations import MANIFEST, keys_of, publish_by_hand, read_back
from tests.servers import PATIENCE_SECONDS, Cluster, Server, environment, wait_until
from tests.spark.cluster import INTERPRETED, QUICK, StandaloneCluster

HOUSE = Path(__file__).parents[2]
USERS, ITEMS, EACH, BLOCKS = 4000, 200, 8, 4
MODEL = ("--factors", "8", "--iterations", "3", "--holdout", "0", "--force")
SHORT = ("--iterations", "1")  # where nobody compares the lists
CONF = {
    "spark.driver.memory": "1g",
    "spark.executor.memory": "512m",
    "spark.driver.extraJavaOptions": " ".join(QUICK),
    "spark.executor.extraJavaOptions": " ".join(QUICK),
    "spark.default.parallelism": str(BLOCKS),
    "spark.sql.shuffle.partitions": "4",
    **INTERPRETED,
}
NAMES = [f"u{number}" for number in range(USERS)]

pytestmark = pytest.mark.usefixtures("java")


class Refresh:
    """``larder refresh --engine spark`` in a process of its own."""

    def __init__(
        self, pairs: Path, master: str, cache_url: str, namespace: Namespace, *more: str
    ) -> None:
        self._log = pairs.parent / f"{namespace.name}.log"
        conf = {**CONF, "spark.master": master}
        settings = [part for each in conf.items() for part in ("--conf", "=".join(each))]
        command = [
            sys.executable,
            "-m",
            "batch",
            "refresh",
            str(pairs),
            "--engine",
            "spark",
        ]
        command += ["--cache-url", cache_url, "--namespace", namespace.name]
        command += ["--rejects", str(pairs.parent / "rejects"), *MODEL, *settings, *more]
        with self._log.open("w") as log:
            self.process = psutil.Popen(
                command, env=environment(), stdout=subprocess.DEVNULL, stderr=log
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def last_words(self) -> str:
        return self.said.splitlines()[-1]

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that happens while it runs."""

        def happened() -> bool:
            assert self.process.poll() is None, self.said
            return true()

        wait_until(happened)

    def end(self) -> int:
        """Wait for the end; returns the exit code."""
        return int(self.process.wait(PATIENCE_SECONDS))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if not self.process.is_running():
            return
        doomed = [*self.process.children(recursive=True), self.process]
        for each in doomed:
            if each.is_running():
                each.kill()
        psutil.wait_procs(doomed)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each user has some of the items of one of four tastes."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    rng, part = np.random.default_rng(7), ITEMS // 4
    with path.open("w") as file:
        print("user,item", file=file)
        for number, user in enumerate(NAMES):
            for item in rng.choice(part, EACH, replace=False):
                print(f"{user},i{number % 4 * part + item:03}", file=file)
    return path


@pytest.fixture(scope="module")
def here(pairs: Path, spark: SparkSession, server: Server) -> Callable[..., Manifest]:
    """What this machine alone publishes of the same pairs, cut into as many blocks."""

    @cache
    def publish(*more: str) -> Manifest:
        alone = Namespace(f"alone{len(more)}")
        arguments = ["refresh", str(pairs), "--engine", "spark", "--cache-url", server.url]
        arguments += ["--namespace", alone.name, "--rejects", str(pairs.parent / "rejects")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "batch.recommendations.cluster.ids.PAIRS_PER_BLOCK", USERS * EACH // BLOCKS
            )
            cli.cli.main([*arguments, *MODEL, *more], standalone_mode=False)
        with redis.Redis.from_url(server.url) as client:
            return live(client, alone)

    return publish


def live(client: Any, namespace: Namespace) -> Manifest:
    found = Generations(client, namespace).live_manifest()
    assert found is not None
    return found


def same(one: Manifest, other: Manifest) -> bool:
    """Whether both were made of the same pairs, and hold the same bytes."""
    return (one.fingerprint, one.checksum) == (other.fingerprint, other.checksum)


def hold_the_write(
    refresh: Refresh,
    cluster: StandaloneCluster,
    client: Any,
    namespace: Namespace,
    masters: Sequence[Any] = (),
) -> None:
    """Let neighbours of items be written; return when all executors wait to write users.

    masters: a client of each, where the cache has several.
    """
    nodes = masters or [client]
    refresh.until(lambda: has_neighbours(client, namespace))
    client.persist(namespace.lock)  # nobody can renew it meanwhile, on a busy machine for too long
    for node in nodes:
        node.execute_command("CLIENT", "PAUSE", 3_600_000, "WRITE")
    refresh.until(lambda: cluster.all_use(waiting(nodes)))


def has_neighbours(client: Any, namespace: Namespace) -> bool:
    return any(
        client.exists(namespace.similar_bucket(each.generation, 0))
        for each in Generations(client, namespace).all()
        if each.state == "writing"
    )


def waiting(nodes: Sequence[Any]) -> set[int]:
    """The ports of the clients that these servers keep from writing a bucket."""
    clients = [each for node in nodes for each in node.client_list()]
    held = [each for each in clients if each["cmd"] == "hset" and "b" in each["flags"]]
    return {int(each["addr"].rpartition(":")[2]) for each in held}


def let_writes_go(nodes: Sequence[Any]) -> None:
    for node in nodes:
        node.execute_command("CLIENT", "UNPAUSE")


def test_a_worker_killed_while_it_writes_to_six_nodes_changes_nothing(
    two_workers: StandaloneCluster, pairs: Path, namespace: Namespace, here: Callable[..., Manifest]
) -> None:
    """What a cluster publishes to a cluster is what one machine publishes to one server."""
    with (
        Cluster(replicas=1) as six,
        Refresh(pairs, two_workers.url, six.url, namespace) as refresh,
        ExitStack() as stack,
    ):
        masters = [stack.enter_context(redis.Redis.from_url(node.url)) for node in six.nodes[:3]]
        nodes: Any = redis.RedisCluster(host="127.0.0.1", port=six.nodes[0].port)
        stack.callback(nodes.disconnect_connection_pools)
        stack.enter_context(nodes)
        hold_the_write(refresh, two_workers, nodes, namespace, masters)
        two_workers.kill_worker()
        let_writes_go(masters)
        assert refresh.end() == 0, refresh.said
        published = live(nodes, namespace)
        items = [f"i{number:03}" for number in range(ITEMS)]
        found = read_back(nodes, namespace, published, NAMES, items)
        assert len(Generations(nodes, namespace).all()) == 1
    assert same(published, here())
    assert len(found.users) == USERS
    for number, user in enumerate(NAMES):
        own = range(number % 4 * ITEMS // 4, (number % 4 + 1) * ITEMS // 4)
        assert all(item in own for item, _ in found.users[user]), user


def test_a_worker_killed_in_training_and_a_cache_away_for_a_moment_change_nothing(
    two_workers: StandaloneCluster,
    pairs: Path,
    tmp_path: Path,
    namespace: Namespace,
    here: Callable[..., Manifest],
) -> None:
    """By blocks, so that what tasks have sent each other is lost too.

    The cache is away for longer than a client tries again: the tasks fail, and Spark repeats them.
    """
    by_block = ("--whole-mb", "0", "--iterations", "4")
    with (
        Server(tmp_path, appendonly="yes") as kept,
        redis.Redis.from_url(kept.url) as client,
        Refresh(pairs, two_workers.url, kept.url, namespace, *by_block) as refresh,
    ):
        refresh.until(lambda: "gather:" in refresh.said)
        before = two_workers.shuffled()
        refresh.until(lambda: two_workers.shuffled() > before + 2 * BLOCKS)
        two_workers.kill_worker()
        assert "train on all:" not in refresh.said, "killed too late"
        hold_the_write(refresh, two_workers, client, namespace)
        failed = two_workers.failures()
        kept.kill()
        refresh.until(lambda: two_workers.failures() > failed)
        kept.start()
        assert refresh.end() == 0, refresh.said
        assert same(live(client, namespace), here(*by_block))


def test_a_cache_that_stays_away_is_transient_and_nothing_is_half_published(
    two_workers: StandaloneCluster, pairs: Path, tmp_path: Path, namespace: Namespace
) -> None:
    with (
        Server(tmp_path, appendonly="yes") as kept,
        redis.Redis.from_url(kept.url) as client,
        Refresh(pairs, two_workers.url, kept.url, namespace, *SHORT) as refresh,
    ):
        old = publish_by_hand(client, namespace)
        before = keys_of(client, namespace)
        hold_the_write(refresh, two_workers, client, namespace)
        kept.kill()
        assert refresh.end() == 75, refresh.said
        assert "cannot be used now" in refresh.last_words and "see that it runs" in refresh.said
        kept.start()
        assert live(client, namespace) == old
        assert keys_of(client, namespace) > before
        client.delete(namespace.lock)  # it would expire by itself
        prune(kept.url, namespace)
        assert keys_of(client, namespace) == before


def prune(cache_url: str, namespace: Namespace) -> None:
    arguments = ["prune", "--cache-url", cache_url, "--namespace", namespace.name]
    cli.cli.main(arguments, standalone_mode=False)


def test_an_executor_without_memory_names_the_setting_to_change(
    two_workers: StandaloneCluster, pairs: Path, own_server: Server, namespace: Namespace
) -> None:
    """Python has too little of it."""
    little = ("--conf", "spark.executor.pyspark.memory=300m", "--conf", "spark.task.maxFailures=1")
    with Refresh(pairs, two_workers.url, own_server.url, namespace, *little) as refresh:
        assert refresh.end() == 2, refresh.said
    assert "ran out of memory" in refresh.last_words, refresh.said
    assert "--conf spark.executor.memoryOverhead=..." in refresh.last_words


def test_a_stack_that_is_too_small_names_the_settings_to_change(spark: SparkSession) -> None:
    """An origin of many steps, as that of MLlib's factors where nothing is checkpointed."""
    made = spark.sparkContext.parallelize([1], 1)._jrdd
    for _ in range(20_000):
        made = made.coalesce(1)
    with pytest.raises(BadSettings, match=r"StackOverflowError.*--conf spark\.checkpoint\.dir="):
        with spark_errors():
            made.count()


def test_a_cluster_without_a_free_worker_is_transient(
    two_workers: StandaloneCluster, pairs: Path, server: Server, namespace: Namespace
) -> None:
    much = ("--conf", "spark.executor.memory=64g")
    wait = ("--conf", "spark.larder.executorWaitSeconds=1")
    with Refresh(pairs, two_workers.url, server.url, namespace, *much, *wait) as refresh:
        assert refresh.end() == 75, refresh.said
    assert refresh.said == (
        f"error: {two_workers.url} gave this run no executor within 1 s: see that it has workers "
        "that are up, with free cores and the memory of --conf spark.executor.memory=...; "
        "--conf spark.larder.executorWaitSeconds=... waits longer\n"
    )


def test_a_run_that_is_stopped_while_it_writes_leaves_nothing(
    two_workers: StandaloneCluster, pairs: Path, own_server: Server, namespace: Namespace
) -> None:
    with (
        redis.Redis.from_url(own_server.url) as client,
        Refresh(pairs, two_workers.url, own_server.url, namespace, *SHORT) as refresh,
    ):
        old = publish_by_hand(client, namespace)
        before = keys_of(client, namespace)
        hold_the_write(refresh, two_workers, client, namespace)
        children = refresh.process.children(recursive=True)
        refresh.process.send_signal(signal.SIGTERM)
        let_writes_go([client])
        assert refresh.end() == 128 + signal.SIGTERM
        assert refresh.last_words == "error: stopped by SIGTERM"
        psutil.wait_procs(children, PATIENCE_SECONDS)
        assert not [child for child in children if child.is_running()]
        assert live(client, namespace) == old
        record = {refreshes_key(namespace.name)}
        wait_until(lambda: keys_of(client, namespace) == before | record)


def test_a_task_that_outlives_its_run_leaves_nothing(
    server: Server, client: Any, namespace: Namespace
) -> None:
    """The driver deletes the generation while a task is on the way from its lists to the cache."""
    generations = Generations(client, namespace)
    generations.begin(MANIFEST)

    def lists(rows: Any) -> Lists:
        generations.delete(MANIFEST)
        return some_lists(rows)

    with pytest.raises(LostLock):
        write_users(Target(server.url, namespace, MANIFEST), lists)
    assert keys_of(client, namespace) == set()


def test_a_task_that_runs_twice_takes_nothing_from_what_was_published(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace, MANIFEST.generation)
    before = keys_of(client, namespace)
    with pytest.raises(LostLock):
        write_users(Target(server.url, namespace, MANIFEST), some_lists)
    assert keys_of(client, namespace) == before


def write_users(target: Target, lists: Callable[[Any], Lists]) -> None:
    target.write(user_part, range(1), Shelves.of(["u0", "u1"], 1), lists)


def some_lists(rows: Any) -> Lists:
    shape = (len(rows), 1)
    return Lists(
        np.zeros(shape, np.int32), np.ones(shape, np.float32), np.ones(len(rows), np.int32)
    )


ON_A_CLUSTER = """
import json, os, sys
import psutil
from batch.errors import LarderError
from batch.spark.session import session

def seen(_):
    import app.contracts.recommendations, batch.interactions, batch.recommendations.topk
    from batch.generations import publish
    return [batch.__file__, publish.__file__, app.__file__, "flask" in sys.modules]

def kill(_):
    psutil.Process().parent().parent().kill()  # the worker's Python, its daemon, the executor

def say(value):
    print(json.dumps(value), flush=True)

conf = {"spark.master": sys.argv[1], "spark.executor.memory": "512m", "spark.task.maxFailures": "1"}
for each in ("driver", "executor"):
    conf[f"spark.{each}.extraJavaOptions"] = sys.argv[2]
try:
    with session(conf) as spark:
        for _ in range(2):
            say(spark.sparkContext.parallelize(range(4), 4).map(seen).collect())
            sys.stdin.readline()
        spark.sparkContext.parallelize([1], 1).map(kill).collect()
except LarderError as error:
    say([type(error).__name__, str(error)])
"""


def test_executors_of_a_cluster_run_the_code_that_was_shipped(
    two_workers: StandaloneCluster,
) -> None:
    """Those that join late too; one that is killed is an error that names the settings."""
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_CLUSTER, two_workers.url, " ".join(QUICK)],
        env={**environment(), "PYTHONPATH": str(HOUSE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        assert driver.stdin and driver.stdout and driver.stderr
        shipped = json.loads(driver.stdout.readline())
        two_workers.kill_worker()
        two_workers.kill_worker()
        two_workers.add_worker()
        driver.stdin.write("\n")
        driver.stdin.flush()
        late = json.loads(driver.stdout.readline())
        driver.stdin.write("\n")
        driver.stdin.flush()
        kind, sentence = json.loads(driver.stdout.readline())
        assert driver.stderr.read() == ""
    for batch_file, publish_file, app_file, has_flask in [*shipped, *late]:
        assert batch_file.endswith("larder-shipped.zip/batch/__init__.py")
        assert publish_file.endswith("larder-shipped.zip/batch/generations/publish.py")
        assert app_file.endswith("larder-shipped.zip/app/__init__.py")
        assert not has_flask
    assert kind == "OutOfMemory"
    assert "exited with code 137" in sentence and "spark.executor.memoryOverhead" in sentence
