"""Estimates of a known data set, to the digits that others published of it."""

import pytest
from estimators.bandits import ips, snips

from app.contracts.learning.estimates import Sums
from tests.batch.decisions.open_bandit import Campaign, expectations, load


def sums_of(campaign: Campaign) -> Sums:
    sums = Sums()
    for weight, reward in zip(campaign.chosen / campaign.probability, campaign.reward, strict=True):
        sums.add(float(weight), float(reward))
    return sums


@pytest.mark.parametrize(
    "name, on_policy, by_ips, by_snips, error, effective",
    [
        # The first row is that of st-tech/zr-obp, examples/quickstart/obd.ipynb.
        ("all", 0.0042, 0.004553, 0.004776, 0.084019, 1640),
        ("men", 0.0069, 0.004534, 0.004604, 0.342962, 2467),
        ("women", 0.0046, 0.006813, 0.006811, 0.481190, 1954),
    ],
)
def test_estimates_are_those_that_others_published(
    name: str, on_policy: float, by_ips: float, by_snips: float, error: float, effective: int
) -> None:
    campaign = load(name)
    sums = sums_of(campaign)
    assert campaign.on_policy == on_policy and sums.events == 10_000
    assert round(sums.ips, 6) == by_ips and round(sums.snips, 6) == by_snips
    assert round(abs(sums.ips - on_policy) / on_policy, 6) == error
    assert round(sums.effective) == effective
    assert sums.interval[0] < on_policy < sums.interval[1]


def test_they_are_those_of_vowpal_wabbits_own_estimators() -> None:
    campaign = load("all")
    theirs = ips.Estimator(), snips.Estimator()
    for each in theirs:
        for row in zip(campaign.probability, campaign.reward, campaign.chosen, strict=True):
            each.add_example(*map(float, row))
    ours = sums_of(campaign)
    assert [ours.ips, ours.snips] == pytest.approx([each.get() for each in theirs], rel=1e-12)


def test_the_doubly_robust_one_is_that_which_was_published() -> None:
    campaign, sums = load("all"), Sums()
    expected, predicted = expectations(campaign)
    weights = campaign.chosen / campaign.probability
    for row in zip(weights, campaign.reward, expected, predicted, strict=True):
        sums.add(*map(float, row))
    assert round(float(expected.mean()), 6) == 0.003545
    assert round(sums.doubly_robust, 6) == 0.004727
