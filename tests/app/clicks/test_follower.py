"""Which model a worker answers from, whatever becomes of the cache."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import redis

from app.cache.link import Link
from app.clicks.deletion import delete
from app.clicks.follower import Follower
from app.clicks.known import columns_of
from app.contracts.clicks import BODY_PART_BYTES, Clicks, Manifest, body_part, user_part
from app.contracts.recommendations import Namespace
from app.errors import CacheUnavailable, NothingPublished
from batch.clicks.model import Model, Values
from batch.generations.parts import lacks
from tests.app.served import patient
from tests.clicks import model, publish_by_hand
from tests.servers import Server, wait_until

ONE, TWO = "20260101T000000.000Z-0001", "20260101T000000.000Z-0002"


@contextmanager
def following(server: Server, namespace: Namespace) -> Iterator[tuple[Follower, Link]]:
    """A follower that has not looked yet."""
    settings = patient(server, namespace, clicks="on")
    link = Link("the cache", server.url, settings.cache_timeout_ms, lambda: None)
    link.opened()
    link.answered()
    try:
        yield Follower(settings, link), link
    finally:
        link.close()


@pytest.fixture
def space(namespace: Namespace) -> Clicks:
    return Clicks(namespace.name)


def large() -> Model:
    """Its body takes three parts."""
    made, count = model(), BODY_PART_BYTES // 10
    zeros = np.zeros(count, np.float32)
    keys = np.sort(np.random.default_rng(1).integers(0, 2**63, count, np.uint64))
    return replace(made, tables=[Values(keys, zeros, zeros, zeros), made.tables[1]])


def test_a_worker_follows_the_pointer(
    server: Server, client: Any, namespace: Namespace, space: Clicks
) -> None:
    with following(server, namespace) as (follower, _):
        with pytest.raises(CacheUnavailable, match="nobody has looked yet"):
            follower.live()
        follower.poll()
        with pytest.raises(NothingPublished, match="larder clicks train"):
            follower.live()
        publish_by_hand(client, space)
        follower.poll()
        before = follower.live()
        follower.poll()
        assert follower.live() is before and follower.name == ONE
        assert publish_by_hand(client, space, TWO, large()).body_parts == 3
        follower.poll()
        assert follower.name == TWO and not follower.degraded
        client.set(space.live, ONE)
        follower.poll()
        assert follower.name == ONE


def test_it_looks_in_a_thread_until_it_is_stopped(
    server: Server, client: Any, namespace: Namespace, space: Clicks
) -> None:
    with following(server, namespace) as (follower, _):
        follower.start()
        publish_by_hand(client, space)
        wait_until(lambda: follower.name == ONE)
        follower.stop()
        assert not [each for each in threading.enumerate() if each.name == "larder-clicks"]


def _without_a_part(client: Any, space: Clicks, manifest: Manifest) -> None:
    client.delete(space.part(TWO, body_part(0)))


def _of_another_model(client: Any, space: Clicks, manifest: Manifest) -> None:
    """Its first bytes are not what the manifest has the hash of."""
    client.setrange(space.part(TWO, body_part(0)), 0, b"other")


def _without_manifest(client: Any, space: Clicks, manifest: Manifest) -> None:
    client.hdel(space.generations, TWO)


def _of_other_columns(client: Any, space: Clicks, manifest: Manifest) -> None:
    columns = [["price", "number"], ["brand", "number"], ["device", "category"]]
    client.hset(space.generations, TWO, replace(manifest, columns=columns).to_json())


def _of_trees_in_a_circle(client: Any, space: Clicks, manifest: Manifest) -> None:
    """LightGBM would never come back from them."""
    spoiled = replace(model(), trees=model().trees.replace("left_child=-1", "left_child=0"))
    publish_by_hand(client, space, f"{TWO[:-1]}3", spoiled)


def _of_a_newer_library(client: Any, space: Clicks, manifest: Manifest) -> None:
    """Trees in a form that this one does not know."""
    newer = replace(model(), trees="tree\nversion=v99\n")
    publish_by_hand(client, space, f"{TWO[:-1]}3", newer)
    client.set(space.live, f"{TWO[:-1]}3")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_without_a_part, "has lost a part of its body"),
        (_of_another_model, "are not those of its manifest"),
        (_without_manifest, "has no manifest"),
        (_of_other_columns, "the tables"),
        (_of_trees_in_a_circle, "tree 0 cannot be used"),
        (_of_a_newer_library, "is it older than the one that wrote them"),
    ],
)
def test_a_model_that_cannot_be_read_takes_no_other_away(
    server: Server,
    client: Any,
    namespace: Namespace,
    space: Clicks,
    caplog: pytest.LogCaptureFixture,
    spoil: Any,
    sentence: str,
) -> None:
    publish_by_hand(client, space)
    with following(server, namespace) as (follower, _):
        follower.poll()
        spoil(client, space, publish_by_hand(client, space, TWO))
        for _ in range(3):
            follower.poll()
        assert follower.name == ONE and follower.degraded
        told = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
        assert len(told) == 1 and sentence in told[0] and f"from {ONE} still" in told[0]
        client.set(space.live, ONE)
        follower.poll()
        assert not follower.degraded


def test_the_last_model_serves_while_the_cache_is_away_or_has_lost_its_data(
    own_server: Server, namespace: Namespace, space: Clicks
) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, space)
        with following(own_server, namespace) as (follower, link):
            follower.poll()
            client.flushall()
            follower.poll()
            assert follower.name == ONE and follower.degraded
            link.is_of_no_use("it was pulled out")
            follower.poll()
            assert follower.name == ONE and follower.degraded


def test_the_columns_of_a_user_go_from_every_model_which_stays_whole(
    server: Server, client: Any, namespace: Namespace, space: Clicks
) -> None:
    users = {"15": b'{"device":"desk"}', "a/b": b'{"price":1}'}
    both = [publish_by_hand(client, space, name, users=users) for name in (ONE, TWO)]
    publish_by_hand(client, space, f"{TWO[:-1]}3")
    assert delete(client, space, "15") == 2
    assert delete(client, space, "15") == 0
    with following(server, namespace) as (_, link):
        for manifest in both:
            assert columns_of(link, space, manifest, "15") == ({}, False)
            assert columns_of(link, space, manifest, "a/b") == ({"price": 1}, False)
            assert lacks(client, space, manifest) == ""


def test_what_is_lost_of_users_is_told_from_users_who_are_not_there(
    server: Server, client: Any, namespace: Namespace, space: Clicks
) -> None:
    manifest = publish_by_hand(client, space, users={"15": b"[]", "16": b"{"})
    with following(server, namespace) as (_, link):
        assert columns_of(link, space, manifest, "nobody") == ({}, False)
        assert columns_of(link, space, manifest, "15") == ({}, True)
        assert columns_of(link, space, manifest, "16") == ({}, True)
        client.delete(space.part(manifest.generation, user_part(0)))
        assert columns_of(link, space, manifest, "nobody") == ({}, True)
        link.is_of_no_use("it was pulled out")
        assert columns_of(link, space, manifest, "nobody") == ({}, True)
