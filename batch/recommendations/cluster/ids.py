"""Number users and items, so that each user's pairs lie with those who share a cache bucket.

Items are numbered by their sorted ids, as on one machine. Users are cut into blocks, each a range
of cache buckets, and numbered block by block: what is learned of a block's users is written to the
cache where it is, and every bucket by one task alone.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import RDD
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel
from scipy.sparse import csr_matrix

from app.contracts.recommendations import (
    bucket_count,
    bucket_of,
    bucket_size,
    field,
    usual_history,
)
from batch.recommendations.cluster.blocks import View, balanced, kept, matrices

PAIRS_PER_BLOCK = 1_000_000
"""How many pairs a thread of a task works on: 20 MB, and as many rows of factors at the most."""

_PLACED = pa.schema(
    [("user", pa.string()), ("name", pa.binary()), ("bucket", pa.int32()), ("block", pa.int32())]
)


@dataclass(frozen=True, slots=True)
class Indexed:
    """Pairs with numbers in place of ids.

    frame: block, user, item_block, item (int), weight (float), timestamp (double) where the input
    has one, and whatever else came along; users: user (the id), name (its field in the cache),
    bucket, block, row (within the block); items: their ids, sorted; counts: (items,), the pairs of
    each; starts, item_starts: (blocks + 1,), the first user or item of each block; buckets: how
    many the users are spread over.
    """

    frame: DataFrame
    users: DataFrame
    items: list[str]
    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    item_starts: NDArray[np.int64]
    buckets: int

    @property
    def blocks(self) -> int:
        return len(self.starts) - 1

    @property
    def user_count(self) -> int:
        return int(self.starts[-1])

    def buckets_of(self, block: int) -> range:
        """The buckets of a block."""
        first, last = (math.ceil(n * self.buckets / self.blocks) for n in (block, block + 1))
        return range(first, last)

    def view(self, frame: DataFrame, stack: ExitStack) -> View:
        """Gather some of the pairs; kept until the stack is closed."""
        return View.of(frame, self.starts, self.item_starts, stack)


def index(
    frame: DataFrame, stack: ExitStack, stored: int = 0, factors: int = 0, history: int = 0
) -> Indexed:
    """Number the users and items of pairs (user, item: string; the other columns stay).

    The numbers are kept until the stack is closed. stored, factors, history: see ``bucket_size``
    and ``usual_history``.
    """
    spark = frame.sparkSession
    found = frame.groupBy("item").count().toArrow().sort_by("item")
    counts = found["count"].to_numpy()
    pairs = int(counts.sum())
    blocks = block_count(spark, pairs)
    item_starts = balanced(counts, blocks)
    number = np.arange(len(counts), dtype=np.int32)
    item_block = np.searchsorted(item_starts, number, side="right").astype(np.int32) - 1
    items = pa.table({"item": found["item"], "number": number, "item_block": item_block})
    everyone = frame.select("user").distinct().persist(StorageLevel.MEMORY_AND_DISK)
    count = everyone.count()
    own = usual_history(history, pairs, count)
    buckets = bucket_count(count, bucket_size(stored, len(counts), factors, own))
    users, starts = _place(everyone, buckets, blocks)
    indexed = (
        frame.join(spark.createDataFrame(items), "item")
        .drop("item")
        .withColumnRenamed("number", "item")
        .join(_numbers(users, starts), "user")
        .drop("user")
        .withColumnRenamed("number", "user")
        .persist(StorageLevel.MEMORY_AND_DISK)
    )
    stack.callback(users.unpersist)
    stack.callback(indexed.unpersist)
    indexed.count()  # from here on what was read can go
    return Indexed(indexed, users, found["item"].to_pylist(), counts, starts, item_starts, buckets)


def hidden_of(
    indexed: Indexed, hidden: DataFrame | None, stack: ExitStack
) -> "RDD[csr_matrix] | None":
    """What users hid (user, item: string), as blocks of a matrix like that of their pairs."""
    if hidden is None or hidden.isEmpty():
        return None
    numbers = np.arange(len(indexed.items), dtype=np.int32)
    items = pa.table({"item": indexed.items, "column": numbers})
    frame = (
        hidden.join(hidden.sparkSession.createDataFrame(items), "item")
        .join(_numbers(indexed.users, indexed.starts), "user")
        .withColumn("weight", F.lit(1.0))
    )
    width = len(indexed.items)
    return kept(matrices(frame, F.col("block"), "number", "column", indexed.starts, width), stack)


def _numbers(users: DataFrame, starts: NDArray[np.int64]) -> DataFrame:
    """The block and the number of each user."""
    first = F.element_at(F.lit(starts[:-1]), F.col("block") + 1)
    return users.select("user", "block", (F.col("row") + first).cast("int").alias("number"))


def block_count(spark: SparkSession, pairs: int) -> int:
    """Cut pairs into blocks: as many for each task that runs at a time, larger for more cpus."""
    context = spark.sparkContext
    threads = int(context.getConf().get("spark.task.cpus") or 1)
    tasks = max(1, context.defaultParallelism // threads)
    return tasks * math.ceil(pairs / (PAIRS_PER_BLOCK * threads) / tasks)


def _place(users: DataFrame, buckets: int, blocks: int) -> tuple[DataFrame, NDArray[np.int64]]:
    schema = "user string, name binary, bucket int, block int"

    def place(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            names = [field(user) for user in batch.column("user").to_pylist()]
            numbers = np.fromiter((bucket_of(name, buckets) for name in names), np.int64)
            columns = [
                batch.column("user"),
                pa.array(names, pa.binary()),
                pa.array(numbers, pa.int32()),
                pa.array(numbers * blocks // buckets, pa.int32()),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=_PLACED)

    placed = (
        users.mapInArrow(place, schema)
        .repartitionById(blocks, F.col("block"))
        .mapInArrow(_in_order, f"{schema}, row int")
        .persist(StorageLevel.MEMORY_AND_DISK)
    )
    counts = np.zeros(blocks, np.int64)
    for row in placed.groupBy("block").count().collect():
        counts[row["block"]] = row["count"]
    users.unpersist()
    return placed, np.concatenate([[0], np.cumsum(counts)])


def _in_order(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Number the users of one block by bucket and name."""
    table = pa.Table.from_batches(list(batches), _PLACED).combine_chunks()
    table = table.sort_by([("bucket", "ascending"), ("name", "ascending")])
    yield from table.append_column("row", pa.array(range(len(table)), pa.int32())).to_batches()
