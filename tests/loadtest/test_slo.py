"""Which limits did an outcome break, in sentences."""

from dataclasses import replace
from typing import Any

import pytest

from loadtest.slo import REFERENCE, STRICT, Objective, Outcome, broken

GOOD = Outcome(users=200, seconds=60, requests=10_800, errors=0, median_ms=4, p95_ms=12, p99_ms=30)


@pytest.mark.parametrize("objective", [REFERENCE, STRICT])
def test_an_outcome_within_all_limits_breaks_none(objective: Objective) -> None:
    assert broken(objective, GOOD) == []


def test_what_is_exactly_at_its_limit_is_kept() -> None:
    at_limit = replace(GOOD, median_ms=60, p95_ms=200, p99_ms=500, requests=10_600, errors=10)
    assert broken(REFERENCE, at_limit) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"median_ms": 84.0}, "median was 84 ms, promised was at most 60 ms"),
        ({"p95_ms": 201.0}, "p95 was 201 ms, promised was at most 200 ms"),
        ({"p99_ms": 1234.0}, "p99 was 1,234 ms, promised was at most 500 ms"),
        (
            {"errors": 54},
            "54 of 10,800 requests failed (0.50%), promised was at most 0.10%",
        ),
        (
            {"requests": 10_500},
            "175.0 requests/s were answered well, promised were 180.0 "
            "(at least 176.0 with the slack)",
        ),
    ],
)
def test_each_limit_is_broken_alone(change: dict[str, Any], sentence: str) -> None:
    assert broken(REFERENCE, replace(GOOD, **change)) == [sentence]


def test_every_broken_limit_is_told() -> None:
    awful = replace(GOOD, errors=5_400, median_ms=100, p95_ms=1_000, p99_ms=2_000)
    assert len(broken(REFERENCE, awful)) == 5


def test_strict_forgives_not_one_failure() -> None:
    assert broken(REFERENCE, replace(GOOD, errors=1)) == []
    (sentence,) = broken(STRICT, replace(GOOD, errors=1))
    assert sentence == "1 of 10,800 requests failed (0.01%), promised was none"


def test_a_failed_request_does_not_count_as_answered() -> None:
    assert replace(GOOD, errors=10_800).requests_per_second == 0


def test_silence_is_not_a_quick_answer() -> None:
    silence = replace(GOOD, requests=0, median_ms=0, p95_ms=0, p99_ms=0)
    assert broken(REFERENCE, silence) == ["no request was answered"]


def test_a_short_window_may_cut_off_what_its_edges_hold() -> None:
    few = replace(GOOD, users=10, seconds=2, requests=14)
    assert broken(REFERENCE.for_users(10), few) == []
    assert broken(REFERENCE.for_users(10), replace(few, requests=7)) != []


def test_the_reference_is_what_its_architecture_publishes() -> None:
    assert (REFERENCE.users, REFERENCE.requests_per_second, REFERENCE.median_ms) == (200, 180, 60)


def test_fewer_users_are_promised_their_own_rate() -> None:
    assert REFERENCE.for_users(200) == REFERENCE
    assert REFERENCE.for_users(10).requests_per_second == 9
