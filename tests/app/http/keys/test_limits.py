"""A bucket of tokens: so many at once, so many a second, each key for itself."""

import pytest

from app.http.keys.limits import Limits


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    limits = Limits(rate=2.0, burst=3.0)
    assert [limits.wait_seconds("a", 10.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limits.wait_seconds("a", 10.25) == 0.25
    assert limits.wait_seconds("a", 10.5) == 0.0
    assert limits.wait_seconds("a", 10.5) == 0.5
    let_in = [limits.wait_seconds("a", 10.5 + n / 10) == 0.0 for n in range(1, 101)]
    assert sum(let_in) == 20  # ten seconds


def test_a_bucket_does_not_run_over() -> None:
    limits = Limits(rate=2.0, burst=3.0)
    limits.wait_seconds("a", 0.0)
    assert [limits.wait_seconds("a", 1000.0) == 0.0 for _ in range(4)] == [True, True, True, False]


def test_keys_share_nothing() -> None:
    limits = Limits(rate=1.0, burst=1.0)
    assert limits.wait_seconds("a", 0.0) == 0.0
    assert limits.wait_seconds("a", 0.0) == 1.0
    assert limits.wait_seconds("b", 0.0) == 0.0


@pytest.mark.parametrize("burst", [0.0, 0.5])
def test_a_worker_with_less_than_one_token_lets_one_request_through(burst: float) -> None:
    limits = Limits(rate=0.5, burst=burst)
    assert [limits.wait_seconds("a", 0.0) for _ in range(2)] == [0.0, 2.0]
