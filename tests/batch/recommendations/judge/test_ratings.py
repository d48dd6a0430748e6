"""Rating metrics against their definitions, and sums that add up however the pairs are cut."""

from dataclasses import astuple

import numpy as np
import pytest

from batch.errors import BadSettings
from batch.recommendations.judge.ratings import RatingMetrics, Sums


def defined(true: list[float], predicted: list[float]) -> RatingMetrics:
    """The metrics as scikit-learn defines them, in one pass over all pairs."""
    y, p = np.array(true, np.float64), np.array(predicted, np.float64)
    return RatingMetrics(
        rmse=float(np.sqrt(np.mean((y - p) ** 2))),
        mae=float(np.mean(np.abs(y - p))),
        r2=float(1 - np.sum((y - p) ** 2) / np.sum((y - np.mean(y)) ** 2)),
        explained_variance=float(1 - np.var(y - p) / np.var(y)),
        pairs=len(y),
    )


def test_metrics_worked_out_by_hand() -> None:
    """The example of scikit-learn's documentation of these metrics.

    e = .5 -.5 0 -1: squares 1.5, absolute 2, mean -.25, so 1.5 - 4/16 = 1.25 about it; the true
    ratings have the mean 2.875 and 29.1875 about it.
    """
    found = Sums.of([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]).metrics()
    assert found.rmse == pytest.approx(0.375**0.5)
    assert found.mae == pytest.approx(0.5)
    assert found.r2 == pytest.approx(1 - 1.5 / 29.1875)
    assert found.explained_variance == pytest.approx(1 - 1.25 / 29.1875)
    assert found.pairs == 4


@pytest.mark.parametrize("away", [0.0, 1e6])
def test_blocks_add_up_to_the_metrics_of_all_pairs(away: float) -> None:
    rng = np.random.default_rng(1)
    true = rng.integers(1, 6, 10_000) + away
    predicted = true + rng.normal(0.3, 0.9, 10_000)
    cuts = [0, 0, 1, 2, 500, 500, 7_000, 10_000]
    blocks = [
        Sums.of(true[first:last], predicted[first:last])
        for first, last in zip(cuts, cuts[1:], strict=False)
    ]
    expected = astuple(defined(true.tolist(), predicted.tolist()))
    for order in (blocks, blocks[::-1]):
        assert astuple(sum(order, Sums()).metrics()) == pytest.approx(expected, rel=1e-9)


def test_a_constant_error_lowers_r2_but_not_the_explained_variance() -> None:
    found = Sums.of([1, 2, 3, 4], [2, 3, 4, 5]).metrics()
    assert found.explained_variance == 1
    assert found.r2 == pytest.approx(1 - 4 / 5)


def test_float32_ratings_are_summed_in_float64() -> None:
    true = np.tile(np.array([1, 5], np.float32), 100_000)
    wrong = true + np.float32(0.1)
    expected = defined(true.tolist(), wrong.tolist())
    assert astuple(Sums.of(true, wrong).metrics()) == pytest.approx(astuple(expected), rel=1e-9)


@pytest.mark.parametrize(
    "predicted, r2, explained_variance",
    [([4, 4], 1, 1), ([3, 3], 0, 1), ([3, 4], 0, 0)],
)
def test_true_ratings_that_are_all_alike_have_no_variance_to_explain(
    predicted: list[float], r2: float, explained_variance: float
) -> None:
    found = Sums.of([4, 4], predicted).metrics()
    assert (found.r2, found.explained_variance) == (r2, explained_variance)


def test_no_pair_is_no_measure() -> None:
    with pytest.raises(BadSettings, match="no rating to judge by"):
        (Sums() + Sums.of([], [])).metrics()
