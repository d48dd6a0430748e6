"""One machine: arrays in memory, and an engine that fits them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from app.contracts.recommendations import Namespace
from batch.events.inputs import Inputs, Weighed
from batch.events.load import exported_until, load_all, load_both
from batch.interactions.filters import Packed
from batch.interactions.pairs import Interactions, Report
from batch.interactions.reading import Reading
from batch.progress import Progress
from batch.recommendations.choose import Auto, Tried
from batch.recommendations.engines.engine import Engine, Fitted
from batch.recommendations.judge.catalogue import Catalogue
from batch.recommendations.judge.evaluate import Metrics, evaluate, nothing_to_judge, relevant
from batch.recommendations.judge.split import hold_out
from batch.recommendations.lists import ListsOf, LocalContents
from batch.recommendations.live import Live
from batch.recommendations.pipeline import Quality
from batch.recommendations.recommend import Crowd, made, recommend
from batch.recommendations.terms import Holdout, Terms, check_k, popular_entries
from batch.recommendations.topk import Lists, most_popular, popular_list, popularity


@dataclass(frozen=True, slots=True)
class OneMachine:
    """A ``pipeline.Platform``. auto: to choose the engine; repeat: see ``terms.Model``."""

    engine: Engine
    repeat: bool = False
    auto: Auto | None = None

    @contextmanager
    def candidate(
        self, inputs: Inputs, reading: Reading, cache_url: str, progress: Progress
    ) -> Iterator["LocalCandidate"]:
        found = load_all(inputs, reading, reading.rejects_file)
        events = inputs.weighed(exported_until(inputs))
        yield LocalCandidate(found, self.engine, self.repeat, events, self.auto)

    @contextmanager
    def trial(
        self, train: Inputs, test: Inputs, reading: Reading, progress: Progress
    ) -> Iterator["LocalTrial"]:
        parts = load_both(train, test, reading, reading.rejects_file)
        yield LocalTrial(*parts, self.engine, self.repeat, self.auto)


@dataclass(frozen=True, slots=True)
class LocalCandidate:
    """A ``pipeline.Candidate``."""

    loaded: Interactions
    model: Engine
    repeat: bool = False
    events: Weighed = Weighed()
    auto: Auto | None = None
    tried: Sequence[Tried] = ()

    @property
    def report(self) -> Report:
        return self.loaded.report

    @property
    def users(self) -> int:
        return len(self.loaded.users)

    @property
    def items(self) -> Sequence[str]:
        return self.loaded.items

    @property
    def interactions(self) -> int:
        return len(self.loaded)

    def fingerprint(self) -> str:
        return self.loaded.fingerprint()

    def chosen(self, holdout: Holdout, k: int, progress: Progress) -> "LocalCandidate":
        if self.auto is None:
            return self
        known = hold_out(self.loaded, holdout)[0] if holdout.judges else self.loaded
        choice = self.auto.choose(known, holdout, self.repeat, k, progress)
        return replace(self, model=choice.engine, tried=choice.tried, auto=None)

    def judge(self, holdout: Holdout, k: int, progress: Progress) -> Quality:
        train, held_out = hold_out(self.loaded, holdout)
        judged = LocalTrial(train, held_out, self.model, self.repeat).judge(k, progress)
        return replace(judged, tried=list(self.tried))

    def train(
        self,
        namespace: Namespace,
        documents: Iterable[bytes],
        terms: Terms,
        progress: Progress,
        columns: Packed = Packed(),
    ) -> LocalContents:
        seen, hidden = self.loaded.matrix(), self.loaded.hidden_matrix()
        fitted = _fit(self.model, seen, "train on all", progress)
        crowd, nearest = Crowd(popularity(seen), self.repeat), cache(fitted.scorer.nearest)
        return LocalContents(
            namespace,
            users=self.loaded.users,
            items=self.loaded.items,
            user_lists=lambda users: made(fitted, crowd, seen, users, terms, hidden=hidden),
            similar_lists=lambda items: nearest()(items, terms.k, 0),
            popular=popular_list(crowd.share, popular_entries(terms.k, terms.stored)),
            documents=documents,
            live=Live.of(fitted) if terms.stored else None,
            columns=columns,
        )


@dataclass(frozen=True, slots=True)
class LocalTrial:
    """A ``pipeline.Trial``; both parts share their ids."""

    seen: Interactions
    held_out: Interactions
    engine: Engine
    repeat: bool = False
    auto: Auto | None = None

    @property
    def reports(self) -> Sequence[Report]:
        return self.seen.report, self.held_out.report

    @property
    def users(self) -> int:
        return len(self.seen.users)

    @property
    def items(self) -> Sequence[str]:
        return self.seen.items

    def judge(self, k: int, progress: Progress) -> Quality:
        """Fit the engine on one part and measure it, beside most-popular, on the other.

        What is also in the first part does not count, unless it can be recommended again.
        """
        check_k(k)
        engine, tried = self.engine, list[Tried]()
        if self.auto is not None:
            choice = self.auto.choose(self.seen, Holdout(), self.repeat, k, progress)
            engine, tried = choice.engine, choice.tried
        seen = self.seen.matrix()
        wanted = self.held_out.matrix()
        if not self.repeat:
            wanted = relevant(seen, wanted)
        if not wanted.nnz:
            raise nothing_to_judge()
        fitted = _fit(engine, seen, "train", progress)
        crowd = Crowd(popularity(seen), self.repeat)
        hidden = self.seen.hidden_matrix()
        excluded, catalogue = crowd.excluded(seen, hidden), Catalogue.of(seen)
        judged, had = int(np.count_nonzero(np.diff(wanted.indptr))), np.diff(seen.indptr)

        def measured(name: str, make: ListsOf) -> Metrics:
            with progress.step(name, judged, "users") as advance:

                def lists_of(users: NDArray[np.int64]) -> Lists:
                    advance(len(users))
                    return make(users)

                return evaluate(lists_of, wanted, catalogue, k, had)

        model = measured(
            "evaluate the model",
            lambda users: recommend(fitted, crowd, seen, users, k, hidden=hidden),
        )
        popular = measured(
            "evaluate most-popular", lambda users: most_popular(crowd.share, excluded[users], k)
        )
        return Quality(model, popular, tried=tried)


def _fit(engine: Engine, weights: csr_matrix, name: str, progress: Progress) -> Fitted:
    with progress.step(name, engine.iterations, "iterations") as advance:
        return engine.fit(weights, advance)
