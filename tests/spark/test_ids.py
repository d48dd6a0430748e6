"""Numbers in place of ids: the same on every cluster, and each cache bucket in one block."""

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from app.contracts.recommendations import bucket_count, bucket_of, field
from batch.recommendations.cluster import ids
from batch.recommendations.cluster.ids import Indexed, index
from tests.spark.frames import gathered, users_of

ODD = [
    "a b",
    " a",
    "",
    'it\'s "quoted"',
    "日本語",
    "\U0001f600",
    "\uffee",  # before the emoji in UTF-8, behind it in UTF-16
    "a/b",
    "a:b",
    "a,b",
    "null",
    "007",
    "é",
    "e\u0301",
    "x" * 200,
    "ü" * 9,  # 18 bytes: stored as a digest
    "exactly16bytes..",
    "\\N\t\n",
]


def pairs_of(spark: SparkSession, users: Sequence[str], items: Sequence[str]) -> DataFrame:
    """Each user with each item."""
    rows = [(user, item) for user in users for item in items]
    columns = {
        "user": [user for user, _ in rows],
        "item": [item for _, item in rows],
        "weight": np.arange(1, len(rows) + 1, dtype=np.float32),
        "timestamp": np.arange(len(rows), dtype=np.float64),
    }
    return spark.createDataFrame(pa.table(columns))


def named(indexed: Indexed) -> set[tuple[str, str, float, float | None]]:
    """The pairs, with ids again."""
    made = gathered(indexed)
    assert made.timestamp is not None
    users = [made.users[number] for number in made.user]
    items = [made.items[number] for number in made.item]
    return set(zip(users, items, made.weight.tolist(), made.timestamp.tolist(), strict=True))


def test_ids_of_any_content_come_out_as_they_were(spark: SparkSession) -> None:
    frame = pairs_of(spark, ODD, ODD[::-1])
    with ExitStack() as stack:
        indexed = index(frame, stack)
        given = {
            tuple(row) for row in frame.select("user", "item", "weight", "timestamp").collect()
        }
        assert named(indexed) == given
        found = users_of(indexed)
        names = dict(zip(found["user"].to_pylist(), found["name"].to_pylist(), strict=True))
        assert names == {user: field(user) for user in ODD}
        assert len(names["ü" * 9]) == 17, "a digest"


def test_items_are_numbered_as_on_one_machine(spark: SparkSession) -> None:
    with ExitStack() as stack:
        indexed = index(pairs_of(spark, ["u"], ODD[::-1]), stack)
        assert indexed.items == sorted(ODD, key=str.encode)
        assert indexed.items != sorted(ODD, key=lambda item: item.encode("utf-16-be"))


@pytest.mark.parametrize(
    "users, blocks",
    [(1, 2), (81, 2), (81, 6), (500, 4), (7, 8)],
    ids=["one user", "two buckets", "more blocks than buckets", "uneven", "one bucket"],
)
def test_users_are_dense_by_block_and_bucket_and_a_bucket_is_in_one_block(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, users: int, blocks: int
) -> None:
    monkeypatch.setattr(ids, "PAIRS_PER_BLOCK", -(-users // blocks))
    with ExitStack() as stack:
        indexed = index(pairs_of(spark, [f"user {n}" for n in range(users)], ["i"]), stack)
        found = users_of(indexed).to_pydict()
        shelves = [indexed.buckets_of(block) for block in range(indexed.blocks)]
        numbers = sorted(row["user"] for row in indexed.frame.collect())

    assert indexed.blocks == blocks
    assert indexed.buckets == bucket_count(users)
    assert [bucket for shelf in shelves for bucket in shelf] == list(range(indexed.buckets))
    assert found["bucket"] == [bucket_of(name, indexed.buckets) for name in found["name"]]
    assert all(bucket in shelves[block] for bucket, block in zip(found["bucket"], found["block"]))
    order = list(zip(found["block"], found["bucket"], found["name"]))
    assert order == sorted(order)
    starts = np.concatenate([[0], np.cumsum(np.bincount(found["block"], minlength=blocks))])
    assert indexed.starts.tolist() == starts.tolist()
    assert (starts[found["block"]] + found["row"]).tolist() == list(range(users))
    assert numbers == list(range(users)), "each user has one item"


def test_each_pair_has_the_block_of_its_user_and_of_its_item_and_each_item_its_count(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "PAIRS_PER_BLOCK", 100)
    frame = pairs_of(spark, [f"u{n}" for n in range(200)], ["a", "b"]).unionByName(
        pairs_of(spark, ["u7"], [f"rare {n}" for n in range(60)])
    )
    with ExitStack() as stack:
        indexed = index(frame, stack)
        found = indexed.frame.toArrow()
    user, item = (found[name].to_numpy() for name in ("user", "item"))
    for numbers, name, starts in (
        (user, "block", indexed.starts),
        (item, "item_block", indexed.item_starts),
    ):
        block = found[name].to_numpy()
        assert (starts[block] <= numbers).all() and (numbers < starts[block + 1]).all()
    assert indexed.counts.tolist() == np.bincount(item).tolist() == [200, 200] + [1] * 60
    assert (len(indexed.starts), indexed.starts[-1]) == (indexed.blocks + 1, 200)
    assert (len(indexed.item_starts), indexed.item_starts[-1]) == (indexed.blocks + 1, 62)
    assert indexed.blocks == 6


def test_the_same_pairs_in_another_order_and_number_of_blocks_get_the_same_numbers(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pairs_of(spark, [f"user {n}" for n in range(300)], ["b", "c", "a"])
    with ExitStack() as stack:
        one = index(frame, stack)
        monkeypatch.setattr(ids, "PAIRS_PER_BLOCK", 300)
        other = index(frame.orderBy("weight", ascending=False).repartition(5), stack)
        assert (one.blocks, other.blocks) == (2, 4)
        assert users_of(one)["user"] == users_of(other)["user"]
        assert (one.items, one.counts.tolist()) == (other.items, other.counts.tolist())
        assert named(one) == named(other)


def test_numbers_are_kept_until_the_stack_is_closed_and_no_longer(spark: SparkSession) -> None:
    """What other tests kept may go at any time, so only what is new counts."""

    def kept() -> set[int]:
        return set(spark.sparkContext._jsc.getPersistentRDDs())

    before = kept()
    with ExitStack() as stack:
        indexed = index(pairs_of(spark, ["u", "v"], ["a", "b"]), stack)
        indexed.frame.count()
        new = kept() - before
        assert len(new) == 2
    assert not new & kept()
