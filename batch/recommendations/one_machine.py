"""The walk on one machine: arrays in memory, and an engine that fits them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.generations.publish import LocalContents
from batch.interactions import Interactions
from batch.progress import Progress
from batch.recommendations.engines import Engine, Factors
from batch.recommendations.evaluate import evaluate, nothing_to_judge, relevant
from batch.recommendations.pipeline import Holdout, Quality, check_k
from batch.recommendations.split import hold_out
from batch.recommendations.topk import (
    Lists,
    most_popular,
    most_similar,
    popular_list,
    popularity,
    recommend,
    unit_rows,
)


@dataclass(frozen=True, slots=True)
class OneMachine:
    """A ``pipeline.Walk``; documents: one JSON object per item of the interactions, in order."""

    loaded: Interactions
    documents: Iterable[bytes]
    model: Engine

    @property
    def users(self) -> int:
        return len(self.loaded.users)

    @property
    def items(self) -> int:
        return len(self.loaded.items)

    @property
    def interactions(self) -> int:
        return len(self.loaded)

    @property
    def engine(self) -> str:
        return self.model.name

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.model.settings

    def fingerprint(self) -> str:
        return self.loaded.fingerprint()

    def judge(self, holdout: Holdout, k: int, progress: Progress) -> Quality:
        train, held_out = hold_out(
            self.loaded, holdout.split, holdout.share, holdout.seed, holdout.after
        )
        return judge(train, held_out, self.model, k, progress)

    def train(self, k: int, progress: Progress) -> LocalContents:
        seen = self.loaded.matrix()
        factors = _fit(self.model, seen, "train on all", progress)
        share = popularity(seen)
        unit = unit_rows(factors.items)
        return LocalContents(
            users=self.loaded.users,
            items=self.loaded.items,
            user_lists=lambda users: recommend(factors, share, seen, users, k),
            similar_lists=lambda items: most_similar(unit, items, k),
            popular=popular_list(share, k),
            documents=self.documents,
        )


def judge(
    train: Interactions, held_out: Interactions, engine: Engine, k: int, progress: Progress
) -> Quality:
    """Fit the engine on one part and measure it, beside most-popular, on the other.

    Both parts share their ids. What is also in train can not be recommended and does not count.
    """
    check_k(k)
    seen = train.matrix()
    wanted = relevant(seen, held_out.matrix())
    if not wanted.nnz:
        raise nothing_to_judge()
    factors = _fit(engine, seen, "train", progress)
    share = popularity(seen)
    measured = []
    makers: list[tuple[str, Callable[[NDArray[np.int64]], Lists]]] = [
        ("evaluate the model", lambda users: recommend(factors, share, seen, users, k)),
        ("evaluate most-popular", lambda users: most_popular(share, seen[users], k)),
    ]
    for name, make in makers:
        with progress.step(name, int(np.count_nonzero(np.diff(wanted.indptr))), "users") as done:

            def lists_of(users: NDArray[np.int64]) -> Lists:
                done(len(users))
                return make(users)

            measured.append(evaluate(lists_of, wanted, share, k))
    model, popular = measured
    return Quality(model, popular)


def _fit(engine: Engine, weights: csr_matrix, name: str, progress: Progress) -> Factors:
    with progress.step(name, engine.iterations, "iterations") as advance:
        return engine.fit(weights, lambda iteration: advance(1))
