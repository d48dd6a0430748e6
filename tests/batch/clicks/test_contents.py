"""A click model is published like every generation, and what a reader finds is what was written."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import pytest

from app.contracts.clicks import BODY_PART_BYTES, Clicks, Manifest
from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import EMPTY_BUCKET, Namespace
from batch.clicks.contents import Contents, read_model, read_users
from batch.clicks.model import Values, sizes_and_hashes
from batch.errors import CacheUnavailable, UnknownGeneration
from batch.generations.lock import hold
from batch.generations.parts import lacks
from batch.generations.publish import publish
from batch.generations.registry import Generations
from tests.clicks import MEANS, PRIOR, log_odds, manifest_of, model, publish_by_hand
from tests.generations import keys_of

NEW = "20260102T000000.000Z-0002"


@pytest.fixture
def space(namespace: Namespace) -> Clicks:
    return Clicks(namespace.name)


def test_the_model_made_by_hand_is_one_for_lightgbm() -> None:
    booster = lightgbm.Booster(model_str=model().trees)
    rows = [
        (5.0, "acme", "phone"),
        (None, "bolt", ""),
        (10.0, "new", "new"),
        (11.0, "bolt", "desk"),
    ]
    matrix = [
        [
            np.nan if price is None else price,
            *(MEANS["brand"].get(brand, PRIOR), 0.0),
            *(MEANS["device"].get(device, PRIOR), 0.0),
        ]
        for price, brand, device in rows
    ]
    found = booster.predict(np.array(matrix, np.float32), raw_score=True, num_threads=1)
    assert np.asarray(found).tolist() == [log_odds(*row) for row in rows]


def test_what_is_published_is_what_a_reader_finds(client: Any, space: Clicks) -> None:
    made = model(negatives_kept=0.5, blend=True)
    users = {f"u{n}": json.dumps({"price": n}).encode() for n in range(250)}
    manifest = publish_by_hand(client, space, made=made, users=users)
    found = read_model(client, space, manifest)
    assert (found.trees, found.linear, found.prior) == (made.trees, made.linear, made.prior)
    assert [each.encode() for each in found.tables] == [each.encode() for each in made.tables]
    assert {name.decode(): each for name, each in read_users(client, space, manifest)} == users
    key, name = manifest.user_place(space, "u7")
    assert client.hget(key, name) == b'{"price": 7}'
    assert keys_of(client, Namespace(space.name)) == {
        space.live,
        space.generations,
        *manifest.keys(space),
    }
    assert lacks(client, space, manifest) == ""


def test_a_body_of_several_parts_is_read_whole(client: Any, space: Clicks) -> None:
    some, many = model(), np.arange(60_000)
    numbers = many.astype(np.float32)
    table = Values(many.astype(np.uint64), numbers, numbers[::-1], numbers)
    manifest = publish_by_hand(client, space, made=replace(some, tables=[table, some.tables[1]]))
    assert manifest.body_parts == 2 and manifest.body_bytes > BODY_PART_BYTES
    assert read_model(client, space, manifest).tables[0].encode() == table.encode()


def test_a_bucket_that_nobody_is_in_has_a_key_all_the_same(client: Any, space: Clicks) -> None:
    manifest = publish_by_hand(client, space, users={"u": b"{}"}, user_buckets=2)
    buckets = [client.hgetall(key) for key in list(manifest.keys(space))[1:]]
    assert sorted(map(len, buckets)) == [1, 1] and EMPTY_BUCKET in buckets
    assert list(read_users(client, space, manifest)) == [(b"u", b"{}")]


def test_a_part_that_is_gone_is_said(client: Any, space: Clicks) -> None:
    manifest = publish_by_hand(client, space)
    client.delete(next(manifest.keys(space)))
    with pytest.raises(UnknownGeneration, match="not whole any more: .*body:0 is gone"):
        read_model(client, space, manifest)


def test_a_body_of_another_model_is_refused(client: Any, space: Clicks) -> None:
    manifest = publish_by_hand(client, space)
    other = b"".join(model(blend=True).sections().values())
    client.set(next(manifest.keys(space)), other)
    with pytest.raises(BrokenRecord, match="linear|tables|trees"):
        read_model(client, space, replace(manifest, hashes=sizes_and_hashes({"trees": b""})[1]))
    client.set(next(manifest.keys(space)), other[::-1])
    with pytest.raises(BrokenRecord, match="are not those of its manifest"):
        read_model(client, space, manifest)


@pytest.mark.parametrize("what", ["the body is cut", "a byte is changed", "a user is lost"])
def test_a_server_that_does_not_keep_what_it_got_publishes_nothing(
    client: Any, space: Clicks, what: str
) -> None:
    live = publish_by_hand(client, space)
    users = {b"u%d" % n: b"{}" for n in range(10)}
    new = manifest_of(model(), 10, generation=NEW)
    body, bucket = new.keys(space)
    sabotage: Callable[[], object] = {
        "the body is cut": lambda: client.set(body, b"x"),
        "a byte is changed": lambda: client.setrange(body, 9, b"\0"),
        "a user is lost": lambda: client.hdel(bucket, "u1"),
    }[what]
    contents = Contents(space, model().sections(), users)
    left = contents.size

    def advance(done: int) -> None:
        nonlocal left
        left -= done
        if left == 0:
            sabotage()

    with pytest.raises(CacheUnavailable), hold(client, space) as lease:
        publish(client, space, new, contents, lease, advance)
    assert left == 0 and _only(client, space) == [live]


def _only(client: Any, space: Clicks) -> list[Manifest]:
    known = Generations(client, space)
    assert known.live_manifest() == known.all()[0]
    kept = {key for each in known.all() for key in each.keys(space)}
    assert keys_of(client, Namespace(space.name)) == kept | {space.live, space.generations}
    return known.all()
