"""A new connection goes to the worker with the fewest, and never waits for one that is stuck."""

from app.http.connections.shares import PATIENCE_SECONDS, Share, Shares

LATER = 2 * PATIENCE_SECONDS


def pair() -> tuple[Share, Share]:
    shares = Shares(3)
    one, other = shares.take(), shares.take()
    assert one and other
    return one, other


def test_the_worker_with_the_fewest_is_next() -> None:
    one, other = pair()
    one.write(1)
    other.write(0)
    assert not one.is_next(1, now=0.0)
    assert other.is_next(0, now=0.0)
    other.write(1)
    assert one.is_next(1, now=0.0)
    assert other.is_next(1, now=0.0)


def test_of_many_connections_a_worker_may_have_an_eighth_more() -> None:
    one, other = pair()
    one.write(32)
    other.write(28)
    assert one.is_next(32, now=0.0)
    other.write(27)
    assert not one.is_next(32, now=0.0)


def test_a_connection_that_nobody_takes_is_taken_in_the_end() -> None:
    one, other = pair()
    one.write(1)
    other.write(0)
    assert not one.is_next(1, now=0.0)
    other.write(0)
    assert one.is_next(1, now=LATER)
    assert not one.is_next(1, now=LATER), "it turns, so the next one is left to it again"


def test_a_worker_that_is_stuck_is_asked_again_when_its_loop_turns() -> None:
    one, other = pair()
    one.write(1)
    other.write(0)
    assert not one.is_next(1, now=0.0)
    assert one.is_next(1, now=LATER)
    assert one.is_next(2, now=LATER), "it is known to be stuck"
    other.write(0)
    assert not one.is_next(2, now=LATER)


def test_nothing_is_left_to_a_worker_that_starts_ends_or_has_ended() -> None:
    one, other = pair()
    one.write(5)
    assert one.is_next(5, now=0.0), "the other one has not begun"
    other.write(0)
    other.close()
    assert one.is_next(5, now=0.0)
    other.write(0)
    other.give_back()
    assert one.is_next(5, now=0.0)


def test_a_place_is_taken_again_when_its_worker_is_gone() -> None:
    shares = Shares(1)
    first = shares.take()
    assert first
    assert shares.take() is None
    first.give_back()
    assert shares.take()
