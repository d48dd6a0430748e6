"""What is asked of the cache in a request: how often, for whom, and what one failure spoils."""

from typing import Any

import pytest
import redis

from app.contracts.recommendations import Namespace, bucket_of, decode_record
from app.errors import CacheUnavailable
from app.recommendations.lookup import Lookup
from app.recommendations.watcher import Watcher
from app.settings import Settings
from batch.generations.registry import Generations
from tests.app.served import count_reads, watching
from tests.generations import publish_by_hand
from tests.servers import Cluster, Server

FIRST = "20260101T000000Z-0001"
SECOND = "20260101T000001Z-0002"


def test_one_broken_bucket_degrades_nobody_else(
    server: Server, client: Any, namespace: Namespace
) -> None:
    manifest = publish_by_hand(client, namespace, FIRST)
    broken = namespace.user_bucket(FIRST, bucket_of(b"u1", manifest.user_buckets))
    client.delete(broken)
    client.set(broken, "no hash")
    with watching(server, namespace) as watcher:
        assert Lookup(watcher).users(watcher.live(), ["u1"]) == ([None], {"u1"})
        assert watcher.reachable


def test_a_bucket_that_is_gone_makes_nobody_a_stranger(
    server: Server, client: Any, namespace: Namespace
) -> None:
    manifest = publish_by_hand(client, namespace, FIRST)
    client.delete(namespace.user_bucket(FIRST, 0))
    inside = [f"u{n}" for n in range(100) if bucket_of(b"u%d" % n, manifest.user_buckets) == 0]
    with watching(server, namespace) as watcher:
        asked = [f"u{n}" for n in range(100)] + ["nobody", "no one"]
        assert {bucket_of(user.encode(), 2) for user in asked[100:]} == {0, 1}
        lists, degraded = Lookup(watcher).users(watcher.live(), asked)
        strangers = [user for user, found in zip(asked, lists, strict=True) if found is None]
        assert strangers == [*inside, *asked[100:]]
        assert degraded == {user for user in strangers if bucket_of(user.encode(), 2) == 0}
        assert watcher.reachable


def test_a_worker_that_keeps_a_generation_that_was_pruned_calls_nobody_a_stranger(
    server: Server, client: Any, namespace: Namespace
) -> None:
    manifest = publish_by_hand(client, namespace, FIRST)
    with watching(server, namespace) as watcher:
        publish_by_hand(client, namespace, SECOND)
        assert Generations(client, namespace).delete(manifest)
        lookup, kept = Lookup(watcher), watcher.live()
        assert lookup.users(kept, ["u1"]) == ([None], {"u1"})
        assert lookup.users(kept, ["u1", "u2"]) == ([None, None], {"u1", "u2"})
        with pytest.raises(CacheUnavailable):
            lookup.similar(kept, "i1")
        with pytest.raises(CacheUnavailable):
            lookup.sample(kept)


def test_a_cluster_tells_a_stranger_from_a_bucket_that_is_gone(
    cluster: Cluster, cluster_client: Any, namespace: Namespace
) -> None:
    publish_by_hand(cluster_client, namespace, FIRST)
    cluster_client.delete(namespace.user_bucket(FIRST, 0), namespace.similar_bucket(FIRST, 0))
    watcher = Watcher(Settings(cluster.url, namespace.name, cache_timeout_ms=60_000))
    watcher.poll()
    lookup, asked = Lookup(watcher), ["u1", "u2", "nobody", "no one"]
    try:
        lists, degraded = lookup.users(watcher.live(), asked)
        gone = {user for user in asked if bucket_of(user.encode(), 2) == 0}
        assert degraded == gone != set(asked)
        assert [found is None for found in lists] == [u in gone or u[:2] == "no" for u in asked]
        assert [lookup.users(watcher.live(), [user])[1] for user in asked] == [
            {user} & gone for user in asked
        ]
        with pytest.raises(CacheUnavailable):
            lookup.similar(watcher.live(), "i1")
    finally:
        watcher.stop()


def test_a_bucket_that_nobody_is_in_is_no_lost_one(
    server: Server, client: Any, namespace: Namespace
) -> None:
    together = [f"u{n}" for n in range(400) if bucket_of(b"u%d" % n, 2) == 0][:100]
    publish_by_hand(client, namespace, users=together)
    with watching(server, namespace) as watcher:
        strangers = [f"nobody {n}" for n in range(20)]
        assert {bucket_of(user.encode(), 2) for user in strangers} == {0, 1}
        assert Lookup(watcher).users(watcher.live(), strangers) == ([None] * 20, set())


def test_what_a_round_trip_leaves_behind_is_no_answer_to_the_next(own_server: Server) -> None:
    namespace = Namespace("shop")
    with redis.Redis.from_url(own_server.url) as own:
        publish_by_hand(own, namespace)
    with watching(own_server, namespace, cache_timeout_ms=2000) as watcher:
        lookup = Lookup(watcher)
        own_server.freeze()
        assert lookup.users(watcher.live(), ["u1"]) == ([None], {"u1"})
        own_server.thaw()
        watcher.poll()
        assert watcher.reachable
        (found,), degraded = lookup.users(watcher.live(), ["u2"])
        assert found is not None and not degraded
        assert decode_record(found.record)[0] == (2, 1.0)


class TestNear:
    def test_a_known_user_is_asked_for_once(self, watcher: Watcher, client: Any) -> None:
        lookup = Lookup(watcher)
        assert count_reads(client, lambda: lookup.users(watcher.live(), ["u1"])) == 1
        assert count_reads(client, lambda: lookup.users(watcher.live(), ["u1", "u1"])) == 0
        assert count_reads(client, lambda: lookup.users(watcher.live(), ["u1", "u2"])) == 1

    def test_a_hundred_users_are_one_pipeline(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, users=[f"u{n}" for n in range(1000)])
        users = [f"u{n}" for n in range(0, 1000, 10)]
        with watching(server, namespace) as watcher:
            lookup = Lookup(watcher)
            lookup.users(watcher.live(), ["u1"])
            # redis-py sends a pipeline 6,000 bytes at a time, without waiting in between
            assert 1 <= count_reads(client, lambda: lookup.users(watcher.live(), users)) <= 3

    def test_strangers_never_enter(self, server: Server, client: Any, namespace: Namespace) -> None:
        publish_by_hand(client, namespace)
        with watching(server, namespace, near_cache_users=2) as watcher:
            lookup = Lookup(watcher)
            generation = watcher.live()
            lookup.users(generation, ["u1"])
            lookup.users(generation, [f"stranger-{n}" for n in range(100)])
            assert generation.near.get("u1") is not None
            assert generation.near.get("stranger-1") is None

    def test_a_new_generation_begins_with_an_empty_one(
        self, watcher: Watcher, client: Any, namespace: Namespace
    ) -> None:
        lookup = Lookup(watcher)
        lookup.users(watcher.live(), ["u1"])
        publish_by_hand(client, namespace, SECOND)
        watcher.poll()
        assert watcher.live().near.get("u1") is None

    def test_a_late_answer_of_an_old_generation_stays_with_it(
        self, watcher: Watcher, client: Any, namespace: Namespace
    ) -> None:
        lookup = Lookup(watcher)
        old = watcher.live()
        publish_by_hand(client, namespace, SECOND)
        watcher.poll()
        lookup.users(old, ["u1"])
        assert old.near.get("u1") is not None
        assert watcher.live().near.get("u1") is None
