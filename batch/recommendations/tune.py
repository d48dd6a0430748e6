"""``larder tune``: which engine, with which settings, makes the best lists of these interactions?

Every trial is fitted and compared on parts of what a model may train on, as in ``choose``; only the
best is judged, once, on the part that is held out. It runs on one machine.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Self

import numpy as np

from batch.errors import BadSettings, NotGoodEnough
from batch.interactions.pairs import Interactions
from batch.progress import Progress
from batch.recommendations.choose import Auto
from batch.recommendations.choose import Trial as Compared
from batch.recommendations.choose import Tried, choose, mean_of, trial_of
from batch.recommendations.engines.make import candidates, make
from batch.recommendations.judge.split import hold_out
from batch.recommendations.one_machine import LocalTrial
from batch.recommendations.pipeline import Quality
from batch.recommendations.terms import EASE_ITEMS, WEIGHTINGS, Holdout, Model

RANGES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "als": {
        "factors": (16, 256),
        "regularization": (0.1, 10.0),
        "alpha": (0.5, 50.0),
        "iterations": (5, 30),
    },
    "knn": {
        "neighbours": (10, 500),
        "weighting": WEIGHTINGS,
        "damping": (0.05, 2.0),
        "shrinkage": (0.5, 200.0),
    },
    "ease": {"ease_penalty": (10.0, 5000.0)},
}
"""What is tried of each engine's options: a number from one to another, or one of some texts."""

_STEP = 0.1
"""How far from the best something near it lies, as a share of the range's logarithm."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: the options of the engine, its nDCG@k with the 95 % interval, how long it took."""

    engine: str
    options: dict[str, Any]
    ndcg: float
    interval: list[float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Study:
    """The trials so far. path: a file that has of what they are, then a line for each, as JSON."""

    trials: list[Trial]
    path: Path | None = None

    @classmethod
    def open(cls, path: Path | None, of: list[Any]) -> Self:
        """Begin, or go on. Raises BadSettings when the file is no study, or of something else."""
        if path is None:
            return cls([])
        if not path.exists():
            path.write_text(json.dumps(of) + "\n")
        text = path.read_text()
        whole = text[: text.rfind("\n") + 1]  # of a line that was being written a part is there
        try:
            known, *rest = map(json.loads, whole.splitlines())
            found = cls([Trial(**each) for each in rest], path)
        except (ValueError, TypeError) as error:
            raise BadSettings(f"--study {path} is no study: name another file") from error
        if known != of:
            raise BadSettings(
                f"--study {path} is of other interactions, or was judged in another way: name "
                "another file"
            )
        os.truncate(path, len(whole.encode()))
        return found

    def add(self, trial: Trial) -> None:
        """Keep a trial."""
        self.trials.append(trial)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(trial)) + "\n")


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of it, ``trials`` in their order.

    model: the best of them, or a blend, as ``choose`` chooses it from compared; best, usual: it and
    what ``--engine auto`` would have made, judged on what is held out.
    """

    model: Model
    trials: list[Trial]
    compared: list[Tried]
    best: Quality
    usual: Quality


@dataclass(frozen=True, slots=True)
class Search:
    """known: what may be trained on, of which compared has a part; judged: what is held out."""

    known: Interactions
    judged: Interactions
    compared: Compared
    holdout: Holdout
    repeat: bool

    @classmethod
    def of(cls, loaded: Interactions, holdout: Holdout, repeat: bool, k: int) -> "Search":
        """Split the interactions. Raises BadSettings when the split does not fit them."""
        known, judged = hold_out(loaded, holdout)
        return cls(known, judged, trial_of(known, holdout, repeat, k), holdout, repeat)

    def study(self, path: Path | None) -> Study:
        """The trials so far, which go on in that file. Raises BadSettings: see ``Study.open``."""
        of = [self.known.fingerprint(), self.compared.k, asdict(self.holdout), self.repeat]
        return Study.open(path, of)

    def run(self, study: Study, seconds: float, trials: int, progress: Progress) -> None:
        """Try until the time is over, or there are so many trials; the last one is finished."""
        began = told = time.monotonic()
        with progress.step("try settings", round(seconds), "seconds") as advance:
            while told < began + seconds and len(study.trials) < trials:
                study.add(self._try(*self._next(study.trials)))
                now = min(time.monotonic(), began + seconds)
                advance(round(now - began) - round(told - began))
                told = now

    def end(self, trials: list[Trial], progress: Progress) -> Tuned:
        """Choose from the best of each engine and their blends, and judge that."""
        best = {each.engine: each for each in sorted(trials, key=lambda each: each.ndcg)}
        engines = [make(self._model(name, best[name].options)) for name in best]
        choice = choose(self.compared, engines, inf, progress)
        shares = choice.engine.settings.get("blend", {choice.engine.name: 1})
        options = {name: value for part in shares for name, value in best[part].options.items()}
        if len(shares) > 1:
            options["blend"] = ",".join(f"{part}={weight:g}" for part, weight in shares.items())
        model = self._model(choice.engine.name, options)
        judge = LocalTrial(self.known, self.judged, make(model), self.repeat)
        usual = replace(judge, auto=Auto(candidates(self._model("auto", {}))))
        k = self.compared.k
        return Tuned(
            model, trials, choice.tried, judge.judge(k, progress), usual.judge(k, progress)
        )

    def _model(self, engine: str, options: Mapping[str, Any]) -> Model:
        return Model(engine, seed=self.holdout.seed, repeat=self.repeat, **options)

    def _next(self, trials: list[Trial]) -> tuple[str, dict[str, Any]]:
        """The defaults of each engine, then by turns something near the best and anything."""
        few = len(self.known.items) <= EASE_ITEMS
        names = [name for name in RANGES if name != "ease" or few]
        if len(trials) < len(names):
            name = names[len(trials)]
            usual = make(self._model(name, {})).settings
            return name, {option: usual[option] for option in RANGES[name]}
        rng = np.random.default_rng([self.holdout.seed, len(trials)])
        near = max(trials, key=lambda each: each.ndcg) if len(trials) % 2 else None
        name = near.engine if near else names[rng.integers(len(names))]
        known = near.options if near else {}
        some = RANGES[name].items()
        return name, {option: _drawn(rng, among, known.get(option)) for option, among in some}

    def _try(self, engine: str, options: dict[str, Any]) -> Trial:
        began, found = time.monotonic(), np.zeros(1)
        with suppress(NotGoodEnough):  # a fit that fails is worth nothing
            found = self.compared.judged(self.compared.lists(make(self._model(engine, options))))[0]
        return Trial(engine, options, *mean_of(found), time.monotonic() - began)


def _drawn(rng: np.random.Generator, among: tuple[Any, ...], near: Any) -> Any:
    """One of some texts, or a number, its logarithm evenly spread, as short as one writes it."""
    if isinstance(among[0], str):
        return near or among[rng.integers(len(among))]
    low, high = np.log(among)
    drawn = rng.normal(np.log(near), _STEP * (high - low)) if near else rng.uniform(low, high)
    value = float(np.exp(np.clip(drawn, low, high)))
    return round(value) if isinstance(among[0], int) else float(f"{value:.3g}")
