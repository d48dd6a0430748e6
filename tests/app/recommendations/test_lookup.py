"""What is asked of the cache in a request: how often, for whom, and what one failure spoils."""

from typing import Any

from app.contracts.recommendations import Namespace, bucket_of
from app.recommendations.lookup import Lookup
from tests.app.served import watching
from tests.generations import publish_by_hand
from tests.servers import Server

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
        assert Lookup(watcher).users(watcher.live(), ["u1"]) == ([None], True)
        assert watcher.reachable


class TestNear:
    def test_a_known_user_is_asked_for_once(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace)
        with watching(server, namespace) as watcher:
            lookup = Lookup(watcher)
            assert _reads(client, lambda: lookup.users(watcher.live(), ["u1"])) == 1
            assert _reads(client, lambda: lookup.users(watcher.live(), ["u1", "u1"])) == 0
            assert _reads(client, lambda: lookup.users(watcher.live(), ["u1", "u2"])) == 1

    def test_a_hundred_users_are_one_pipeline(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, users=[f"u{n}" for n in range(1000)])
        users = [f"u{n}" for n in range(0, 1000, 10)]
        with watching(server, namespace) as watcher:
            lookup = Lookup(watcher)
            lookup.users(watcher.live(), ["u1"])
            # redis-py sends a pipeline 6,000 bytes at a time, without waiting in between
            assert 1 <= _reads(client, lambda: lookup.users(watcher.live(), users)) <= 3

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
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, FIRST)
        with watching(server, namespace) as watcher:
            lookup = Lookup(watcher)
            lookup.users(watcher.live(), ["u1"])
            publish_by_hand(client, namespace, SECOND)
            watcher.poll()
            assert watcher.live().near.get("u1") is None

    def test_a_late_answer_of_an_old_generation_stays_with_it(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(client, namespace, FIRST)
        with watching(server, namespace) as watcher:
            lookup = Lookup(watcher)
            old = watcher.live()
            publish_by_hand(client, namespace, SECOND)
            watcher.poll()
            lookup.users(old, ["u1"])
            assert old.near.get("u1") is not None
            assert watcher.live().near.get("u1") is None


def _reads(client: Any, action: Any) -> int:
    """How many packets of requests the server has read because of the action."""
    before = client.info("stats")["total_reads_processed"]
    action()
    count: int = client.info("stats")["total_reads_processed"] - before - 1
    return count
