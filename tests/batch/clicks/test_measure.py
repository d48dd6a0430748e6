"""Measures of click predictions, held against their definitions row by row and known numbers."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from batch.clicks.measure import OTHERS, Predictions, interval, slices

LADDER = np.log([0.1 / 0.9, 0.4 / 0.6, 0.35 / 0.65, 0.8 / 0.2])


def drawn(seed: int, rows: int = 400, steps: int = 40) -> tuple[Any, Any]:
    """Rows whose predictions have ties."""
    rng = np.random.default_rng(seed)
    log_odds = rng.integers(-steps, steps, rows) / (steps / 3)
    return rng.random(rows) < expit(log_odds), log_odds


def test_known_numbers() -> None:
    """The classic example of four rows: an AUC of .75."""
    found = Predictions.of(np.array([False, False, True, True]), LADDER).metrics()
    losses = [-math.log(p) for p in (0.9, 0.6, 0.35, 0.8)]
    assert found.auc == pytest.approx(0.75)
    assert found.log_loss == pytest.approx(sum(losses) / 4)
    assert found.ne == pytest.approx(sum(losses) / 4 / math.log(2))
    assert found.ratio == pytest.approx((0.1 + 0.4 + 0.35 + 0.8) / 2)
    assert (found.rows, found.clicks, found.lift1) == pytest.approx((4, 2, 2.0))


@pytest.mark.parametrize("kept", [1.0, 0.25])
@pytest.mark.parametrize("seed", range(3))
def test_measures_are_what_their_definitions_say_of_each_row(seed: int, kept: float) -> None:
    clicked, log_odds = drawn(seed)
    found = Predictions.of(clicked, log_odds, kept)
    above = log_odds[clicked][:, np.newaxis] - log_odds[~clicked]
    assert found.auc == pytest.approx(((above > 0) + (above == 0) / 2).mean())
    p, weights = 1 / (1 + np.exp(-log_odds)), np.where(clicked, 1, 1 / kept)
    losses = -np.log(np.where(clicked, p, 1 - p))
    rate = (weights * clicked).sum() / weights.sum()
    entropy = -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
    assert found.log_loss == pytest.approx((weights * losses).sum() / weights.sum())
    assert found.ne == pytest.approx(found.log_loss / entropy)
    assert found.ratio == pytest.approx((weights * p).sum() / (weights * clicked).sum())


def test_weights_of_negatives_are_as_if_each_were_there_so_often() -> None:
    clicked, log_odds = drawn(7)
    often = np.where(clicked, 1, 4)
    whole = Predictions.of(np.repeat(clicked, often), np.repeat(log_odds, often))
    part = Predictions.of(clicked, log_odds, 0.25)
    for name in ("auc", "log_loss", "ne", "ratio"):
        assert getattr(part, name) == pytest.approx(getattr(whole, name)), name
    assert part.gains() == [pytest.approx(each) for each in whole.gains()]


@pytest.mark.parametrize("kept", [1.0, 0.25])
def test_the_error_of_ne_is_how_it_differs_from_one_draw_of_rows_to_another(kept: float) -> None:
    found = [Predictions.of(*_right(seed, kept), kept) for seed in range(300)]
    spread = np.std([each.ne for each in found])
    assert np.mean([each.ne_error for each in found]) == pytest.approx(spread, rel=0.1)


def _right(seed: int, kept: float) -> tuple[Any, Any]:
    """2,000 rows of whose clicks the truth is known, less the negatives that are left out."""
    rng = np.random.default_rng(seed)
    log_odds = rng.standard_normal(2_000) - 2
    clicked = rng.random(2_000) < expit(log_odds)
    there = clicked | (rng.random(2_000) < kept)
    return clicked[there], log_odds[there]


def test_bins_have_equally_many_rows_and_their_error_is_the_mean() -> None:
    rng = np.random.default_rng(3)
    log_odds = rng.standard_normal(1000)
    clicked = rng.random(1000) < expit(1.5 * log_odds)
    found, order = Predictions.of(clicked, log_odds), np.argsort(log_odds)
    curve = [
        [expit(log_odds[part]).mean(), clicked[part].mean(), 50.0]
        for part in np.array_split(order, 20)
    ]
    assert found.curve() == [pytest.approx(each) for each in curve]
    assert found.ece() == pytest.approx(np.mean([abs(p - rate) for p, rate, _ in curve]))


def test_rows_that_are_predicted_alike_count_as_mixed_whatever_their_order() -> None:
    clicked = np.array([True] * 10 + [False] * 30)
    same = Predictions.of(clicked, np.full(40, math.log(1 / 3)))
    turned = Predictions.of(clicked[::-1], np.full(40, math.log(1 / 3)))
    assert same.metrics() == turned.metrics()
    assert same.auc == pytest.approx(0.5) and same.ece() == pytest.approx(0, abs=1e-12)
    assert same.lift(0.05) == pytest.approx(1.0) and same.ne == pytest.approx(1.0)


def test_a_perfect_order_gains_all_clicks_first() -> None:
    clicked = np.arange(1000) >= 980
    found = Predictions.of(clicked, np.arange(1000.0) / 100)
    assert found.gain(0.02) == pytest.approx(1.0) and found.gain(0.01) == pytest.approx(0.5)
    assert (found.auc, found.lift(0.01), found.lift(0.05)) == pytest.approx((1.0, 50.0, 20.0))


def test_predictions_beyond_what_floats_hold_are_finite() -> None:
    found = Predictions.of(np.array([True, False]), np.array([-800.0, 800.0]))
    assert found.log_loss == pytest.approx(800.0) and math.isfinite(found.ratio)


def test_the_interval_is_wilsons() -> None:
    """Newcombe, 1998, table I, method 3: of 81 in 263, and of 0 in 20."""
    assert interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    low, high = interval(81, 81 + 1820, kept=0.1)
    whole = interval(81, 81 + 18200)
    assert (low, high) == pytest.approx(whole, rel=0.06)


def test_slices_count_the_most_frequent_values_and_put_the_others_together() -> None:
    values = np.array([str(n % 25) for n in range(1000)] + ["0"] * 100, np.object_)
    clicked, log_odds = np.arange(1100) % 5 == 0, np.zeros(1100)
    found = slices(clicked, log_odds, {"place": values})["place"]
    first = next(iter(found))
    assert (first, found[first].rows, len(found)) == ("0", 140, 21)
    assert found[OTHERS].rows == 200
    assert sum(each.clicks for each in found.values()) == clicked.sum()


def test_a_slice_of_one_kind_has_no_measure_that_needs_both() -> None:
    values = np.array(["a"] * 3 + ["b"] * 3, np.object_)
    found = slices(np.array([True] * 3 + [False] * 3), np.zeros(6), {"x": values})["x"]
    assert found["a"].auc is None and found["a"].ratio == pytest.approx(0.5)
    assert found["b"].ratio is found["b"].high is found["b"].ne is None
    low = found["b"].low
    assert low is not None and 0 < low < 1
