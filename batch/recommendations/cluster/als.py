"""Alternating least squares over Spark: the routines of ``implicit``, a block of rows at a time.

The factors of one side stay fixed while the tasks solve the rows of the other. Fixed factors of up
to a limit are sent to every executor whole. Larger ones never meet in one place: each task gets the
rows that its pairs name and, in place of all others, as few rows as have the same Gram matrix.
Spark schedules, keeps, and repeats what was lost.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark import RDD, Broadcast, StorageLevel
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from batch.progress import Advance
from batch.recommendations.cluster.blocks import Learned, Matrix, Side, View, cpus, kept
from batch.recommendations.engines.engine import Scale
from batch.recommendations.engines.implicit_als import ImplicitALS, diverged
from batch.recommendations.live import gram_of

CHECKPOINT_EVERY = 3
"""Iterations, where there is a folder for checkpoints: what led to them is then forgotten."""

_ROWS, _START = -2, -1
"""What comes to a task before the blocks of the other side, which are numbered from 0."""
_GRAMS = 64
"""How many blocks' Gram matrices one task adds up."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """The factors of one side while the other is solved: whole, or in blocks with their Gram."""

    whole: "Broadcast[Matrix] | None"
    blocks: "RDD[Matrix]"
    gram: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BlockedALS:
    """The model of ``ImplicitALS``, fitted by a cluster.

    whole_bytes: up to which size the fixed factors of a side are sent to every executor whole.
    """

    model: ImplicitALS = ImplicitALS()
    whole_bytes: int = 256 * 2**20

    name = "spark"
    rates = False

    @property
    def iterations(self) -> int:
        return self.model.iterations

    @property
    def settings(self) -> dict[str, Any]:
        return {**asdict(self.model), "als": "blocked"}

    @property
    def factors(self) -> int:
        return self.model.factors

    def fit(self, view: View, advance: Advance, stack: ExitStack) -> Learned:
        """Learn from both sides of the pairs.

        The same pairs and seed give the same factors whatever the number of blocks, but for
        rounding, and with the same blocks to the bit. What the factors need stays on the cluster
        until the stack is closed. Raises NotGoodEnough when the fit fails.
        """
        users, items = view.users, view.items
        mean, penalty = self._scale(view)
        solve = _Solver(self.model, mean, penalty)
        halves = _Half(solve, users, items, stack), _Half(solve, items, users, stack)
        mine, theirs = self._begin(users, 0), self._begin(items, users.size)
        fixed = self._fix(items, theirs, stack)
        for _ in range(self.iterations):
            mine, fixed = self._step(halves[0], users, mine, fixed, stack)
            theirs, fixed = self._step(halves[1], items, theirs, fixed, stack)
            advance(1)
        whole = fixed.whole.value if fixed.whole is not None else np.concatenate(theirs.collect())
        return Learned.of(mine, whole, Scale(self.model.alpha / mean, penalty), view)

    def _step(
        self, half: "_Half", side: Side, factors: "RDD[Matrix]", fixed: Fixed, stack: ExitStack
    ) -> "tuple[RDD[Matrix], Fixed]":
        """Solve a side, make it ready for the other, and free what came before it."""
        solved = half.solve(factors, fixed)
        ready = self._fix(side, solved, stack)
        factors.unpersist()
        if fixed.whole is not None:
            fixed.whole.unpersist()  # the driver keeps it, should a block have to be solved again
        return solved, ready

    def _scale(self, view: View) -> tuple[float, float]:
        """The mean of the logarithms, and the absolute regularization."""

        def sums(rows: csr_matrix) -> tuple[float, int, int]:
            used = np.count_nonzero(np.diff(rows.indptr))
            return float(np.log1p(rows.data).sum(dtype=np.float64)), rows.nnz, int(used)

        logs, pairs, some_users = np.sum(view.users.rows.map(sums).collect(), axis=0).tolist()
        some_items = sum(used for _, _, used in view.items.rows.map(sums).collect())
        return logs / pairs, self.model.penalty(int(pairs), int(some_users), some_items)

    def _begin(self, side: Side, offset: int) -> "RDD[Matrix]":
        """What ``implicit`` begins with: each block takes its part of one stream of numbers."""
        seed, factors, starts = self.model.seed, self.model.factors, side.starts

        def begin(block: int, found: Iterable[csr_matrix]) -> Iterator[Matrix]:
            first, last = int(starts[block]), int(starts[block + 1])
            skipped = (offset + first) * factors
            for _ in found:  # a worker that leaves input unread is not used again
                yield numbers(seed, skipped, (last - first, factors)) * np.float32(0.01)

        return side.rows.mapPartitionsWithIndex(begin)

    def _fix(self, side: Side, blocks: "RDD[Matrix]", stack: ExitStack) -> Fixed:
        """Compute the factors of a side, and make them ready for the other."""
        if side.size * self.model.factors * 4 <= self.whole_bytes:
            whole = np.concatenate(blocks.collect())
            gram = np.asarray(whole.T @ whole, np.float64)
            sent = blocks.context.broadcast(whole)
            stack.callback(sent.destroy)
        else:
            gram, sent = _summed(blocks), None
        if not np.isfinite(gram).all():
            raise diverged("the factors are no numbers")
        return Fixed(sent, blocks, gram)


class _Half:
    """One half of an iteration: solves the rows of a side while the other side is fixed."""

    def __init__(self, solve: "_Solver", side: Side, other: Side, stack: ExitStack) -> None:
        self._solve = solve
        self._side, self._other, self._stack = side, other, stack
        self._named: RDD[Any] | None = None
        self._routes: RDD[Any] | None = None
        self._solved = 0

    def solve(self, factors: "RDD[Matrix]", fixed: Fixed) -> "RDD[Matrix]":
        solve = self._solve
        if (whole := fixed.whole) is not None:
            pairs = self._side.rows.zip(factors)
            solved = pairs.map(lambda pair: solve(*pair, whole.value))
        else:
            solved = self._by_block(factors, fixed)
        self._solved += 1
        if self._solved % CHECKPOINT_EVERY == 0 and solved.context.getCheckpointDir():
            solved.checkpoint()
        self._stack.callback(solved.unpersist)
        return solved.persist(StorageLevel.MEMORY_AND_DISK_2)  # a lost executor costs no iteration

    def _by_block(self, factors: "RDD[Matrix]", fixed: Fixed) -> "RDD[Matrix]":
        """Bring all that a block needs to one task: what is sent is never one record of Spark."""
        if self._named is None:
            self._named = kept(self._side.rows.mapPartitionsWithIndex(_named), self._stack)
            self._routes = kept(_routes(self._named, self._other.starts), self._stack)
        assert self._routes is not None
        solve, gram = self._solve, fixed.gram
        sent = fixed.blocks.zip(self._routes).mapPartitionsWithIndex(_send)
        starts = factors.mapPartitionsWithIndex(_start)
        together = factors.context.union([self._named, starts, sent])

        def step(found: Iterable[Any]) -> Iterator[Matrix]:
            (_, rows), (_, start), *parts = sorted((part for _, part in found), key=itemgetter(0))
            nobody = np.zeros((0, gram.shape[1]), np.float32)
            others = np.concatenate([nobody, *(factors for _, factors in parts)])
            yield solve(rows[0], start, np.concatenate([others, _rest(gram, others)]))

        blocks = len(self._side.starts) - 1
        return together.partitionBy(blocks).mapPartitions(step)


@dataclass(frozen=True, slots=True)
class _Solver:
    model: ImplicitALS
    mean: float
    penalty: float

    def __call__(self, weights: csr_matrix, start: Matrix, fixed: Matrix) -> Matrix:
        """A few steps of conjugate gradients for each row, from where it stood."""
        rows = self.model.confidences(weights, self.mean)
        solved = start.copy()
        with threadpool_limits(1, user_api="blas"):
            solver = self.model.library(self.penalty).solver
            solver(rows, solved, fixed, self.penalty, num_threads=cpus())
        return solved


def _named(block: int, found: Iterable[csr_matrix]) -> Iterator[tuple[int, Any]]:
    """The same rows over only those columns that they name, and which these are."""
    for rows in found:
        named, columns = np.unique(rows.indices, return_inverse=True)
        shape = (rows.shape[0], len(named))
        compact = csr_matrix((rows.data, columns.astype(np.int32), rows.indptr), shape)
        yield block, (_ROWS, (compact, named))


def _start(block: int, found: Iterable[Matrix]) -> Iterator[tuple[int, Any]]:
    for factors in found:
        yield block, (_START, factors)


def _routes(named: "RDD[Any]", starts: NDArray[np.int64]) -> "RDD[Any]":
    """For each block of the other side: which of its rows to send to which block."""

    def ask(found: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        for block, (_, (_, columns)) in found:
            bounds = np.searchsorted(columns, starts)
            for other in np.flatnonzero(np.diff(bounds)).tolist():
                rows = columns[bounds[other] : bounds[other + 1]] - starts[other]
                yield other, (block, rows.astype(np.int32))

    asked = named.mapPartitions(ask).partitionBy(len(starts) - 1)
    return asked.mapPartitions(lambda found: [[route for _, route in found]])


def _send(number: int, found: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    for factors, routes in found:
        for block, rows in routes:
            yield block, (number, factors[rows])


def _summed(blocks: "RDD[Matrix]") -> NDArray[np.float64]:
    """The Gram matrix of all blocks, added up in their order, some of them by executors."""

    def some(block: int, found: Iterable[Matrix]) -> Iterator[tuple[int, Any]]:
        for factors in found:
            yield block, gram_of(factors)

    groups = math.ceil(blocks.getNumPartitions() / _GRAMS)
    grouped = blocks.mapPartitionsWithIndex(some).partitionBy(groups, lambda block: block // _GRAMS)
    added = grouped.mapPartitions(
        lambda found: [sum(gram for _, gram in sorted(found, key=itemgetter(0)))]
    )
    return np.asarray(sum(added.collect()))


def _rest(gram: NDArray[np.float64], named: Matrix) -> Matrix:
    """Rows that, below the named ones, complete the Gram matrix: a square root of what it lacks."""
    values, vectors = np.linalg.eigh(gram - gram_of(named))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))).T, np.float32, order="C")


def numbers(seed: int, skipped: int, shape: tuple[int, int]) -> Matrix:
    """Uniform float32 numbers of ``default_rng(seed)`` behind the first so many.

    A step of the generator gives two of them.
    """
    rng = np.random.Generator(np.random.PCG64(seed).advance(skipped // 2))
    rng.random(skipped % 2, np.float32)
    return rng.random(shape, np.float32)
