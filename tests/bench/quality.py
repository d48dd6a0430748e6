"""How good the lists are: ``make bench-quality [DECKLISTS=events.parquet]``.

A quarter of each item's interactions is held out (the protocol of the Microsoft Recommenders
benchmark), k = 10, full ranking, what was seen is not recommended. Means over splits.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from batch.command.bars import Lines
from batch.command.table import table
from batch.interactions.layout import Layout
from batch.interactions.pairs import Interactions
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.one_machine import LocalTrial
from batch.recommendations.split import stratified
from tests.bench import data

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "ml-100k": {"alpha": 4.0, "regularization": 1.1},
    "ml-1m": {"alpha": 4.0, "regularization": 1.2},
    "ml-latest-small": {"alpha": 2.0, "regularization": 1.0},
    "decklists": {"factors": 256},
}
"""The defaults, and for each data set the best that its validation part found."""


def main() -> None:
    """Print one row for each data set and settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decklists", type=Path, help="a Parquet file with user_id and item_id")
    parser.add_argument("--splits", type=int, default=3, help="how many seeds of the split")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sets = data.public()
        if arguments.decklists:
            pairs = data.decklists(arguments.decklists, Path(folder))
            sets["decklists"] = (pairs, Layout())
        for name, (path, layout) in sets.items():
            interactions = data.loaded(path, layout)
            rows.extend(_rows(name, interactions, 1 if name == "decklists" else arguments.splits))
    head = ["data", "pairs", "settings", "nDCG@10", "popular", "MAP@10", "P@10", "R@10", "coverage"]
    print(table(head, rows))


def _rows(name: str, interactions: Interactions, splits: int) -> list[list[str]]:
    rows = []
    for label, settings in SETTINGS.items():
        if label not in ("default", name):
            continue
        measured = [
            LocalTrial(*stratified(interactions, 0.25, seed), ImplicitALS(**settings)).judge(
                10, Lines()
            )
            for seed in range(splits)
        ]
        means = [
            float(np.mean([getattr(each.model, metric) for each in measured]))
            for metric in ("ndcg", "map", "precision", "recall", "coverage")
        ]
        popular = float(np.mean([each.popular.ndcg for each in measured]))
        figures = [means[0], popular, *means[1:]]
        kind = "default" if label == "default" else "best known"
        rows.append([name, f"{len(interactions):,}", kind, *(f"{each:.4f}" for each in figures)])
        print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    main()
