"""``--engine auto``: which engine makes the best lists of these interactions?

A part of what a model may train on is held out once more. The engines are fitted on the rest; what
they recommend, alone and blended, is compared on that part. So nothing that the chosen engine is
judged by has a say in the choice. The budget is work and not time, so that the same data and seed
make the same choice wherever it is made.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.errors import BadSettings, NotGoodEnough
from batch.interactions.pairs import Interactions
from batch.progress import Progress
from batch.recommendations.engines.blend import DEPTH, Blend, Named
from batch.recommendations.engines.ease import Ease
from batch.recommendations.engines.engine import Engine
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.judge.evaluate import PerUser, per_user_ndcg
from batch.recommendations.judge.split import hold_out
from batch.recommendations.recommend import Crowd, filled
from batch.recommendations.terms import BUDGET, Holdout
from batch.recommendations.topk import Floats, Lists, popularity

log = logging.getLogger("larder.choose")

SHARE = 0.25
"""What share of the interactions engines are compared on."""

USERS = 5_000
"""How many users they are compared on, at most."""

_WEIGHTS: Mapping[int, Sequence[tuple[float, ...]]] = {
    2: ((0.3, 0.7), (0.5, 0.5), (0.7, 0.3)),
    3: ((0.4, 0.4, 0.2), (0.4, 0.2, 0.4), (0.2, 0.4, 0.4)),
}
"""Those that blends of so many parts are tried with: finer ones would be chosen by chance."""

_FEW = 100
"""Users to compare engines on that are too few, where there are more."""

_TIE = 0.001
"""By how much of its nDCG an engine has to be better than one that takes less work."""

_SPARSE = 40
"""How many multiplications of a dense product take as long as one of a sparse product."""

_FAST = 5
"""How many multiplications of LAPACK take as long as one of a dense product of a few columns."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An engine that was compared: its nDCG@k with the 95 % interval, the share of all items in any
    of its lists, and its work in fits of als with its defaults."""

    engine: str
    settings: Mapping[str, Any]
    ndcg: float
    interval: list[float]
    coverage: float
    work: float
    chosen: bool = False

    @property
    def shown(self) -> str:
        """What sets it apart from others of its kind."""
        if "blend" in self.settings:
            shares = self.settings["blend"].items()
            return ",".join(f"{name}={weight:g}" for name, weight in shares)
        unchanging = ("seed", "threads", "iterations")
        told = ((name, each) for name, each in self.settings.items() if name not in unchanging)
        return " ".join(f"{name}={each}" for name, each in told)


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine, and what it was compared with, the best first."""

    engine: Engine
    tried: list[Tried]


@dataclass(frozen=True, slots=True)
class Trial:
    """What engines are compared on.

    seen: (users, items), to fit on; wanted: as seen, to find; excluded: of some users the same, not
    to recommend; users: which these are; share: (items,), see ``popularity``.
    """

    seen: csr_matrix
    wanted: csr_matrix
    excluded: csr_matrix
    users: NDArray[np.int64]
    share: Floats
    k: int

    @classmethod
    def of(
        cls, seen: csr_matrix, wanted: csr_matrix, crowd: Crowd, hidden: csr_matrix | None, k: int
    ) -> "Trial":
        """A trial on users who have something to find, spread evenly."""
        judged = np.flatnonzero(np.diff(wanted.indptr))
        users = judged[:: -(-len(judged) // USERS) or 1]
        excluded = crowd.excluded(seen[users], None if hidden is None else hidden[users])
        return cls(seen, wanted[users], excluded, users, crowd.share, k)

    def lists(self, engine: Engine) -> Lists:
        """What an engine names of the users."""
        fitted = engine.fit(self.seen, lambda done: None)
        mine = fitted.users[self.users]
        depth = max(self.k, DEPTH)  # as a blend has it
        return fitted.scorer.best(mine, self.seen[self.users], self.excluded, depth)

    def judged(self, lists: Lists) -> tuple[PerUser, float]:
        """(users,), how good lists are, filled as they are served; the share of items in any."""
        best = filled(lists.cut(self.k), self.share, self.excluded, self.k)
        shown = np.unique(best.items[best.filled]).size / self.seen.shape[1]
        return per_user_ndcg(best, self.wanted, self.k), shown

    @property
    def unit(self) -> float:
        """The work of a fit of als with its defaults."""
        return self.work(ImplicitALS())

    def work(self, engine: Engine) -> float:
        """About how many multiplications of a dense product a fit takes."""
        users, items = self.seen.shape
        if isinstance(engine, ImplicitALS):
            rows = 4 * (users + items) * engine.factors**2
            return engine.iterations * (8.0 * self.seen.nnz * engine.factors + rows)
        together = _SPARSE * float(np.square(np.diff(self.seen.indptr), dtype=np.float64).sum())
        if isinstance(engine, Ease):
            return together + engine.modelled(items) ** 3 / _FAST
        return together


@dataclass(frozen=True, slots=True)
class _Row:
    """An engine, or a blend, that was tried. lists: what a single one names."""

    engine: Engine
    work: float
    ndcg: PerUser
    coverage: float
    lists: Lists | None = None

    def beats(self, other: "_Row") -> bool:
        """Whether it is better by more than a tie."""
        return bool((self.ndcg - other.ndcg).mean() > _TIE * self.ndcg.mean())

    def told(self, winner: "_Row") -> Tried:
        engine, work = self.engine, round(self.work, 3)
        measured = *mean_of(self.ndcg), self.coverage, work
        return Tried(engine.name, engine.settings, *measured, chosen=self is winner)


def mean_of(found: PerUser) -> tuple[float, list[float]]:
    """The mean over users, and its 95 % interval."""
    mean, spread = float(found.mean()), 1.96 * float(found.std()) / len(found) ** 0.5
    return mean, [mean - spread, mean + spread]


def choose(trial: Trial, engines: Sequence[Engine], budget: float, progress: Progress) -> Choice:
    """Compare engines, and blends of the best of each kind.

    engines: in the order to try them; budget: in fits of als with its defaults, which the first two
    are tried beyond. The best gives way to an engine that takes less work and is as good but for a
    tie. More caution, such as giving way within a standard error, made worse choices. An engine
    whose fit fails is left out. Raises NotGoodEnough when all do.
    """
    some = _affordable(trial, engines, budget)
    rows: list[_Row] = []
    with progress.step("compare engines", len(some), "engines") as advance:
        for engine in some:
            try:
                lists = trial.lists(engine)
            except NotGoodEnough as error:
                failed = error
                log.warning("%s is left out: %s", engine.name, error)
            else:
                work = trial.work(engine) / trial.unit
                rows.append(_Row(engine, work, *trial.judged(lists), lists))
            advance(1)
    if not rows:
        raise failed
    best: dict[str, _Row] = {}
    for row in sorted(rows, key=_mean):
        best[row.engine.name] = row
    for size in _WEIGHTS:
        rows += [_blend(trial, parts) for parts in combinations(best.values(), size)]
    rows.sort(key=_mean, reverse=True)
    winner = min((row for row in rows if not rows[0].beats(row)), key=lambda row: row.work)
    return Choice(winner.engine, [row.told(winner) for row in rows])


@dataclass(frozen=True, slots=True)
class Auto:
    """What to choose from. engines, budget: see ``choose``."""

    engines: Sequence[Engine]
    budget: float = BUDGET

    def choose(
        self, known: Interactions, holdout: Holdout, repeat: bool, k: int, progress: Progress
    ) -> Choice:
        """Choose by a part of what is known, held out by the rule of ``holdout``."""
        try:
            trial = trial_of(known, holdout, repeat, k)
        except BadSettings:
            log.warning("there is too little data to compare engines: als it is")
            return Choice(self.engines[0], [])
        return choose(trial, self.engines, self.budget, progress)


def trial_of(known: Interactions, holdout: Holdout, repeat: bool, k: int) -> Trial:
    """A trial on a part of what is known, held out by the rule of ``holdout``.

    It is half where most have so little that a quarter of it is no item, and the few others would
    decide. Raises BadSettings when there is too little.
    """
    rule = "chronological" if holdout.by_time else holdout.split

    def of(share: float) -> Trial:
        some, rest = hold_out(known, Holdout(rule, share, seed=holdout.seed + 1))
        seen, crowd = some.matrix(), Crowd(popularity(some.matrix()), repeat)
        return Trial.of(seen, rest.matrix(), crowd, known.hidden_matrix(), k)

    try:
        trial = of(SHARE)
    except BadSettings:
        return of(2 * SHARE)
    return trial if len(trial.users) >= min(_FEW, len(known.users) / 2) else of(2 * SHARE)


def _affordable(trial: Trial, engines: Sequence[Engine], budget: float) -> list[Engine]:
    """Those that there is work left for."""
    left = budget * trial.unit
    taken: list[Engine] = []
    for number, engine in enumerate(engines):
        work = trial.work(engine)
        if number < 2 or work <= left:
            taken.append(engine)
            left -= work
        else:
            told = f"{work / trial.unit:.1f} fits of als more"
            log.info("%s is not tried: it would take %s (--tune-budget)", engine.name, told)
    return taken


def _blend(trial: Trial, parts: Sequence[_Row]) -> _Row:
    """The best blend of some engines."""
    named = Named.of([part.lists for part in parts if part.lists is not None], trial.seen.shape[1])
    every = _WEIGHTS[len(parts)]
    tried = {weights: trial.judged(named.best(weights, trial.k)) for weights in every}
    weights = max(tried, key=lambda each: tried[each][0].mean())
    blend = Blend(tuple(part.engine for part in parts), weights)
    return _Row(blend, sum(part.work for part in parts), *tried[weights])


def _mean(row: _Row) -> float:
    return float(row.ndcg.mean())
