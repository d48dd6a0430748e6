"""The first member: gradient boosted trees, by LightGBM."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from lightgbm.callback import CallbackEnv
from numpy.typing import NDArray

from app.contracts.generations import BrokenRecord
from batch.clicks.terms import Fit
from batch.errors import NotGoodEnough
from batch.progress import Advance

Matrix = NDArray[np.float32]
"""(rows, numbers of a row), see ``row_names`` of the contract; LightGBM takes columns whole."""

Clicked = NDArray[np.bool_]


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
    return Trees(booster.model_to_string(num_iteration=count), count)


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


def log_odds(text: str, matrix: Matrix, threads: int = 0) -> NDArray[np.float64]:
    """(rows,), what trees say of a matrix."""
    try:
        booster = lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        release = lightgbm.__version__
        raise BrokenRecord(f"LightGBM {release} cannot read the trees: {error}") from error
    return np.asarray(booster.predict(matrix, raw_score=True, num_threads=threads))
