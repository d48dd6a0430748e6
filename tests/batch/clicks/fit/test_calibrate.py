"""Calibration makes probabilities hold on rows that it was not fitted on, and is left out else."""

from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from app.contracts.clicks import Calibration
from batch.clicks.fit.calibrate import MAX_KNOTS, calibrated, choose, isotonic, line, served
from batch.clicks.measure import Predictions
from tests.clicks import model


def drawn(rows: int, truth: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    log_odds = rng.normal(-1, 1, rows)
    return log_odds, rng.random(rows) < expit(truth(log_odds))


def test_a_line_finds_the_line() -> None:
    found = line(*drawn(200_000, lambda z: 0.7 * z - 0.4))
    assert (found.slope, found.intercept) == pytest.approx((0.7, -0.4), abs=0.03)


def test_a_line_never_falls_and_is_finite_where_rows_are_told_apart() -> None:
    log_odds = np.linspace(-3, 3, 40)
    assert line(log_odds, log_odds < 0) == Calibration()
    assert np.isfinite(line(log_odds, log_odds > 0).slope)


def test_knots_rise_are_few_and_follow_a_bend() -> None:
    log_odds, clicked = drawn(100_000, lambda z: np.where(z < -1, z, 3 * z + 2))
    found = isotonic(log_odds, clicked)
    assert len(found.knots) <= MAX_KNOTS and Calibration.read(found.entry()) == found
    expected = np.interp([-2.0, -1.0, 0.0], [-2, -1, 0], [-2, -1, 2])
    assert calibrated(found, np.array([-2.0, -1.0, 0.0])) == pytest.approx(expected, abs=0.3)
    far = calibrated(found, np.array([-9.0, -8.0, 8.0, 9.0]))
    assert (np.diff(far) > 0).all(), "the best and the worst rows stay apart"


def test_knots_of_few_rows_and_of_few_scores_can_be_read() -> None:
    for rows in (2, 3, 60, 400):
        log_odds = (np.arange(rows) % 3 - 1).astype(np.float64)
        found = isotonic(log_odds, np.arange(rows) % 2 == 0)
        assert Calibration.read(found.entry()) == found
        assert np.isfinite(calibrated(found, log_odds)).all()


@pytest.mark.parametrize(
    ("truth", "shape"),
    [
        (lambda z: z, "none"),
        (lambda z: 0.5 * z + 0.7, "a line"),
        (lambda z: np.where(z < -1, z, 3 * z + 2), "knots"),
    ],
)
def test_the_one_that_helps_on_other_rows_is_chosen(truth: Any, shape: str) -> None:
    log_odds, clicked = drawn(40_000, truth)
    found = choose(log_odds, clicked, seed=1)
    assert bool(found.knots) == (shape == "knots")
    if shape == "none":
        assert found == Calibration()
        return
    fresh = np.random.default_rng(9).normal(-1, 1, 40_000)
    came = np.random.default_rng(10).random(40_000) < expit(truth(fresh))
    before, after = (Predictions.of(came, z) for z in (fresh, calibrated(found, fresh)))
    assert after.log_loss < before.log_loss * 0.98 and after.ece() < before.ece() / 4


def test_scores_that_hold_are_left_alone() -> None:
    """Noise makes a calibration look better in about a quarter of such draws."""
    rng, found = np.random.default_rng(3), list[Calibration]()
    for seed in range(20):
        log_odds = rng.normal(-2, 1, 1_000)
        found.append(choose(log_odds, rng.random(1_000) < expit(log_odds), seed))
    assert found.count(Calibration()) >= 19


def test_rows_of_one_kind_calibrate_nothing() -> None:
    assert choose(np.arange(50.0), np.zeros(50, bool), 1) == Calibration()
    assert choose(np.arange(50.0), np.arange(50) == 3, 1) == Calibration()


def test_negatives_that_were_left_out_are_put_right() -> None:
    """He et al.: q = p / (p + (1 - p) / w)."""
    made = model(Calibration(0.5, 0.1), negatives_kept=0.25)
    log_odds = np.array([-1.0, 2.0])
    p = expit(0.5 * log_odds + 0.1)
    assert expit(served(made, log_odds)) == pytest.approx(p / (p + (1 - p) / 0.25))
