"""The gate that stops a bad model."""

from dataclasses import replace

import pytest

from batch.recommendations.judge.evaluate import Metrics
from batch.recommendations.pipeline import Quality, reasons_against
from batch.recommendations.terms import Gate

METRICS = Metrics(
    ndcg=0.4,
    map=0.1,
    precision=0.2,
    recall=0.3,
    coverage=0.5,
    popularity=0.1,
    intervals={},
    users=10,
    k=10,
)


def told(popular: float, gate: Gate, live_ndcg: float | None) -> list[str]:
    """The reasons against a model of nDCG 0.4 beside a popular list of that nDCG."""
    return reasons_against(Quality(METRICS, replace(METRICS, ndcg=popular)), gate, live_ndcg)


def test_a_model_that_beats_most_popular_passes_a_first_refresh() -> None:
    assert told(0.39, Gate(min_ndcg=0.4), None) == []


@pytest.mark.parametrize(
    "popular, min_ndcg, live_ndcg, max_drop, reasons",
    [
        (0.4, 0.0, None, 0.1, ["does not beat most-popular's 0.4000"]),
        (0.5, 0.0, None, 0.1, ["does not beat most-popular's 0.5000"]),
        (0.1, 0.41, None, 0.1, ["is below --min-ndcg 0.41"]),
        (0.1, 0.0, 0.45, 0.1, ["is more than 10% under the live generation's 0.4500"]),
        (0.1, 0.0, 0.41, 0.0, ["is more than 0% under the live generation's 0.4100"]),
        (0.5, 0.6, 0.7, 0.1, ["does not beat", "is below", "is more than 10% under"]),
    ],
)
def test_each_reason_stops_a_model_and_all_are_told(
    popular: float, min_ndcg: float, live_ndcg: float | None, max_drop: float, reasons: list[str]
) -> None:
    found = told(popular, Gate(min_ndcg, max_drop), live_ndcg)
    assert len(found) == len(reasons)
    for sentence, reason in zip(found, reasons, strict=True):
        assert sentence.startswith("nDCG@10 0.4000") and reason in sentence


def test_lists_of_few_items_are_a_reason() -> None:
    assert told(0.1, Gate(min_coverage=0.5), None) == []
    (reason,) = told(0.1, Gate(min_coverage=0.51), None)
    assert reason == "coverage 0.5000 is below --min-coverage 0.51"


@pytest.mark.parametrize("live_ndcg, max_drop", [(0.44, 0.1), (0.4, 0.0), (0.3, 0.0), (0.9, 1.0)])
def test_a_drop_within_the_limit_is_no_reason(live_ndcg: float, max_drop: float) -> None:
    assert told(0.1, Gate(max_drop=max_drop), live_ndcg) == []
