"""Pairs on their way into Spark and back, so that a test can compare both machines."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from scipy.sparse import csr_matrix

from app.contracts.recommendations import encode_document
from batch.interactions.pairs import Interactions, Report
from batch.recommendations.cluster.blocks import Learned, View, balanced
from batch.recommendations.cluster.candidate import ClusterCandidate
from batch.recommendations.cluster.ids import Indexed, index
from batch.recommendations.engines.engine import Fitted, Scale
from batch.recommendations.engines.factors import Factors
from batch.recommendations.one_machine import LocalCandidate
from batch.recommendations.pipeline import Candidate

NOTHING_READ = Report(files=1, rows=0, rejected={}, merged=0, zero=0)

WIDTH = 8
"""How many factors are drawn."""


def frame_of(spark: SparkSession, made: Interactions, **more: NDArray[Any]) -> DataFrame:
    """Interactions as they are read: user, item (string), weight and, where known, timestamp."""
    columns = {
        "user": np.array(made.users, object)[made.user],
        "item": np.array(made.items, object)[made.item],
        "weight": made.weight,
        **({} if made.timestamp is None else {"timestamp": made.timestamp}),
        **more,
    }
    return spark.createDataFrame(pa.table(columns))


def numbered_frame(spark: SparkSession, made: Interactions) -> DataFrame:
    """Interactions with the numbers of users and items in place of ids."""
    columns: dict[str, Any] = {"user": made.user, "item": made.item, "weight": made.weight}
    if made.timestamp is not None:
        columns["timestamp"] = made.timestamp
    return spark.createDataFrame(pa.table(columns))


def users_of(indexed: Indexed) -> pa.Table:
    """The table of users, in the order of their numbers."""
    return indexed.users.toArrow().sort_by([("block", "ascending"), ("row", "ascending")])


def gathered(indexed: Indexed, frame: DataFrame | None = None) -> Interactions:
    """Bring pairs to this machine, under the numbers that the cluster gave them.

    frame: some of the pairs of ``indexed.frame``, None for all.
    """
    found = (indexed.frame if frame is None else frame).toArrow()
    found = found.sort_by([("user", "ascending"), ("item", "ascending")])
    return Interactions(
        users_of(indexed)["user"].to_pylist(),
        indexed.items,
        found["user"].to_numpy(),
        found["item"].to_numpy(),
        found["weight"].to_numpy(),
        found["timestamp"].to_numpy() if "timestamp" in found.column_names else None,
        NOTHING_READ,
    )


def sparse(users: int, items: int, share: float, seed: int) -> csr_matrix:
    """Weights from 1 to 5 in a random share of the cells."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 6, (users, items)) * (rng.random((users, items)) < share)
    return csr_matrix(weights.astype(np.float32))


def pairs_of(
    spark: SparkSession,
    weights: csr_matrix,
    starts: NDArray[np.int64],
    item_starts: NDArray[np.int64],
) -> DataFrame:
    """The stored entries of a matrix as ``ids.index`` makes them, each with its two blocks."""
    found = weights.tocoo()
    user, item = found.row.astype(np.int32), found.col.astype(np.int32)
    columns = {
        "user": user,
        "item": item,
        "weight": found.data,
        "block": (np.searchsorted(starts, user, side="right") - 1).astype(np.int32),
        "item_block": (np.searchsorted(item_starts, item, side="right") - 1).astype(np.int32),
    }
    return spark.createDataFrame(pa.table(columns))


def view_of(spark: SparkSession, weights: csr_matrix, blocks: int, stack: ExitStack) -> View:
    """A matrix in so many blocks of users and of items."""
    starts = balanced(np.diff(weights.indptr).astype(np.int64), blocks)
    counts = np.bincount(weights.indices, minlength=weights.shape[1])
    item_starts = balanced(counts.astype(np.int64), blocks)
    frame = pairs_of(spark, weights, starts, item_starts)
    return View.of(frame, starts, item_starts, stack)


def fitted_of(model: Learned) -> Fitted:
    """A model of the cluster, brought to this machine."""
    return Fitted(np.concatenate(model.users.collect()), model.scorer)


def factors_of(model: Fitted) -> Factors:
    """Its factors."""
    return Factors(model.users, model.scorer.factors, model.scorer.scale)


def spread(factors: Factors, view: View) -> Learned:
    """Factors of this machine as a model of the cluster, fitted on a view."""
    starts = view.users.starts
    blocks = [factors.users[first:last] for first, last in zip(starts[:-1], starts[1:])]
    users = view.frame.sparkSession.sparkContext.parallelize(blocks, len(blocks))
    return Learned.of(users, factors.items, factors.scale, view)


def drawn(users: int, items: int, width: int = WIDTH, seed: int = 0) -> Factors:
    """Random factors; no two scores are near each other."""
    rng = np.random.default_rng(seed)
    mine, theirs = (rng.normal(size=(many, width)).astype(np.float32) for many in (users, items))
    return Factors(mine, theirs, Scale(confidence=6.0, penalty=2.0))


@dataclass(frozen=True, slots=True)
class Known:
    """An ``Engine`` that has learned already."""

    known: Factors
    iterations: int = 1
    name: str = "known"

    @property
    def settings(self) -> dict[str, float | int]:
        return {"factors": self.factors}

    @property
    def factors(self) -> int:
        return int(self.known.items.shape[1])

    def fit(self, weights: csr_matrix, progress: Callable[[int], None]) -> Fitted:
        progress(1)
        return self.known.fitted(weights)


@dataclass(frozen=True, slots=True)
class KnownOnCluster:
    """A ``Learner`` that has learned the same."""

    known: Factors
    rates: bool = False
    iterations: int = 1
    name: str = "spark"

    @property
    def settings(self) -> dict[str, float | int]:
        return {"factors": self.factors}

    @property
    def factors(self) -> int:
        return int(self.known.items.shape[1])

    def fit(self, view: View, progress: Callable[[int], None], stack: ExitStack) -> Learned:
        progress(1)
        return spread(self.known, view)


def both_candidates(
    frame: DataFrame,
    cache_url: str,
    stack: ExitStack,
    rates: bool = False,
    stored: int = 0,
    history: int = 0,
) -> tuple[LocalCandidate, ClusterCandidate]:
    """Candidates of one machine and of a cluster: the same pairs, numbers and factors.

    frame: user, item (string), weight and, where known, timestamp.
    """
    indexed = index(frame, stack, stored, WIDTH, history)
    made = gathered(indexed)
    factors = drawn(len(made.users), len(made.items))
    learner = KnownOnCluster(factors, rates)
    return (
        LocalCandidate(made, Known(factors)),
        ClusterCandidate(made.report, indexed, learner, cache_url, stack),
    )


def documents_of(candidate: Candidate) -> list[bytes]:
    return [encode_document(item) for item in candidate.items]


def shop(users: int = 130, items: int = 30, seed: int = 0) -> Interactions:
    """Some two thirds of all pairs; some ids are longer than what is stored as it is."""
    weights = sparse(users, items, 0.66, seed).tocoo()
    order = np.lexsort((weights.col, weights.row))
    rng = np.random.default_rng(seed)
    return Interactions(
        [f"{'a user of long name ' * (n % 3 == 0)}{n}" for n in range(users)],
        [f"{'an item of long name ' * (n % 3 == 0)}{n:02}" for n in range(items)],
        weights.row[order].astype(np.int32),
        weights.col[order].astype(np.int32),
        weights.data[order],
        rng.integers(0, 1000, weights.nnz).astype(np.float64),
        NOTHING_READ,
    )
