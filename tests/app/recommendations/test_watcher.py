"""Which generation is believed in, and what the watcher does with a cache that lies."""

import json
import logging
import tracemalloc
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import redis

from app.cache.connect import connect
from app.cache.resolver import Resolver
from app.contracts.recommendations import INDEX_BYTES, Namespace
from app.errors import CacheUnavailable, NothingPublished
from app.recommendations.loading import TIMEOUT_MS
from app.recommendations.lookup import Lookup
from app.recommendations.watcher import Watcher
from app.settings import Settings
from tests.app.liar import LIES, lying
from tests.app.served import watching
from tests.generations import publish_by_hand
from tests.servers import Cluster, Server, free_port, wait_until

FIRST = "20260101T000000Z-0001"
SECOND = "20260101T000001Z-0002"


def test_a_cluster_whose_addresses_have_all_changed_is_found_by_its_url(
    cluster: Cluster, namespace: Namespace
) -> None:
    """As when all pods of a cache are made anew: its name leads to other addresses."""
    clusters = [Cluster(), cluster]

    def by_name(url: str, timeout_ms: int, resolver: Resolver) -> Any:
        return connect(clusters[0].url, timeout_ms, resolver)

    with clusters[0]:
        for each in clusters:
            with redis.RedisCluster(host="127.0.0.1", port=each.nodes[0].port) as client:
                publish_by_hand(client, namespace, FIRST)
                client.disconnect_connection_pools()
        patient = Settings("redis+cluster://cache", namespace.name, cache_timeout_ms=60_000)
        watcher = Watcher(patient, connect=by_name)
        with ExitStack() as stack:
            stack.callback(watcher.stop)
            watcher.poll()
            generation = watcher.live()
            for node in clusters.pop(0).nodes:
                node.kill()
            assert Lookup(watcher).users(generation, ["u1"]) == ([None], {"u1"})
            assert not watcher.reachable, "who asks next does not wait for addresses that are gone"
            watcher.poll()
            (found,), degraded = Lookup(watcher).users(generation, ["u1"])
            assert found is not None and not degraded


def test_a_new_pointer_is_seen_within_a_second() -> None:
    """That is how often a worker looks; two seconds are promised."""
    watcher, waited = Watcher(Settings(cache_url="redis://127.0.0.1:1")), []

    class Impatient(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            watcher._rounds._ended = True
            return False

    watcher._rounds._wake = Impatient()
    watcher._rounds._go()
    assert waited == [0.5]


class TestErrors:
    @pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
    @pytest.mark.parametrize("lie", LIES)
    def test_a_server_that_lies_stops_neither_the_start_nor_the_watcher(
        self, lie: str, scheme: str
    ) -> None:
        with lying(LIES[lie]) as url:
            url = url.replace("redis", scheme, 1)
            watcher = Watcher(Settings(cache_url=url, watch_interval_ms=50))
            watcher.start()
            with pytest.raises(CacheUnavailable, match="nothing to serve yet, and the "):
                watcher.live()
            assert watcher._rounds._thread.is_alive()
            watcher.stop()

    @pytest.mark.parametrize("lie", ["loading", "garbage", "a number to everything", "silence"])
    def test_the_truth_is_believed_after_a_lie(self, lie: str, namespace: Namespace) -> None:
        port = free_port()
        with lying(LIES[lie], port) as url:
            watcher = Watcher(
                Settings(cache_url=url, namespace=namespace.name, watch_interval_ms=50)
            )
            watcher.start()
        honest = Server()
        honest.port = port
        with honest, redis.Redis.from_url(honest.url) as client:
            publish_by_hand(client, namespace)
            wait_until(lambda: watcher.reachable and watcher._live is not None)
            assert watcher.live().manifest.generation == FIRST
            watcher.stop()

    def test_a_password_is_in_no_error_and_no_log_line(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with Server() as guarded:
            with redis.Redis.from_url(guarded.url) as client:
                client.config_set("requirepass", "right")
            for url in ("redis://:hunter2@127.0.0.1", "redis://me:hunter2@127.0.0.1"):
                watcher = Watcher(Settings(cache_url=f"{url}:{guarded.port}"))
                watcher.poll()
                with pytest.raises(CacheUnavailable, match="AuthenticationError") as raised:
                    watcher.live()
                assert "hunter2" not in str(raised.value)
                watcher.stop()
        assert "AuthenticationError" in caplog.text
        assert "hunter2" not in caplog.text


class Deaf:
    """A listener that always fails."""

    def __init__(self) -> None:
        self.told: list[tuple[bool, str | None]] = []

    def looked(self, reachable: bool, published_at: str | None) -> None:
        self.told.append((reachable, published_at))
        raise OSError("no space left on device")

    def degraded(self) -> None:
        raise OSError("no space left on device")


class Confused(Watcher):
    """A watcher that always meets what nobody expected."""

    polls = 0

    def poll(self) -> None:
        self.polls += 1
        raise RuntimeError("surprise")


class TestTheThread:
    def test_a_listener_is_told_at_every_look_and_cannot_end_it(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        listener = Deaf()
        settings = Settings(cache_url=server.url, namespace=namespace.name, watch_interval_ms=50)
        watcher = Watcher(settings, listener)
        watcher.start()
        assert listener.told == [(True, None)]
        published = publish_by_hand(client, namespace)
        wait_until(lambda: listener.told[-1] == (True, published.published_at))
        assert watcher.live().manifest.generation == FIRST
        assert watcher.reachable
        watcher.stop()

    def test_a_surprise_cannot_end_it(self, caplog: pytest.LogCaptureFixture) -> None:
        listener = Deaf()
        watcher = Confused(Settings(watch_interval_ms=50), listener)
        watcher.start()
        wait_until(lambda: watcher.polls > 2 and len(listener.told) > 2)
        watcher.stop()
        with pytest.raises(CacheUnavailable, match="does not answer .RuntimeError."):
            watcher.live()
        assert set(listener.told) == {(False, None)}
        assert caplog.text.count("what nobody expected") == 1


class TestFollowing:
    def test_nothing_published_says_which_command_publishes(
        self, server: Server, namespace: Namespace
    ) -> None:
        with watching(server, namespace) as watcher:
            assert watcher.reachable
            command = f"larder refresh <interactions> --namespace {namespace.name}"
            with pytest.raises(NothingPublished, match=command):
                watcher.live()

    def test_the_pointer_is_followed_forward_and_back(
        self, watcher: Watcher, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, SECOND)
        assert watcher.live().manifest.generation == FIRST
        watcher.poll()
        assert watcher.live().manifest.generation == SECOND
        client.set(namespace.live, FIRST)
        watcher.poll()
        assert watcher.live().manifest.generation == FIRST

    def test_an_unchanged_pointer_loads_nothing_again(self, watcher: Watcher) -> None:
        before = watcher.live()
        watcher.poll()
        assert watcher.live() is before

    def test_a_pointer_that_vanished_leaves_what_is_in_memory(
        self, watcher: Watcher, client: Any, namespace: Namespace
    ) -> None:
        (known,), _ = Lookup(watcher).users(watcher.live(), ["u1"])
        client.delete(namespace.live)
        watcher.poll()
        assert not watcher.reachable
        assert Lookup(watcher).users(watcher.live(), ["u1", "u2"]) == (
            [known, None],
            {"u1", "u2"},
        )
        client.set(namespace.live, FIRST)
        watcher.poll()
        (_, found), degraded = Lookup(watcher).users(watcher.live(), ["u1", "u2"])
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
        with watching(server, namespace) as watcher:
            manifest = publish_by_hand(client, namespace, SECOND)
            text = json.dumps({**json.loads(manifest.to_json()), **broken})
            client.hset(namespace.generations, SECOND, text)
            _still_serves_the_first(watcher)
        with watching(server, namespace) as fresh:
            with pytest.raises(CacheUnavailable, match="the live generation cannot be read"):
                fresh.live()

    @pytest.mark.parametrize("lost", ["items:0", "popular"])
    def test_a_generation_that_lost_a_part_is_not_served(
        self, watcher: Watcher, client: Any, namespace: Namespace, lost: str
    ) -> None:
        publish_by_hand(client, namespace, SECOND)
        client.delete(f"larder:1:{namespace.name}:{SECOND}:{lost}")
        _still_serves_the_first(watcher)

    @pytest.mark.parametrize("name", [b"", b"no-such-generation", b"\xff\xfe", b"*"])
    def test_a_pointer_to_nothing_leaves_the_generation_before_in_use(
        self, watcher: Watcher, client: Any, namespace: Namespace, name: bytes
    ) -> None:
        client.set(namespace.live, name)
        _still_serves_the_first(watcher)

    def test_a_hiccup_while_a_broken_generation_is_live_does_not_degrade_for_good(
        self, watcher: Watcher, client: Any, namespace: Namespace
    ) -> None:
        client.set(namespace.live, "broken")
        watcher.poll()
        watcher.is_of_no_use("a hiccup")
        assert not watcher.reachable
        _still_serves_the_first(watcher)

    def test_a_key_of_another_kind_is_an_outage_and_no_crash(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        client.lpush(namespace.live, "x")
        with watching(server, namespace) as watcher:
            with pytest.raises(CacheUnavailable):
                watcher.live()

    @pytest.mark.parametrize("shared", [True, False], ids=["a file", "no file"])
    def test_documents_are_in_a_worker_only_where_no_file_can_be(
        self, server: Server, client: Any, namespace: Namespace, tmp_path: Path, shared: bool
    ) -> None:
        publish_by_hand(client, namespace, items=[f"item-{n}" for n in range(40_000)])
        client.rename(namespace.live, f"{namespace.live}-later")
        text_bytes = sum(
            len(f'{{"item":"item-{n}","title":"Title of {n}"}}') for n in range(40_000)
        )
        folder = tmp_path if shared else tmp_path / "missing"
        with watching(server, namespace, documents_folder=str(folder)) as watcher:
            client.rename(f"{namespace.live}-later", namespace.live)
            tracemalloc.start()
            watcher.poll()
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert watcher.live().manifest.items == 40_000
        if shared:
            assert held < 0.05 * text_bytes
        else:
            assert text_bytes < held < 1.3 * text_bytes + INDEX_BYTES * 40_000

    def test_a_load_has_time_outs_of_its_own(
        self, server: Server, client: Any, namespace: Namespace, tmp_path: Path
    ) -> None:
        opened: list[int] = []

        def noting(url: str, timeout_ms: int, resolver: Resolver) -> Any:
            opened.append(timeout_ms)
            return connect(url, timeout_ms, resolver)

        publish_by_hand(client, namespace)
        settings = Settings(server.url, namespace.name, 5_000, documents_folder=str(tmp_path))
        watcher = Watcher(settings, connect=noting)
        watcher.poll()
        assert watcher.live().manifest.generation == FIRST
        watcher.stop()
        assert opened == [5_000, TIMEOUT_MS]

    def test_the_next_generation_is_not_loaded_by_all_at_once(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, FIRST)
        with watching(server, namespace, spread_seconds=3600) as watcher:
            assert watcher.live().manifest.generation == FIRST, "the first one has no time to lose"
            publish_by_hand(client, namespace, SECOND)
            _still_serves_the_first(watcher)


def _still_serves_the_first(watcher: Watcher) -> None:
    for _ in range(2):
        watcher.poll()
        assert watcher.live().manifest.generation == FIRST
        assert watcher.reachable
    (record,), degraded = Lookup(watcher).users(watcher.live(), ["u5"])
    assert record is not None and not degraded
