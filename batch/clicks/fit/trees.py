"""The first member: gradient boosted trees, by LightGBM."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from lightgbm.callback import CallbackEnv
from numpy.typing import NDArray

from app.contracts.generations import BrokenRecord
from batch.clicks.model import Clicked, Floats
from batch.clicks.terms import Fit
from batch.errors import NotGoodEnough
from batch.progress import Advance

Matrix = NDArray[np.float32]
"""(rows, numbers of a row), see ``row_names`` of the contract; LightGBM takes columns whole."""

_LEFT, _MISSING, _NAN = 2, 12, 8
"""Bits of a decision_type: what is missing goes left; what counts as missing; NaN does."""


@dataclass(frozen=True, slots=True)
class Trees:
    """LightGBM's text, and how many trees are in it."""

    text: str
    count: int


def fit(
    matrix: Matrix,
    clicked: Clicked,
    fit: Fit,
    advance: Advance,
    held: tuple[Matrix, Clicked] | None = None,
    **extra: Any,
) -> Trees:
    """Grow trees; with ``held``, until they predict its clicks no better. Same data, same trees.

    extra: more of LightGBM's parameters. Raises NotGoodEnough when it fails, or finds nothing.
    """
    data = lightgbm.Dataset(matrix, clicked)
    stopping: list[Callable[[CallbackEnv], Any]] = [lambda env: advance(1)]
    if held:
        stopping.append(lightgbm.early_stopping(fit.stop_after, verbose=False))
    try:
        booster = lightgbm.train(
            {**parameters(fit), **extra},
            data,
            fit.trees,
            valid_sets=[data.create_valid(*held)] if held else None,
            callbacks=stopping,
        )
    except lightgbm.basic.LightGBMError as error:
        raise NotGoodEnough(f"LightGBM could not grow trees: {error}") from error
    if not booster.feature_importance().any():
        raise NotGoodEnough(
            "LightGBM found no column that tells clicks from other rows: are there enough rows, "
            "and columns that say something?"
        )
    count = booster.best_iteration if held else booster.current_iteration()
    return Trees(with_most(booster.model_to_string(num_iteration=count)), count)


def with_most(text: str) -> str:
    """Trees that send what is missing the way of most rows, where training missed nothing.

    LightGBM itself takes it for 0 there, which may be the best of all values: then an item of
    which nothing is known comes first. Where rows of training missed something it has learned the
    way. The sizes of trees in the text, which nobody needs, would be others.
    """
    head, *trees = re.sub("\ntree_sizes=.*", "", text, count=1).split("\nTree=")
    return "\nTree=".join([head, *map(_with_most, trees)])


def _with_most(tree: str) -> str:
    told = dict(re.findall("^([a-z_]+)=(.*)$", tree, re.MULTILINE))
    if "decision_type" not in told:
        return tree
    inner, leaves = told["internal_count"].split(), told["leaf_count"].split()

    def rows(children: str) -> list[int]:
        numbers = map(int, told[children].split())
        return [int(inner[each] if each >= 0 else leaves[~each]) for each in numbers]

    kinds = map(int, told["decision_type"].split())
    sides = zip(kinds, rows("left_child"), rows("right_child"), strict=True)
    found = [
        kind if kind & _MISSING else kind & ~_LEFT | _NAN | _LEFT * (left >= right)
        for kind, left, right in sides
    ]
    line = f"\ndecision_type={told['decision_type']}\n"
    return tree.replace(line, f"\ndecision_type={' '.join(map(str, found))}\n", 1)


def parameters(fit: Fit) -> Mapping[str, Any]:
    """What LightGBM calls them."""
    return {
        "objective": "binary",
        "num_leaves": fit.leaves,
        "learning_rate": fit.learning_rate,
        "feature_fraction": fit.feature_fraction,
        "bagging_fraction": fit.bagging_fraction,
        "bagging_freq": int(fit.bagging_fraction < 1),
        "lambda_l2": fit.l2,
        "min_data_in_leaf": fit.min_rows_of_a_leaf,
        "feature_pre_filter": False,
        "deterministic": True,
        "force_col_wise": True,
        "seed": fit.seed,
        "num_threads": fit.threads,
        "verbosity": -1,
    }


def log_odds(text: str, matrix: Matrix, threads: int = 0) -> Floats:
    """(rows,), what trees say of a matrix. Raises BrokenRecord when they cannot."""
    try:
        booster = lightgbm.Booster(model_str=text)
        return np.asarray(booster.predict(matrix, raw_score=True, num_threads=threads))
    except lightgbm.basic.LightGBMError as error:
        release = lightgbm.__version__
        raise BrokenRecord(f"LightGBM {release} cannot use the trees: {error}") from error


def newer_release(release: str) -> str:
    """A sentence where trees were written by a newer LightGBM than this; "" where not."""
    theirs, ours = (
        tuple(map(int, re.findall("[0-9]+", each)[:3])) for each in (release, lightgbm.__version__)
    )
    if theirs <= ours:
        return ""
    return f"written by LightGBM {release}, newer than {lightgbm.__version__} here: install that"
