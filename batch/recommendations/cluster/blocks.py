"""Pairs as blocks of a sparse matrix: an RDD of one CSR block per partition.

Partition b holds the rows starts[b] to starts[b + 1]. What belongs to the same rows is another RDD
with the same cut, and ``zip`` brings both together without a shuffle.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import RDD, TaskContext
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel
from scipy.sparse import csr_matrix

from batch.recommendations.descent import Falling
from batch.recommendations.engines.engine import Scale, Scorer
from batch.recommendations.engines.factors import FactorScorer
from batch.recommendations.judge.catalogue import Catalogue, directions
from batch.recommendations.similar import Company

Matrix = NDArray[np.float32]

_COLUMNS = ("row", "column", "weight")
_TYPES = (np.int32, np.int32, np.float32)


@dataclass(frozen=True, slots=True)
class Side:
    """The users, or the items, with the pairs of each.

    rows: the blocks of a CSR matrix of weights; starts: the first row of each block.
    """

    rows: "RDD[csr_matrix]"
    starts: NDArray[np.int64]

    @property
    def size(self) -> int:
        """How many users, or items."""
        return int(self.starts[-1])


@dataclass(frozen=True, slots=True)
class View:
    """Some of the pairs, by user and by item. frame: user, item (int), weight (float)."""

    frame: DataFrame
    users: Side
    items: Side

    @classmethod
    def of(
        cls,
        frame: DataFrame,
        starts: NDArray[np.int64],
        item_starts: NDArray[np.int64],
        stack: ExitStack,
    ) -> "View":
        """Gather pairs (block and item_block too); kept until the stack is closed."""
        users, items = int(starts[-1]), int(item_starts[-1])
        by_user = matrices(frame, F.col("block"), "user", "item", starts, items)
        by_item = matrices(frame, F.col("item_block"), "item", "user", item_starts, users)
        return cls(
            frame, Side(kept(by_user, stack), starts), Side(kept(by_item, stack), item_starts)
        )

    def popularity(self) -> NDArray[np.float32]:
        """The share of users who have each item, shape (items,)."""
        counts = self.items.rows.map(lambda rows: np.diff(rows.indptr)).collect()
        return (np.concatenate(counts) / max(self.users.size, 1)).astype(np.float32)

    def catalogue(self) -> Catalogue:
        """What the lists of a model of these pairs are measured by."""
        return Catalogue(
            self.popularity(), np.concatenate(self.items.rows.map(directions).collect())
        )


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned. users: a block of factors per partition, of width 0 for none."""

    users: "RDD[Matrix]"
    scorer: Scorer

    @classmethod
    def of(cls, users: "RDD[Matrix]", items: Matrix, scale: Scale | None, view: View) -> "Learned":
        """Factors that were fitted on the pairs of a view; items: (items, factors)."""
        sides = users.zip(view.users.rows)
        company = sides.map(lambda pair: Company.of(*pair)).treeReduce(Company.add)
        return cls(users, FactorScorer(Falling.of(items), scale, company))


def beside(rows: "RDD[Any]", hidden: "RDD[csr_matrix] | None") -> "RDD[tuple[Any, Any]]":
    """What there is of each block's users, with what they hid; None where nobody hid anything."""
    return rows.map(lambda block: (block, None)) if hidden is None else rows.zip(hidden)


def factors(frame: DataFrame, starts: NDArray[np.int64], width: int) -> "RDD[Matrix]":
    """Bring factors (id int, features array<float>) into blocks; an id that lacks gets zeros."""
    blocks = len(starts) - 1

    def place(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            block = np.searchsorted(starts, batch["id"].to_numpy(), side="right") - 1
            yield batch.append_column("block", pa.array(block, pa.int32()))

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        given = list(batches)
        ids = [batch["id"].to_numpy() for batch in given]
        rows = [batch["features"].flatten().to_numpy() for batch in given]
        if given:
            packed = [np.concatenate(ids).tobytes(), np.concatenate(rows).tobytes()]
            arrays = [pa.array([each]) for each in packed]
            yield pa.RecordBatch.from_arrays(arrays, names=["id", "features"])

    def build(block: int, found: Iterable[Row]) -> Iterator[Matrix]:
        first, last = int(starts[block]), int(starts[block + 1])
        made = np.zeros((last - first, width), np.float32)
        for row in found:
            ids = np.frombuffer(row["id"], np.int32) - first
            made[ids] = np.frombuffer(row["features"], np.float32).reshape(-1, width)
        yield made

    placed = frame.mapInArrow(place, "id int, features array<float>, block int")
    gathered = placed.repartitionById(blocks, F.col("block")).drop("block")
    packed = gathered.mapInArrow(pack, "id binary, features binary")
    return packed.rdd.mapPartitionsWithIndex(build)


def matrices(
    frame: DataFrame,
    block: Column,
    row: str,
    column: str,
    starts: NDArray[np.int64],
    width: int,
) -> "RDD[csr_matrix]":
    """Gather pairs into the blocks of a (rows, width) float32 matrix, sorted by row and column.

    frame: with a column of rows, of columns and of weights; block: which block a row belongs to.
    """
    gathered = (
        frame.select(
            block.alias("block"),
            F.col(row).alias("row"),
            F.col(column).alias("column"),
            F.col("weight").cast("float").alias("weight"),
        )
        .repartitionById(len(starts) - 1, F.col("block"))
        .drop("block")
        .mapInArrow(_gather, ", ".join(f"{name} binary" for name in _COLUMNS))
    )

    def build(number: int, found: Iterable[Row]) -> Iterator[csr_matrix]:
        first, last = int(starts[number]), int(starts[number + 1])
        yield _matrix(list(found), first, (last - first, width))

    return gathered.rdd.mapPartitionsWithIndex(build)


def balanced(counts: NDArray[np.int64], blocks: int) -> NDArray[np.int64]:
    """Cut rows into blocks of about as many pairs: (blocks + 1,), the first row of each.

    counts: (rows,), how many pairs each has.
    """
    ends = np.cumsum(counts)
    aims = np.arange(1, blocks) * (ends[-1] / blocks)
    cuts = np.searchsorted(ends, aims) + 1
    return np.concatenate([[0], np.minimum(cuts, len(counts)), [len(counts)]]).astype(np.int64)


def _gather(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row for the whole partition: its columns as bytes, sorted by row and column."""
    given = list(batches)
    parts = [
        np.concatenate([np.zeros(0, kind), *(each.column(name).to_numpy() for each in given)])
        for name, kind in zip(_COLUMNS, _TYPES, strict=True)
    ]
    order = np.lexsort((parts[1], parts[0]))
    packed = [pa.array([part.astype(kind)[order].tobytes()]) for part, kind in zip(parts, _TYPES)]
    yield pa.RecordBatch.from_arrays(packed, names=list(_COLUMNS))


def _matrix(found: list[Row], first: int, shape: tuple[int, int]) -> csr_matrix:
    packed = found[0].asDict() if found else {name: b"" for name in _COLUMNS}
    rows, columns, weights = (
        np.frombuffer(bytearray(packed[name]), kind)  # solvers take no read-only array
        for name, kind in zip(_COLUMNS, _TYPES, strict=True)
    )
    indptr = np.zeros(shape[0] + 1, np.int32)
    np.cumsum(np.bincount(rows - first, minlength=shape[0]), out=indptr[1:])
    return csr_matrix((weights, columns, indptr), shape)


def kept(rdd: "RDD[Any]", stack: ExitStack) -> "RDD[Any]":
    """Keep what is computed until the stack is closed."""
    stack.callback(rdd.unpersist)
    return rdd.persist(StorageLevel.MEMORY_AND_DISK)


def cpus() -> int:
    """How many threads a task may use: what Spark counts for it (spark.task.cpus)."""
    context = TaskContext.get()
    return context.cpus() if context is not None else 1
