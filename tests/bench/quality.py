"""How good the lists of each engine are: ``make bench-quality [DECKLISTS=events.parquet]``.

What is held out says ``data.split``; k = 10, full ranking, what was seen is not recommended. Means
over splits. The engines have their defaults; ``auto`` and the weights of ``blend`` are chosen on a
part of what is trained on. ``BENCH_ARGS="--sets ml-100k,ciao --engines knn,auto"`` takes some.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np

from batch.command.output.bars import Lines
from batch.command.output.table import table
from batch.interactions.pairs import Interactions
from batch.recommendations.choose import Auto, Choice
from batch.recommendations.engines.engine import Engine
from batch.recommendations.engines.make import candidates, make
from batch.recommendations.judge.evaluate import Metrics
from batch.recommendations.judge.split import Split
from batch.recommendations.one_machine import LocalTrial
from batch.recommendations.pipeline import Quality
from batch.recommendations.terms import Holdout, Model
from tests.bench import data
from tests.bench.clock import processor_seconds

K = 10
ENGINES = ("als", "knn", "ease", "blend", "auto")
SINGLE = ("als", "knn", "ease")
FIGURES = (
    ("MAP@10", "map"),
    ("P@10", "precision"),
    ("R@10", "recall"),
    ("coverage", "coverage"),
    ("novelty", "novelty"),
    ("diversity", "diversity"),
)
ONCE = ("decklists",)
"""Sets that are large enough for one split."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An engine on one split, what it took (seconds of one processor), and its settings."""

    quality: Quality
    seconds: float
    said: str


def main() -> None:
    """Print one row for each data set and engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decklists", type=Path, help="a Parquet file with user_id and item_id")
    parser.add_argument("--splits", type=int, default=3, help="how many seeds of the split")
    parser.add_argument("--sets", type=_names, help="such as ml-100k,book-crossing; else all")
    parser.add_argument("--engines", type=_names, default=ENGINES, help="such as als,auto")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, load in data.every(arguments.decklists, Path(folder)).items():
            if arguments.sets and name not in arguments.sets:
                continue
            interactions = load()
            seeds = range(1 if name in ONCE else arguments.splits)
            splits = [data.split(name, interactions, seed) for seed in seeds]
            rows += _rows(name, arguments.engines, splits)
    head = ["data", "engine", "nDCG@10", "95 % interval", *(label for label, _ in FIGURES)]
    print(table([*head, "CPU s", "settings"], rows))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _rows(name: str, engines: Sequence[str], splits: Sequence[Split]) -> list[list[str]]:
    rows = []
    popular: list[Metrics] = []
    compared = [Compared(train, _holdout(name)) for train, _ in splits]
    for engine in engines:
        measured = [_measured(engine, *each) for each in zip(splits, compared, strict=True)]
        popular = [each.quality.popular for each in measured]
        seconds = f"{np.mean([each.seconds for each in measured]):,.1f}"
        said = "; ".join(dict.fromkeys(each.said for each in measured))
        figures = _figures([each.quality.model for each in measured])
        rows.append([name, engine, *figures, seconds, said])
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    return [[name, "popular", *_figures(popular), "", ""], *rows]


def _figures(measured: Sequence[Metrics]) -> list[str]:
    """The means over splits, also of the ends of the interval."""

    def mean(of: Callable[[Metrics], float]) -> float:
        return float(np.mean([of(each) for each in measured]))

    low, high = (mean(lambda each: each.intervals["ndcg"][end]) for end in (0, 1))
    figures = [f"{mean(lambda each: each.ndcg):.4f}", f"{low:.4f}-{high:.4f}"]
    return [*figures, *(f"{mean(attrgetter(field)):.3f}" for _, field in FIGURES)]


def _holdout(name: str) -> Holdout:
    """By which rule engines are compared: that by which they are judged."""
    return Holdout(split="random" if name == "book-crossing" else "stratified", seed=0)


@dataclass(slots=True)
class Compared:
    """What ``auto`` finds on one split: compared once, when it is asked for."""

    train: Interactions
    holdout: Holdout
    found: Choice | None = None
    seconds: float = 0.0

    def choice(self) -> Choice:
        """The table, of which the chosen engine is a part."""
        if self.found is None:
            auto = Auto(candidates(Model()))
            self.seconds, found = processor_seconds(
                lambda: auto.choose(self.train, self.holdout, False, K, Lines())
            )
            self.found = found
        return self.found


def _measured(name: str, split: Split, compared: Compared) -> Measured:
    engine = make(Model(name)) if name in SINGLE else _chosen(name, compared.choice())
    seconds, quality = processor_seconds(lambda: LocalTrial(*split, engine).judge(K, Lines()))
    choosing = 0 if name in SINGLE else compared.seconds
    return Measured(quality, seconds + choosing, _said(engine))


def _chosen(name: str, choice: Choice) -> Engine:
    """What ``auto`` chooses, or the best blend of those that it tries."""
    if name == "auto":
        return choice.engine
    best = next(each.settings for each in choice.tried if each.engine == "blend")
    weights = ",".join(f"{part}={weight}" for part, weight in best["blend"].items())
    options = {key: best[key] for key in ("damping", "shrinkage") if key in best}
    return make(Model("blend", blend=weights, **options))


def _said(engine: Engine) -> str:
    """The engine and the weights of its parts."""
    parts = engine.settings.get("blend", {})
    return " + ".join(f"{weight:.1f} {part}" for part, weight in parts.items()) or engine.name


if __name__ == "__main__":
    main()
