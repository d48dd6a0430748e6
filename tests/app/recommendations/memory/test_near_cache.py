"""What is kept near is bounded, kept for whom it was asked for last, and never out of date."""

from app.recommendations.memory import near_cache
from app.recommendations.memory.near_cache import NearCache, Remembered


def test_it_is_bounded_and_keeps_who_was_asked_for_last() -> None:
    near = NearCache(2)
    one, two, three = Remembered(b"1"), Remembered(b"2"), Remembered(b"3")
    near.put("a", one, near.ticket())
    near.put("b", two, near.ticket())
    assert near.get("a") == one
    near.put("c", three, near.ticket())
    assert [near.get(user) for user in "abc"] == [one, None, three]


def test_one_for_nobody_keeps_nobody() -> None:
    near = NearCache(0)
    near.put("a", Remembered(b"1"), near.ticket())
    assert near.get("a") is None


def test_a_list_that_was_on_its_way_while_its_user_was_evicted_is_refused() -> None:
    near, stale, fresh = NearCache(9), Remembered(b"stale"), Remembered(b"fresh")
    before = near.ticket()
    near.put("a", stale, before)
    near.evict(["a", "b"])
    for user in "abc":
        near.put(user, stale, before)
    assert [near.get(user) for user in "abc"] == [None, None, stale]
    near.put("a", fresh, near.ticket())
    assert near.get("a") == fresh


def test_a_list_that_was_on_its_way_while_all_was_cleared_is_refused() -> None:
    near, stale = NearCache(9), Remembered(b"stale")
    before = near.ticket()
    near.put("a", stale, before)
    near.clear()
    near.put("b", stale, before)
    assert [near.get(user) for user in "ab"] == [None, None]


def test_an_eviction_that_is_forgotten_refuses_all_that_is_as_old() -> None:
    near, stale = NearCache(9), Remembered(b"stale")
    before = near.ticket()
    near.evict(["a"])
    between = near.ticket()
    near.evict(str(number) for number in range(near_cache._EVICTIONS))
    near.put("a", stale, before)
    near.put("b", stale, before)
    near.put("c", stale, between)
    assert [near.get(user) for user in "abc"] == [None, None, stale]
