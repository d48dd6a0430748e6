"""What executors write: the same bytes however often, checked, and not for a run that is over."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import redis
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from app.contracts.recommendations import (
    BUCKET_SIZE,
    Manifest,
    Namespace,
    bucket_count,
    chunk_count,
    decode_record,
    decode_sample,
    similar_part,
    unmark,
    user_part,
)
from batch.command.output.bars import Lines
from batch.errors import CacheUnavailable, LostLock
from batch.generations.connect import Client
from batch.generations.registry import Generations
from batch.recommendations.cluster.contents import ClusterContents, ClusterWritten, Part, Target
from batch.recommendations.lists import Shelves
from batch.recommendations.pipeline import Candidate
from batch.recommendations.terms import Terms
from batch.recommendations.topk import Lists
from batch.spark.failures import spark_errors
from tests.batch.pairs import interactions
from tests.batch.recommendations.test_topk import rows
from tests.generations import MANIFEST, Found, keys_of, read_back
from tests.servers import Server
from tests.spark.frames import both_candidates, documents_of, frame_of, shop, users_of

K = 5


def manifest_of(users: int, items: int, k: int, name: str = "20260101T000000Z-0001") -> Manifest:
    return replace(
        MANIFEST,
        generation=name,
        users=users,
        items=items,
        k=k,
        user_buckets=bucket_count(users),
        similar_buckets=bucket_count(items),
        chunks=chunk_count(items),
    )


@dataclass(frozen=True, slots=True)
class Shop:
    """A generation that executors wrote."""

    client: Client
    namespace: Namespace
    manifest: Manifest
    contents: ClusterContents
    written: ClusterWritten

    def write(self) -> ClusterWritten:
        with spark_errors():
            return self.contents.write(self.client, self.manifest, lambda done: None)

    def dumps(self) -> dict[str, bytes]:
        return {key: self.client.dump(key) for key in sorted(keys_of(self.client, self.namespace))}


@pytest.fixture(scope="module")
def written(spark: SparkSession, server: Server) -> Iterator[Shop]:
    namespace = Namespace("written-by-executors")
    with ExitStack() as stack, redis.Redis.from_url(server.url) as client:
        _, walk = both_candidates(frame_of(spark, shop(700)), server.url, stack)
        manifest = manifest_of(walk.users, len(walk.items), K)
        Generations(client, namespace).begin(manifest)
        contents = walk.train(namespace, documents_of(walk), Terms(K), Lines())
        first = contents.write(client, manifest, lambda done: None)
        yield Shop(client, namespace, manifest, contents, first)


def test_writing_twice_leaves_the_same_bytes(written: Shop) -> None:
    before = written.dumps()
    again = written.write()
    assert written.dumps() == before
    assert set(before) == {*written.manifest.keys(written.namespace), written.namespace.generations}
    assert again.checksum == written.written.checksum
    assert again.shelves == written.written.shelves


def test_each_bucket_of_users_is_of_one_task(written: Shop) -> None:
    shelves = [shelf for shelf in written.written.shelves if shelf.part is user_part]
    assert len(shelves) == written.contents.indexed.blocks == 2
    assert sorted(bucket for shelf in shelves for bucket in shelf.buckets) == list(
        range(written.manifest.user_buckets)
    )
    assert sum(shelf.members for shelf in shelves) == 700
    assert sum(shelf.members for shelf in written.written.shelves) == 730


def test_what_is_as_it_was_written_is_verified(written: Shop) -> None:
    written.written.verify(written.client)


def lose_bucket(client: Client, key: str) -> None:
    client.delete(key)


def lose_field(client: Client, key: str) -> None:
    client.hdel(key, client.hkeys(key)[-1])


def change_record(client: Client, key: str) -> None:
    name, record = next(iter(client.hgetall(key).items()))
    client.hset(key, name, bytes([record[0] ^ 1]) + record[1:])


def assert_noticed(written: Shop, key: str, damage: Callable[[Client, str], None]) -> None:
    kept = written.client.dump(key)
    damage(written.client, key)
    try:
        with pytest.raises(CacheUnavailable, match="did not keep what was written"):
            written.written.verify(written.client)
    finally:
        written.client.restore(key, 0, kept, replace=True)


@pytest.mark.parametrize("damage", [lose_bucket, lose_field])
def test_any_bucket_that_lost_something_is_noticed(
    written: Shop, damage: Callable[[Client, str], None]
) -> None:
    """Sizes are asked of those too whose contents nobody reads again."""
    sampled = {key for shelf in written.written.shelves for key, _ in shelf.sample}
    name, space = written.manifest.generation, written.namespace
    keys = {space.user_bucket(name, n) for n in range(written.manifest.user_buckets)}
    assert_noticed(written, min(keys - sampled), damage)


@pytest.mark.parametrize("part", [user_part, similar_part])
def test_a_record_that_changed_is_noticed_in_the_sample(written: Shop, part: Part) -> None:
    shelf = next(shelf for shelf in written.written.shelves if shelf.part is part)
    key, _ = shelf.sample[0]
    assert_noticed(written, key, change_record)


@pytest.mark.parametrize("part", ["popular", "sample", "chunk"])
def test_a_part_that_the_driver_wrote_is_verified_too(written: Shop, part: str) -> None:
    name, space = written.manifest.generation, written.namespace
    key = space.chunk(name, 0) if part == "chunk" else getattr(space, part)(name)
    assert_noticed(written, key, lambda client, key: client.append(key, b"!"))


@pytest.mark.parametrize("state", ["deleting", "complete", None])
def test_tasks_of_a_generation_that_nobody_wants_write_nothing(written: Shop, state: Any) -> None:
    """A run that lost its lock may leave tasks behind, which another run must not meet."""
    manifest = replace(written.manifest, generation=f"20260101T000000Z-{state}")
    if state:
        Generations(written.client, written.namespace).begin(replace(manifest, state=state))
    stale = replace(written, manifest=manifest)
    with pytest.raises(LostLock, match="was given up"):
        stale.write()
    buckets = [key for key in manifest.keys(stale.namespace) if ":user:" in key or "similar" in key]
    assert written.client.exists(*buckets) == 0
    written.client.hdel(written.namespace.generations, manifest.generation)


def test_a_task_stops_when_its_generation_is_deleted_while_it_writes(
    server: Server, client: Any, namespace: Namespace
) -> None:
    users = 300 * BUCKET_SIZE
    manifest = manifest_of(users, 1, 1)
    generations = Generations(client, namespace)
    generations.begin(manifest)
    made = 0

    def lists_of(rows: NDArray[np.int64]) -> Lists:
        nonlocal made
        made += len(rows)
        generations.begin(replace(manifest, state="deleting"))
        ones = np.ones(len(rows), np.int32)
        return Lists(ones[:, np.newaxis] * 0, ones[:, np.newaxis].astype(np.float32), ones)

    target = Target(server.url, namespace, manifest)
    shelves = Shelves.of([f"u{n}" for n in range(users)], manifest.user_buckets)
    with pytest.raises(LostLock, match="was given up"):
        target.write(user_part, range(manifest.user_buckets), shelves, lists_of)
    assert made < users / 2, "it stopped at the first question"
    assert keys_of(client, namespace) == {namespace.generations}, "what it wrote is gone again"


def test_those_of_whom_nothing_is_known_are_marked_on_a_cluster_too(
    spark: SparkSession, server: Server, client: Any, namespace: Namespace
) -> None:
    pairs = [(user, item) for user in range(9) for item in {user % 4, user // 4}]
    pairs += [(user, user) for user in range(9, 14)]
    with ExitStack() as stack:
        frame = frame_of(spark, interactions(sorted(pairs)))
        alone, walk = both_candidates(frame, server.url, stack)
        forgotten = alone.items.index("i3")
        alone.model.fit(alone.loaded.matrix(), print).scorer.factors[forgotten] *= 1e-9  # of both
        manifest = manifest_of(walk.users, len(walk.items), 2)
        Generations(client, namespace).begin(manifest)
        contents = walk.train(namespace, documents_of(walk), Terms(2), Lines())
        contents.write(client, manifest, lambda done: None).verify(client)
        users = users_of(walk.indexed)["user"].to_pylist()
        every = np.arange(len(walk.items))
        lists = alone.train(namespace, [], Terms(2), Lines()).similar_lists(every)
    marked = {
        user for user in users if unmark(client.hget(*manifest.user_place(namespace, user)))[1]
    }
    assert len(marked) == 5
    sample = decode_sample(client.get(namespace.sample(manifest.generation)))
    assert sorted(sample) == sorted(set(users) - marked)
    places = [manifest.item_place(namespace, item) for item in alone.items]
    similar = [[item for item, _ in decode_record(client.hget(*place))] for place in places]
    assert similar == rows(lists)
    known = {item for item, listed in zip(alone.items, similar, strict=True) if listed}
    assert set() < known <= {"i0", "i1", "i2"}, "i3 is forgotten, the others are all that one has"


CASES = {
    "one user and one item": ([(0, 0)], 10),
    "one item a list": ([(user, user % 4) for user in range(9)], 1),
    "beyond the catalogue": ([(user, user % 4) for user in range(9)], 100),
    "everything seen": (
        sorted({(0, item) for item in range(4)} | {(user, user % 4) for user in range(9)}),
        3,
    ),
}


@pytest.mark.parametrize("pairs, k", CASES.values(), ids=CASES)
def test_lists_of_any_length_are_those_of_one_machine(
    spark: SparkSession,
    server: Server,
    client: Any,
    namespace: Namespace,
    pairs: list[tuple[int, int]],
    k: int,
) -> None:
    with ExitStack() as stack:
        alone, walk = both_candidates(frame_of(spark, interactions(pairs)), server.url, stack)
        walks: tuple[Candidate, Candidate] = (alone, walk)
        found = []
        for number, each in enumerate(walks):
            manifest = manifest_of(
                alone.users, len(alone.items), k, f"20260101T000000Z-000{number}"
            )
            Generations(client, namespace).begin(manifest)
            contents = each.train(namespace, documents_of(each), Terms(k), Lines())
            contents.write(client, manifest, lambda done: None).verify(client)
            found.append(
                read_back(client, namespace, manifest, alone.loaded.users, alone.loaded.items)
            )
    assert_alike(*found)
    seen = alone.loaded.matrix()
    for row, user in enumerate(alone.loaded.users):
        unseen = len(alone.items) - seen[row].nnz
        assert len(found[1].users[user]) == min(k, unseen)


def assert_alike(mine: Found, theirs: Found) -> None:
    """The same entries in the same order; a score may be rounded to the next half float."""
    assert (mine.documents, mine.popular) == (theirs.documents, theirs.popular)
    for some, others in ((mine.users, theirs.users), (mine.similar, theirs.similar)):
        assert some.keys() == others.keys()
        for name, entries in some.items():
            assert [item for item, _ in entries] == [item for item, _ in others[name]]
            scores = [score for _, score in others[name]]
            assert [score for _, score in entries] == pytest.approx(scores, rel=2e-3)
