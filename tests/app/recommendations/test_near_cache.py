"""What is kept near is bounded, and kept for whom it was asked for last."""

from app.recommendations.near_cache import NearCache, Remembered


def test_it_is_bounded_and_keeps_who_was_asked_for_last() -> None:
    near = NearCache(2)
    one, two, three = Remembered(b"1"), Remembered(b"2"), Remembered(b"3")
    near.put("a", one)
    near.put("b", two)
    assert near.get("a") == one
    near.put("c", three)
    assert [near.get(user) for user in "abc"] == [one, None, three]


def test_one_for_nobody_keeps_nobody() -> None:
    near = NearCache(0)
    near.put("a", Remembered(b"1"))
    assert near.get("a") is None
