"""Which model decides, and what the desk says, whatever becomes of the cache."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from app.cache.link import Link
from app.contracts.decisions import MODEL, Configuration, Decisions, Policy
from app.contracts.recommendations import Namespace
from app.decisions.decider import Decider
from app.decisions.follower import Follower
from app.errors import CacheUnavailable
from tests.app.served import patient
from tests.decisions import ONE, SLOTS, TWO, body, publish_by_hand, trained
from tests.servers import Server, wait_until


@contextmanager
def following(server: Server, namespace: Namespace) -> Iterator[tuple[Follower, Link]]:
    """A follower that has not looked yet."""
    settings = patient(server, namespace, decisions="only")
    link = Link("the cache", server.url, settings.cache_timeout_ms, lambda: None)
    link.opened()
    link.answered()
    try:
        yield Follower(settings, link), link
    finally:
        link.close()


@pytest.fixture
def space(namespace: Namespace) -> Decisions:
    return Decisions(namespace.name)


def test_a_worker_follows_the_pointer_and_the_desk(
    server: Server, client: Any, namespace: Namespace, space: Decisions
) -> None:
    with following(server, namespace) as (follower, _):
        with pytest.raises(CacheUnavailable, match="nobody has looked yet"):
            follower.state()
        follower.poll()
        assert follower.state().configuration == Configuration() and follower.name is None
        publish_by_hand(client, space)
        follower.poll()
        before = follower.state().model
        follower.poll()
        assert follower.state().model is before and follower.name == ONE
        client.hset(space.desk, "policy", Policy("slots", SLOTS).to_json())
        client.hset(space.desk, "configuration", Configuration(exploration=0.5).to_json())
        follower.poll()
        assert follower.state().policy.name == "slots"
        model = follower.state().model
        assert model and model.exploration == 0.5 and follower.name == ONE
        publish_by_hand(client, space, TWO, arguments=SLOTS)
        follower.poll()
        assert follower.name == TWO and not follower.degraded


def test_it_looks_in_a_thread_until_it_is_stopped(
    server: Server, client: Any, namespace: Namespace, space: Decisions
) -> None:
    with following(server, namespace) as (follower, _):
        follower.start()
        publish_by_hand(client, space)
        wait_until(lambda: follower.name == ONE)
        follower.stop()
        assert not [each for each in threading.enumerate() if each.name == "larder-decisions"]


def _no_part(client: Any, space: Decisions) -> None:
    client.delete(space.part(TWO, MODEL))


def _half_a_part(client: Any, space: Decisions) -> None:
    client.set(space.part(TWO, MODEL), trained()[:500])


def _no_manifest(client: Any, space: Decisions) -> None:
    client.hdel(space.generations, TWO)


def _anothers_manifest(client: Any, space: Decisions) -> None:
    client.hset(space.generations, TWO, client.hget(space.generations, ONE))


@pytest.mark.parametrize("spoil", [_no_part, _half_a_part, _no_manifest, _anothers_manifest])
def test_a_model_that_cannot_be_read_changes_nothing(
    server: Server, client: Any, namespace: Namespace, space: Decisions, spoil: Any
) -> None:
    with following(server, namespace) as (follower, _):
        publish_by_hand(client, space)
        follower.poll()
        publish_by_hand(client, space, TWO)
        spoil(client, space)
        client.hset(space.desk, "configuration", Configuration(mode="LoggingOnly").to_json())
        follower.poll()
        follower.poll()
        assert follower.name == ONE and follower.degraded
        assert follower.state().configuration.mode == "LoggingOnly", "the desk holds all the same"
        client.set(space.live, ONE)
        follower.poll()
        assert not follower.degraded


def test_a_desk_that_cannot_be_read_changes_nothing(
    server: Server, client: Any, namespace: Namespace, space: Decisions
) -> None:
    with following(server, namespace) as (follower, _):
        client.hset(space.desk, "configuration", "{")
        follower.poll()
        with pytest.raises(CacheUnavailable, match="expected Configuration as JSON"):
            follower.state()
        client.hset(space.desk, "configuration", Configuration(mode="Apprentice").to_json())
        follower.poll()
        client.hset(space.desk, "configuration", "[]")
        follower.poll()
        assert follower.state().configuration.mode == "Apprentice" and follower.degraded


def test_a_worker_decides_on_while_the_cache_is_away(own_server: Server) -> None:
    namespace, space = Namespace("shop"), Decisions("shop")
    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, space)
    with following(own_server, namespace) as (follower, link):
        follower.poll()
        own_server.kill()
        link.failed(redis.ConnectionError("gone"))
        follower.poll()
        assert follower.name == ONE and follower.degraded
        own_server.start()
        link.answered()
        follower.poll()
        assert follower.name == ONE and follower.degraded, "of a cache that lost everything"


def test_models_change_under_load_and_no_request_fails(
    server: Server, client: Any, namespace: Namespace, space: Decisions
) -> None:
    settings = patient(server, namespace, decisions="only")
    with following(server, namespace) as (_, link):
        decider = Decider(settings, link)
        decider.poll()
        ended, answers = threading.Event(), []

        def ask() -> None:
            while not ended.is_set():
                answers.append(json.loads(decider.rank(body()).body)["rewardActionId"])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for each in threads:
            each.start()
        for number in range(10):
            publish_by_hand(client, space, f"20260101T000000.000Z-{number:04}")
            decider.poll()
            count = len(answers)
            wait_until(lambda: len(answers) > count)
        ended.set()
        for each in threads:
            each.join()
        before = len(answers)
        decider.stop()
    generations = {entry.get(b"generation", b"") for _, entry in client.xrange(space.log)}
    assert len(generations) >= 10 and client.xlen(space.log) == before
