"""``--tune N``: which settings make the best trees of these examples?

So many settings are drawn and fitted on few of the rows; the better third of them goes on with
three times as many, until the last ones are fitted on all (Jamieson and Talwalkar, 2016,
"Non-stochastic Best Arm Identification"). They are judged by the log loss of the part to validate
on; the part to test on has no say. The settings that were given always go on to the end, so what
is chosen is no worse than they are.
"""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from batch.clicks.fit.calibrate import losses
from batch.clicks.one_machine import LocalExamples
from batch.clicks.terms import Fit, Split
from batch.errors import NotGoodEnough
from batch.progress import Progress, Silent

RANGES: Mapping[str, tuple[float, float]] = {
    "leaves": (4, 128),
    "learning_rate": (0.02, 0.2),
    "feature_fraction": (0.3, 1.0),
    "bagging_fraction": (0.5, 1.0),
    "l2": (0.1, 100.0),
    "min_rows_of_a_leaf": (5, 500),
    "smoothing": (2.0, 500.0),
    "min_count": (2, 50),
}
"""From where to where settings are drawn, their logarithms evenly."""

ETA = 3
"""Of so many settings one goes on, with so many times the rows."""

FEWEST = 1_000
"""On fewer rows, settings are not told apart."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings on a share of the rows: how many trees they took, the log loss, how long it took."""

    options: Mapping[str, Any]
    share: float
    trees: int
    log_loss: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best settings; ``trials`` in their order."""

    fit: Fit
    trials: list[Trial]


def tune(examples: LocalExamples, fit: Fit, split: Split, count: int, progress: Progress) -> Tuned:
    """Try so many settings beside those of ``fit``. The same seed tries the same ones.

    Raises BadSettings when the examples cannot be split, NotGoodEnough when no fit succeeds.
    """
    rows = examples.split(split)["train"]
    rng, trials = np.random.default_rng(fit.seed), list[Trial]()
    going = [fit, *(_drawn(rng, fit) for _ in range(count))]
    rungs = _rungs(count, rows)
    with progress.step("try settings", sum(size for size, _ in rungs), "fits") as advance:
        for size, share in rungs:
            examples.thin(share, fit.seed)
            judged = []
            for settings in going[:size]:
                trials.append(_try(examples, settings, share))
                judged.append(trials[-1].log_loss)
                advance(1)
            order = sorted(range(1, len(judged)), key=judged.__getitem__)
            last, going = going, [fit, *(going[at] for at in order)]
    examples.split(split)
    best = min(range(len(judged)), key=judged.__getitem__)
    if math.isinf(judged[best]):
        raise NotGoodEnough("no settings made a model: train without --tune to see why")
    return Tuned(last[best], trials)


def _rungs(count: int, rows: int) -> list[tuple[int, float]]:
    """How many settings are fitted, those that were given among them, on which share of rows."""
    most = min(count, rows / FEWEST)
    rounds = int(math.log(most, ETA) + 1e-9) if most > 1 else 0
    return [
        (1 + math.ceil(count / ETA**done), ETA ** float(done - rounds))
        for done in range(rounds + 1)
    ]


def _drawn(rng: np.random.Generator, fit: Fit) -> Fit:
    drawn: dict[str, Any] = {}
    for name, (low, high) in RANGES.items():
        value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        drawn[name] = round(value) if isinstance(low, int) else float(f"{value:.3g}")
    return replace(fit, **drawn)


def _try(examples: LocalExamples, fit: Fit, share: float) -> Trial:
    began, loss, trees = time.monotonic(), math.inf, 0
    with suppress(NotGoodEnough):  # settings that make no model are worth nothing
        model = examples.fit(("train",), "validation", replace(fit, blend=False), Silent())
        held, trees = examples.predict(model, "validation"), model.tree_count
        loss = float(losses(held.log_odds, held.clicked).mean())
    settings = asdict(fit)
    options = {name: settings[name] for name in RANGES}
    return Trial(options, share, trees, loss, time.monotonic() - began)
