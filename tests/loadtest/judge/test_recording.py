"""What came back, second by second, and when requests are due."""

from collections import Counter
from random import Random

import pytest

from loadtest.judge.recording import Recording, percentile
from loadtest.load.arrivals import paced, poisson, without_wait


def _recorded() -> Recording:
    recording = Recording()
    for second in range(10):
        for number in range(1, 101):
            error = "status 500" if second == 4 and number <= 10 else None
            recording.request(100 + second + number / 200, float(number), error)
    return recording


def test_percentiles_are_the_nearest_rank() -> None:
    hundred = Counter({float(number): 1 for number in range(1, 101)})
    assert [percentile(hundred, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert percentile(Counter({7.0: 1}), 0.99) == 7
    assert percentile(Counter(), 0.5) == 0


def test_a_window_counts_its_whole_seconds_only() -> None:
    outcome = _recorded().outcome(101.5, 105.5, users=3)
    assert (outcome.seconds, outcome.requests, outcome.errors) == (3, 300, 10)
    assert outcome.requests_per_second == pytest.approx(290 / 3)
    assert (outcome.median_ms, outcome.p99_ms) == (50, 99)


def test_seconds_without_answers_count() -> None:
    outcome = _recorded().outcome(105, 115, users=3)
    assert outcome.requests_per_second == 50


def test_a_window_without_time_is_empty() -> None:
    outcome = _recorded().outcome(105.2, 105.9, users=3)
    assert (outcome.requests, outcome.requests_per_second) == (0, 0)


def test_several_processes_record_what_one_would() -> None:
    whole, master = _recorded(), Recording()
    workers = [Recording(), Recording()]
    for second in range(10):
        for number in range(1, 101):
            error = "status 500" if second == 4 and number <= 10 else None
            workers[number % 2].request(100 + second, float(number), error)
        for worker in workers:
            master.add(worker.drain())
    assert master.outcome(100, 110, 3) == whole.outcome(100, 110, 3)
    assert master.errors() == {"status 500": 10}
    assert master.last_good == 110


def test_the_series_leaves_out_the_unfinished_ends() -> None:
    series = _recorded().series()
    assert [moment.at for moment in series] == list(range(101, 109))
    assert series[3].errors_per_second == 10
    assert [moment.at for moment in _recorded().series(3)] == [101, 104]
    assert Recording().series() == []


def test_a_paced_user_keeps_its_rate_and_does_not_catch_up() -> None:
    arrivals, chance = paced(200, 0.5), Random(1)
    assert arrivals.next(due=10.0, now=10.5, chance=chance) == 12.0
    assert arrivals.next(due=10.0, now=17.0, chance=chance) == 17.0
    assert 0 <= arrivals.first(chance) <= 2
    assert "0.5 times a second" in arrivals.sentence


def test_a_user_without_wait_asks_at_once() -> None:
    assert without_wait().next(due=10.0, now=17.0, chance=Random(1)) == 17.0


def test_open_arrivals_do_not_wait_for_answers() -> None:
    arrivals, chance = poisson(10.0), Random(1)
    due, count = 0.0, 0
    while due < 1000:
        due = arrivals.next(due, now=5000.0, chance=chance)
        count += 1
    assert count == pytest.approx(10_000, rel=0.05)
