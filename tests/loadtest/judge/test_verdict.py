"""Green or red, the knee of a capacity run, the end of a ramp."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from loadtest.judge.verdict import knee, pronounce
from loadtest.load.scenarios import NAMES, Asked, Scenario, make
from loadtest.slo import Outcome

GOOD = Outcome(users=200, seconds=60, requests=10_800, errors=0, median_ms=4, p95_ms=9, p99_ms=20)


def _scenario(name: str) -> Scenario:
    return make(Asked(name, users=200, step_seconds=5))


def _strict(name: str) -> Scenario:
    return make(Asked(name, users=200, step_seconds=5, strict=True))


def _at(users: int, rate: float, median_ms: float = 2) -> Outcome:
    return Outcome(users, 5, round(rate * 5), 0, median_ms, median_ms * 2, median_ms * 3)


CAPACITY = [
    _at(1, 500),
    _at(2, 1_000),
    _at(4, 1_800),
    _at(8, 1_950),
    _at(16, 1_990),
    _at(32, 1_900),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", [_scenario, _strict])
def test_nothing_measured_is_never_green(name: str, made: Callable[[str], Scenario]) -> None:
    assert not pronounce(made(name), [], None).passed


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_ended_early_is_never_green(name: str) -> None:
    judged = pronounce(_scenario(name), [GOOD], "the API died")
    assert not judged.passed
    assert judged.sentences[0] == "the API died"
    assert "every limit of the objective was kept" not in judged.sentences


def test_the_load_of_the_objective_is_judged_by_its_limits() -> None:
    assert pronounce(_scenario("slo"), [GOOD], None).passed
    red = pronounce(_scenario("slo"), [replace(GOOD, median_ms=84)], None)
    assert not red.passed
    assert red.sentences == ["median was 84 ms, promised was at most 60 ms"]


def test_strict_is_red_where_the_reference_is_green() -> None:
    slower = [replace(GOOD, median_ms=20, p95_ms=40, p99_ms=80)]
    assert pronounce(_scenario("slo"), slower, None).passed
    assert not pronounce(_strict("slo"), slower, None).passed


def test_the_knee_is_the_fewest_users_at_nine_tenths_of_the_highest_rate() -> None:
    assert CAPACITY[knee(CAPACITY)].users == 4
    assert knee([_at(1, 100)]) == 0
    assert knee([_at(1, 0), _at(2, 0)]) == 0


def test_capacity_tells_the_knee_and_the_best_rate_within_the_limits() -> None:
    judged = pronounce(_scenario("capacity"), CAPACITY, None)
    assert judged.passed
    assert "knee is at 4 users: 1,800 requests/s" in judged.sentences[0]
    assert "1,990 requests/s" in judged.sentences[1]


def test_a_rate_whose_answers_take_too_long_does_not_count() -> None:
    slow = [_at(1, 100), _at(200, 5_000, median_ms=61)]
    judged = pronounce(_scenario("capacity"), slow, None)
    assert not judged.passed
    assert judged.sentences[-2].startswith(
        "the highest rate with the objective's limits kept: 100 "
    )
    assert judged.sentences[-1] == "promised was 180 requests/s"


def test_strict_capacity_is_ten_times_the_reference() -> None:
    assert pronounce(_strict("capacity"), [_at(64, 1_800)], None).passed
    assert not pronounce(_strict("capacity"), [_at(64, 1_700)], None).passed


def _ramp(*medians: float) -> list[Outcome]:
    steps = _scenario("ramp").steps
    return [
        _at(step.users, step.objective.requests_per_second, median_ms)
        for step, median_ms in zip(steps, medians, strict=False)
    ]


def test_a_ramp_ends_at_the_last_rate_before_the_first_that_broke() -> None:
    outcomes = _ramp(2, 2, 2, 2, 2, 2, 2, 90, 2)
    judged = pronounce(_scenario("ramp"), outcomes, None)
    assert judged.passed
    assert "at 240 arrivals/s it broke: median was 90 ms" in judged.sentences[0]
    assert "limits kept: 190 requests/s" in judged.sentences[1]


def test_a_ramp_that_breaks_below_the_promised_rate_is_red() -> None:
    judged = pronounce(_scenario("ramp"), _ramp(2, 90), None)
    assert not judged.passed
    assert judged.sentences[-1] == "promised was 180 requests/s"


def test_arrivals_that_never_come_back_break_a_ramp() -> None:
    step = _scenario("ramp").steps[5]
    half = _at(step.users, step.objective.requests_per_second / 2)
    assert not pronounce(replace(_scenario("ramp"), steps=(step,), goal=50), [half], None).passed
