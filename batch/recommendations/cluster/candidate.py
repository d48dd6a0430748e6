"""What ``pipeline.refresh`` asks of a candidate, answered by Spark jobs."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from operator import add
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pyspark import RDD, Broadcast
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy.sparse import csr_matrix

from app.contracts.recommendations import Namespace
from batch.events.inputs import Weighed
from batch.interactions.filters import Packed
from batch.interactions.pairs import Report
from batch.progress import Advance, Progress
from batch.recommendations.choose import Tried
from batch.recommendations.cluster.blocks import (
    Learned,
    Matrix,
    View,
    beside,
    cpus,
    kept,
    matrices,
)
from batch.recommendations.cluster.contents import ClusterContents
from batch.recommendations.cluster.ids import Indexed
from batch.recommendations.cluster.split import check_both, hold_out
from batch.recommendations.engines.engine import Fitted, Recipe, Scorer
from batch.recommendations.judge.catalogue import Catalogue
from batch.recommendations.judge.evaluate import Tally, nothing_to_judge, relevant, resamples, tally
from batch.recommendations.judge.ratings import Sums
from batch.recommendations.pipeline import Quality
from batch.recommendations.recommend import Crowd, recommend
from batch.recommendations.terms import Holdout, Terms
from batch.recommendations.topk import BLOCK, Lists, most_popular

Hid = csr_matrix | None
"""What a block's users hid."""


class Learner(Recipe, Protocol):
    """Whatever learns from pairs on a cluster."""

    @property
    def rates(self) -> bool:
        """Whether a score predicts a rating."""

    def fit(self, view: View, advance: Advance, stack: ExitStack) -> Learned:
        """Learn; what the model needs on the cluster stays until the stack is closed.

        advance: told of iterations. Raises NotGoodEnough.
        """


@dataclass(frozen=True, slots=True)
class ClusterCandidate:
    """A ``pipeline.Candidate``."""

    report: Report
    indexed: Indexed
    model: Learner
    cache_url: str = field(repr=False)
    stack: ExitStack
    """What stays on the cluster until it is closed."""
    repeat: bool = False
    events: Weighed = Weighed()
    hidden: "RDD[csr_matrix] | None" = None
    """What users hid, in the blocks of their pairs."""
    tried: Sequence[Tried] = ()

    @property
    def users(self) -> int:
        return self.indexed.user_count

    @property
    def items(self) -> Sequence[str]:
        return self.indexed.items

    @property
    def interactions(self) -> int:
        return int(self.indexed.counts.sum())

    def chosen(self, holdout: Holdout, k: int, progress: Progress) -> "ClusterCandidate":
        return self

    def fingerprint(self) -> str:
        """Two sums of 64-bit hashes of the pairs and of the users, and a hash of the items.

        Not that of one machine, which hashes pairs in order. Numbers of users follow from their
        ids; blocks, of which a larger cluster makes more, have no part in it.
        """
        frame = self.indexed.frame
        told = [name for name in ("user", "item", "weight", "timestamp") if name in frame.columns]
        sums = [
            *frame.agg(*_sums_of_hashes(told)).collect()[0],
            *self.indexed.users.agg(*_sums_of_hashes(["user"])).collect()[0],
        ]
        items = hashlib.blake2b("\0".join(self.indexed.items).encode(), digest_size=16)
        items.update(" ".join(sums).encode())
        return items.hexdigest()

    def judge(self, holdout: Holdout, k: int, progress: Progress) -> Quality:
        with ExitStack() as stack:
            with progress.step("hold out", self.interactions, "pairs") as advance:
                frame = hold_out(self.indexed.frame, holdout).persist()
                stack.callback(frame.unpersist)
                check_both(frame, holdout)
                advance(self.interactions)
            reports = (self.report,)
            return ClusterTrial(
                reports, self.indexed, frame, self.model, self.repeat, self.hidden
            ).judge(k, progress)

    def train(
        self,
        namespace: Namespace,
        documents: Iterable[bytes],
        terms: Terms,
        progress: Progress,
        columns: Packed = Packed(),
    ) -> ClusterContents:
        view = _gathered(self.indexed, self.indexed.frame, progress, self.stack)
        model = _fit(self.model, view, "train on all", progress, self.stack)
        return ClusterContents(
            namespace,
            self.indexed,
            view.users.rows,
            model,
            Crowd(view.popularity(), self.repeat),
            documents,
            self.cache_url,
            terms,
            self.stack,
            self.hidden,
            columns,
        )


def _sums_of_hashes(columns: Sequence[str]) -> list[Column]:
    hashes = (F.xxhash64(F.lit(seed), *columns) for seed in (1, 2))
    return [F.sum(each.cast("decimal(38,0)")).cast("string") for each in hashes]


@dataclass(frozen=True, slots=True)
class ClusterTrial:
    """A ``pipeline.Trial``.

    frame: the pairs, and whether each is ``held_out``; hidden: as of a ``ClusterCandidate``.
    """

    reports: Sequence[Report]
    indexed: Indexed
    frame: DataFrame
    learner: Learner
    repeat: bool = False
    hidden: "RDD[csr_matrix] | None" = None

    @property
    def users(self) -> int:
        return self.indexed.user_count

    @property
    def items(self) -> Sequence[str]:
        return self.indexed.items

    def judge(self, k: int, progress: Progress) -> Quality:
        with ExitStack() as stack:
            train, held_out = self.frame.where(~F.col("held_out")), self.frame.where("held_out")
            view = _gathered(self.indexed, train, progress, stack)
            starts, items = self.indexed.starts, len(self.items)
            others = matrices(held_out, F.col("block"), "user", "item", starts, items)
            pairs = view.users.rows.zip(others)
            if not self.repeat:
                pairs = pairs.map(lambda pair: (pair[0], relevant(*pair)))
            pairs = kept(pairs, stack)
            judged = pairs.map(lambda pair: int(np.count_nonzero(np.diff(pair[1].indptr)))).sum()
            if not judged:
                raise nothing_to_judge()
            model = _fit(self.learner, view, "train", progress, stack)
            return self._measured(view, pairs, model, judged, k, progress, stack)

    def _measured(
        self,
        view: View,
        pairs: "RDD[tuple[csr_matrix, csr_matrix]]",
        model: Learned,
        judged: int,
        k: int,
        progress: Progress,
        stack: ExitStack,
    ) -> Quality:
        """pairs: of each block of users, what they have seen and what was held out."""
        catalogue, context = view.catalogue(), view.users.rows.context
        sent = context.broadcast((model.scorer, Crowd(catalogue.share, self.repeat)))
        stack.callback(sent.destroy)
        known = context.broadcast(catalogue)
        stack.callback(known.destroy)

        def personal(seen: csr_matrix, hid: Hid, users: Matrix, rows: NDArray[np.int64]) -> Lists:
            scorer, crowd = sent.value
            return recommend(Fitted(users, scorer), crowd, seen, rows, k, cpus(), hid)

        def popular(seen: csr_matrix, hid: Hid, users: None, rows: NDArray[np.int64]) -> Lists:
            _, crowd = sent.value
            excluded = crowd.excluded(seen[rows], None if hid is None else hid[rows])
            return most_popular(crowd.share, excluded, k, cpus())

        with_users = pairs.zip(model.users)
        measured = []
        for name, blocks, make in (
            ("evaluate the model", with_users, personal),
            ("evaluate most-popular", pairs.map(lambda pair: (pair, None)), popular),
        ):
            tallied = partial(_tallied, make, known, k, resamples(judged))
            tallies = beside(blocks, self.hidden).mapPartitionsWithIndex(tallied)
            with progress.step(name, judged, "users") as advance:
                measured.append(tallies.treeReduce(add).metrics(catalogue, k))
                advance(judged)
        ours, popularity = measured
        if not self.learner.rates:
            return Quality(ours, popularity)
        errors = with_users.map(lambda found: _errors(*found, *sent.value))
        return Quality(ours, popularity, errors.treeReduce(add).metrics())


def _tallied(
    make: Callable[[csr_matrix, Hid, Any, NDArray[np.int64]], Lists],
    catalogue: "Broadcast[Catalogue]",
    k: int,
    times: int,
    block: int,
    found: Iterable[Any],
) -> Iterator[Tally]:
    """What a task does with each block of users, whose lists ``make`` makes."""
    for ((seen, wanted), users), hid in found:
        rng = np.random.default_rng(block)
        had = np.diff(seen.indptr)
        lists_of = partial(make, seen, hid, users)
        yield tally(lists_of, wanted, had, catalogue.value, k, times, rng)


def _errors(
    pair: tuple[csr_matrix, csr_matrix], users: Matrix, scorer: Scorer, crowd: Crowd
) -> Sums:
    """How far the predicted ratings are from those held out, where user and item are known."""
    seen, wanted = pair
    total = Sums()
    for first in range(0, len(users), BLOCK):
        part = wanted[first : first + BLOCK].tocoo()
        rows = part.row + first
        known = (np.diff(seen.indptr)[rows] > 0) & (crowd.share[part.col] > 0)
        rows, columns = rows[known], part.col[known]
        predicted = np.einsum("pf,pf->p", users[rows], scorer.factors[columns])
        total += Sums.of(part.data[known], predicted)
    return total


def _gathered(indexed: Indexed, frame: DataFrame, progress: Progress, stack: ExitStack) -> View:
    pairs = frame.count()
    with progress.step("gather", pairs, "pairs") as advance:
        view = indexed.view(frame, stack)
        view.users.rows.count()
        view.items.rows.count()
        advance(pairs)
    return view


def _fit(learner: Learner, view: View, name: str, progress: Progress, stack: ExitStack) -> Learned:
    with progress.step(name, learner.iterations, "iterations") as advance:
        return learner.fit(view, advance, stack)
