"""The reader: what it believes, what it keeps, and what it does with a cache that lies."""

import json
import logging
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from typing import Any

import pytest
import redis

from app.contracts.recommendations import Namespace, bucket_of
from app.errors import CacheUnavailable, NothingPublished
from app.recommendations.cache import CACHE_ERRORS, Cache, connect
from app.recommendations.near_cache import NearCache, Remembered
from app.settings import Settings
from tests.app.served import watching
from tests.generations import publish_by_hand
from tests.servers import Cluster, Server, free_port, wait_until

FIRST = "20260101T000000Z-0001"
SECOND = "20260101T000001Z-0002"

LIES = {
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "out of memory": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "no permission": b"-NOPERM this user has no permissions\r\n",
    "moved": b"-MOVED 3999 127.0.0.1:1\r\n",
    "read only": b"-READONLY You can't write against a read only replica.\r\n",
    "garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "binary": b"\x00\xff\x16\x03\x01",
    "ok to everything": b"+OK\r\n",
    "a number to everything": b":1\r\n",
    "a list to everything": b"*1\r\n:1\r\n",
    "half an answer": b"$100\r\nabc",
    "silence": b"",
}


@contextmanager
def lying(answer: bytes, port: int = 0, heard: list[bytes] | None = None) -> Iterator[str]:
    """A TCP server that has one answer to everything, and notes what it heard; yields its URL."""
    listener = socket.create_server(("127.0.0.1", port))
    opened: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            opened.append(connection)
            Thread(target=_lie, args=(connection, answer, heard), daemon=True).start()

    thread = Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in opened:
            connection.close()


def _lie(connection: socket.socket, answer: bytes, heard: list[bytes] | None) -> None:
    try:
        while words := connection.recv(65536):
            if heard is not None:
                heard.append(words)
            connection.sendall(answer)
    except OSError:
        return  # the other side has had enough


def test_a_cluster_whose_addresses_have_all_changed_is_found_by_its_url() -> None:
    """As when all pods of a cache are made anew: its name leads to other addresses."""
    clusters = [Cluster(), Cluster()]

    def by_name(url: str, timeout_ms: int) -> Any:
        return connect(clusters[0].url, timeout_ms)

    with clusters[0], clusters[1]:
        for each in clusters:
            with redis.RedisCluster(host="127.0.0.1", port=each.nodes[0].port) as client:
                publish_by_hand(client, Namespace("shop"), FIRST)
                client.disconnect_connection_pools()
        patient = Settings("redis+cluster://cache", namespace="shop", cache_timeout_ms=60_000)
        cache = Cache(patient, by_name)
        with ExitStack() as stack:
            stack.callback(cache.stop)
            cache.poll()
            generation = cache.live()
            for node in clusters.pop(0).nodes:
                node.kill()
            assert cache.users(generation, ["u1"]) == ([None], True)
            assert not cache.reachable, "who asks next does not wait for addresses that are gone"
            cache.poll()
            (found,), degraded = cache.users(generation, ["u1"])
            assert found is not None and not degraded


class TestErrors:
    def test_every_error_of_the_client_is_translated(self) -> None:
        errors = [
            each
            for each in vars(redis.exceptions).values()
            if isinstance(each, type) and issubclass(each, BaseException)
        ]
        assert len(errors) > 30
        assert [each for each in errors if not issubclass(each, CACHE_ERRORS)] == []

    @pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
    @pytest.mark.parametrize("lie", LIES)
    def test_a_server_that_lies_stops_neither_the_start_nor_the_watcher(
        self, lie: str, scheme: str
    ) -> None:
        with lying(LIES[lie]) as url:
            url = url.replace("redis", scheme, 1)
            cache = Cache(Settings(cache_url=url, watch_interval_ms=50))
            cache.start()
            with pytest.raises(CacheUnavailable, match="nothing to serve yet, and the "):
                cache.live()
            assert cache._thread is not None and cache._thread.is_alive()
            cache.stop()

    @pytest.mark.parametrize("lie", ["loading", "garbage", "a number to everything", "silence"])
    def test_the_truth_is_believed_after_a_lie(self, lie: str, namespace: Namespace) -> None:
        port = free_port()
        with lying(LIES[lie], port) as url:
            cache = Cache(Settings(cache_url=url, namespace=namespace.name, watch_interval_ms=50))
            cache.start()
        honest = Server()
        honest.port = port
        with honest, redis.Redis.from_url(honest.url) as client:
            publish_by_hand(client, namespace)
            wait_until(lambda: cache.reachable and cache._live is not None)
            assert cache.live().manifest.generation == FIRST
            cache.stop()

    def test_a_password_is_in_no_error_and_no_log_line(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with Server() as guarded:
            with redis.Redis.from_url(guarded.url) as client:
                client.config_set("requirepass", "right")
            for url in ("redis://:hunter2@127.0.0.1", "redis://me:hunter2@127.0.0.1"):
                cache = Cache(Settings(cache_url=f"{url}:{guarded.port}"))
                cache.poll()
                with pytest.raises(CacheUnavailable, match="AuthenticationError") as raised:
                    cache.live()
                assert "hunter2" not in str(raised.value)
                cache.stop()
        assert "AuthenticationError" in caplog.text
        assert "hunter2" not in caplog.text


class TestFollowing:
    def test_nothing_published_says_which_command_publishes(
        self, server: Server, namespace: Namespace
    ) -> None:
        with watching(server, namespace) as cache:
            assert cache.reachable
            command = f"larder refresh <interactions> --namespace {namespace.name}"
            with pytest.raises(NothingPublished, match=command):
                cache.live()

    def test_the_pointer_is_followed_forward_and_back(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, FIRST)
        with watching(server, namespace) as cache:
            publish_by_hand(client, namespace, SECOND)
            assert cache.live().manifest.generation == FIRST
            cache.poll()
            assert cache.live().manifest.generation == SECOND
            client.set(namespace.live, FIRST)
            cache.poll()
            assert cache.live().manifest.generation == FIRST

    def test_an_unchanged_pointer_loads_nothing_again(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace)
        with watching(server, namespace) as cache:
            before = cache.live()
            cache.poll()
            assert cache.live() is before

    def test_a_pointer_that_vanished_leaves_what_is_in_memory(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace)
        with watching(server, namespace) as cache:
            (known,), _ = cache.users(cache.live(), ["u1"])
            client.delete(namespace.live)
            cache.poll()
            assert not cache.reachable
            assert cache.users(cache.live(), ["u1", "u2"]) == ([known, None], True)
            client.set(namespace.live, FIRST)
            cache.poll()
            (_, found), degraded = cache.users(cache.live(), ["u1", "u2"])
            assert found is not None and not degraded

    @pytest.mark.parametrize(
        "broken",
        [
            {"schema": 2},
            {"generation": FIRST},
            {"chunks": "1"},
            {"chunks": 10**12},
            {"user_buckets": 0},
            {"k": None},
        ],
    )
    def test_a_broken_manifest_leaves_the_generation_before_in_use(
        self, server: Server, client: Any, namespace: Namespace, broken: dict[str, Any]
    ) -> None:
        publish_by_hand(client, namespace, FIRST)
        with watching(server, namespace) as cache:
            manifest = publish_by_hand(client, namespace, SECOND)
            text = json.dumps({**json.loads(manifest.to_json()), **broken})
            client.hset(namespace.generations, SECOND, text)
            _still_serves_the_first(cache)
        with watching(server, namespace) as fresh:
            with pytest.raises(CacheUnavailable, match="the live generation cannot be read"):
                fresh.live()

    @pytest.mark.parametrize("lost", ["items:0", "popular"])
    def test_a_generation_that_lost_a_part_is_not_served(
        self, server: Server, client: Any, namespace: Namespace, lost: str
    ) -> None:
        publish_by_hand(client, namespace, FIRST)
        with watching(server, namespace) as cache:
            publish_by_hand(client, namespace, SECOND)
            client.delete(f"larder:1:{namespace.name}:{SECOND}:{lost}")
            _still_serves_the_first(cache)

    @pytest.mark.parametrize("name", [b"", b"no-such-generation", b"\xff\xfe", b"*"])
    def test_a_pointer_to_nothing_leaves_the_generation_before_in_use(
        self, server: Server, client: Any, namespace: Namespace, name: bytes
    ) -> None:
        publish_by_hand(client, namespace, FIRST)
        with watching(server, namespace) as cache:
            client.set(namespace.live, name)
            _still_serves_the_first(cache)

    def test_a_hiccup_while_a_broken_generation_is_live_does_not_degrade_for_good(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, FIRST)
        with watching(server, namespace) as cache:
            client.set(namespace.live, "broken")
            cache.poll()
            cache._set_unreachable("a hiccup")
            assert not cache.reachable
            _still_serves_the_first(cache)

    def test_no_request_waits_longer_than_the_time_out_for_a_slow_server(self) -> None:
        """It waits to be connected, then for AUTH, SELECT and the command, and once for each."""
        heard: list[bytes] = []
        with lying(b"+OK\r\n", heard=heard) as url:
            client: Any = connect(url.replace("//", "//:secret@")[:-1] + "2", timeout_ms=20_000)
            assert client.get("key") == b"OK"
            waits = client.connection_pool.connection_kwargs
            client.close()
        assert [words.split(b"\r\n")[2] for words in heard] == [b"AUTH", b"SELECT", b"GET"]
        assert waits["socket_connect_timeout"] + len(heard) * waits["socket_timeout"] <= 20

    def test_a_new_pointer_is_seen_within_a_second(self) -> None:
        """That is how often a worker looks; two seconds are promised."""
        cache, waited = Cache(Settings(cache_url="redis://127.0.0.1:1")), []

        class Impatient(Event):
            def wait(self, timeout: float | None = None) -> bool:
                waited.append(timeout)
                cache._ended = True
                return False

        cache._wake = Impatient()
        cache._watch()
        assert waited == [0.5]

    def test_one_broken_bucket_degrades_nobody_else(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        manifest = publish_by_hand(client, namespace, FIRST)
        broken = namespace.user_bucket(FIRST, bucket_of(b"u1", manifest.user_buckets))
        client.delete(broken)
        client.set(broken, "no hash")
        with watching(server, namespace) as cache:
            assert cache.users(cache.live(), ["u1"]) == ([None], True)
            assert cache.reachable

    def test_a_key_of_another_kind_is_an_outage_and_no_crash(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        client.lpush(namespace.live, "x")
        with watching(server, namespace) as cache:
            with pytest.raises(CacheUnavailable):
                cache.live()

    def test_a_generation_in_memory_is_about_as_large_as_its_json(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, items=[f"item-{n}" for n in range(100_000)])
        text_bytes = sum(
            len(f'{{"item":"item-{n}","title":"Title of {n}"}}') for n in range(100_000)
        )
        with watching(server, namespace) as cache:
            client.delete(namespace.live)
            cache._live = None
            client.set(namespace.live, FIRST)
            tracemalloc.start()
            cache.poll()
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert cache.live().manifest.items == 100_000
        assert text_bytes < held < 1.3 * text_bytes


class TestNear:
    def test_a_known_user_is_asked_for_once(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace)
        with watching(server, namespace) as cache:
            assert _reads(client, lambda: cache.users(cache.live(), ["u1"])) == 1
            assert _reads(client, lambda: cache.users(cache.live(), ["u1", "u1"])) == 0
            assert _reads(client, lambda: cache.users(cache.live(), ["u1", "u2"])) == 1

    def test_a_hundred_users_are_one_pipeline(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, users=[f"u{n}" for n in range(1000)])
        users = [f"u{n}" for n in range(0, 1000, 10)]
        with watching(server, namespace) as cache:
            cache.users(cache.live(), ["u1"])
            # redis-py sends a pipeline 6,000 bytes at a time, without waiting in between
            assert 1 <= _reads(client, lambda: cache.users(cache.live(), users)) <= 3

    def test_strangers_never_enter(self, server: Server, client: Any, namespace: Namespace) -> None:
        publish_by_hand(client, namespace)
        with watching(server, namespace, near_cache_users=2) as cache:
            generation = cache.live()
            cache.users(generation, ["u1"])
            cache.users(generation, [f"stranger-{n}" for n in range(100)])
            assert generation.near.get("u1") is not None
            assert generation.near.get("stranger-1") is None

    def test_a_new_generation_begins_with_an_empty_one(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, FIRST)
        with watching(server, namespace) as cache:
            cache.users(cache.live(), ["u1"])
            publish_by_hand(client, namespace, SECOND)
            cache.poll()
            assert cache.live().near.get("u1") is None

    def test_a_late_answer_of_an_old_generation_stays_with_it(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, FIRST)
        with watching(server, namespace) as cache:
            old = cache.live()
            publish_by_hand(client, namespace, SECOND)
            cache.poll()
            cache.users(old, ["u1"])
            assert old.near.get("u1") is not None
            assert cache.live().near.get("u1") is None

    def test_it_is_bounded_and_keeps_who_was_asked_for_last(self) -> None:
        near = NearCache(2)
        one, two, three = Remembered(b"1"), Remembered(b"2"), Remembered(b"3")
        near.put("a", one)
        near.put("b", two)
        assert near.get("a") == one
        near.put("c", three)
        assert [near.get(user) for user in "abc"] == [one, None, three]

    def test_one_for_nobody_keeps_nobody(self) -> None:
        near = NearCache(0)
        near.put("a", Remembered(b"1"))
        assert near.get("a") is None


def _still_serves_the_first(cache: Cache) -> None:
    for _ in range(2):
        cache.poll()
        assert cache.live().manifest.generation == FIRST
        assert cache.reachable
    (record,), degraded = cache.users(cache.live(), ["u5"])
    assert record is not None and not degraded


def _reads(client: Any, action: Any) -> int:
    """How many packets of requests the server has read because of the action."""
    before = client.info("stats")["total_reads_processed"]
    action()
    count: int = client.info("stats")["total_reads_processed"] - before - 1
    return count
