"""Trees as they are served: LightGBM's own, but for what training never missed."""

from typing import Any

import lightgbm
import numpy as np

from batch.clicks.fit import trees
from batch.clicks.terms import Fit

ROWS = 2_000


def asked(booster: lightgbm.Booster, matrix: trees.Matrix, **how: bool) -> Any:
    """What LightGBM predicts."""
    return np.asarray(booster.predict(matrix, **how), np.float64)


def grown() -> tuple[lightgbm.Booster, str, trees.Matrix]:
    """By LightGBM, the same as this package has it, and what they were grown on.

    Of three numbers the first, of 10 to 20, is the lower the better and never missing; the second
    is missing in some rows, which are the best.
    """
    rng = np.random.default_rng(3)
    matrix = rng.random((ROWS, 3)).astype(np.float32)
    matrix[:, 0] = 10 + 10 * matrix[:, 0] ** 0.5
    matrix[::7, 1] = np.nan
    odds = 13 - matrix[:, 0] + 2 * np.isnan(matrix[:, 1]) + rng.normal(size=ROWS)
    fit = Fit(trees=30, leaves=7, threads=1)
    made = trees.fit(matrix, odds > 0, fit, lambda done: None)
    data = lightgbm.Dataset(matrix, odds > 0)
    plain = lightgbm.train(dict(trees.parameters(fit)), data, fit.trees)
    return plain, made.text, matrix


def test_what_was_never_missing_is_not_taken_for_0() -> None:
    plain, text, matrix = grown()
    unknown = matrix[:200].copy()
    unknown[:, 0] = np.nan
    nothing = unknown.copy()
    nothing[:, 0] = 0
    best = asked(plain, nothing, raw_score=True)
    assert np.allclose(asked(plain, unknown, raw_score=True), best)  # the trap
    found = trees.log_odds(text, unknown)
    typical = matrix[:200].copy()
    typical[:, 0] = np.median(matrix[:, 0])
    assert (found < best - 0.5).all()
    assert abs(found - trees.log_odds(text, typical)).mean() < 0.3


def test_all_else_is_as_lightgbm_has_it() -> None:
    plain, text, matrix = grown()
    served = lightgbm.Booster(model_str=text)
    assert np.isnan(matrix).any()
    assert (asked(served, matrix) == asked(plain, matrix)).all()
    one, other = (asked(each, matrix[:50], pred_contrib=True) for each in (served, plain))
    assert np.allclose(one, other)
    assert trees.with_most(text) == text
