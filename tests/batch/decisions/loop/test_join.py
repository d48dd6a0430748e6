"""Joining: what counts of a decision is what stands in the log within its window."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from app.contracts.decisions import AGGREGATIONS, Activated, Aggregation, Ranked, Rewarded, Slot
from app.contracts.events import Entry, ms_of, order
from batch.decisions.loop.join import MAX_REWARD, Joiner, Outcome, Passed, Rules, Unreadable
from batch.decisions.terms import Joined, Late
from tests.batch.decisions.logged import START, context, entries, ranked, taste

RULES = Rules(1000, 0.0, "earliest")
END = 1 << 60


def outcomes(found: Sequence[Entry], rules: Rules = RULES) -> list[Outcome]:
    """What comes of a log that nothing is added to."""
    joiner = Joiner(rules)
    return [*joiner.take(found), *joiner.close(END)]


def joined(found: Sequence[Entry], rules: Rules = RULES) -> list[Joined]:
    return [each for each in outcomes(found, rules) if isinstance(each, Joined)]


def late(found: Sequence[Entry], rules: Rules = RULES) -> list[tuple[str, float]]:
    return [(e.id, e.value) for e in outcomes(found, rules) if isinstance(e, Late)]


def test_a_decision_is_joined_with_its_reward() -> None:
    made = ranked("x", generation="g1", mode="Apprentice", imitated=True)
    (found,) = joined(entries((0, made), (500, Rewarded("x", 0.5))))
    expected = Joined(f"{START}-0", "x", START, made.context, made.slots, (0.5,), (("", 0.5),))
    assert found == expected._replace(generation="g1", mode="Apprentice", imitated=True)


def test_a_window_ends_before_its_last_moment() -> None:
    found = entries((0, ranked("x")), (999, Rewarded("x", 1)), (1000, Rewarded("x", 5)))
    assert [each.observed for each in joined(found)] == [(("", 1.0),)]
    assert late(found) == [("x", 5.0)]


def test_nothing_closes_before_its_time() -> None:
    joiner = Joiner(RULES)
    assert not [*joiner.take(entries((0, ranked("x")), (900, ranked("y"))))]
    assert not [*joiner.close(START + 999)]
    assert [each.position for each in joiner.close(START + 1000)] == [f"{START}-0"]
    assert len(joiner) == 1


@pytest.mark.parametrize(
    "aggregation, expected",
    [("earliest", 4), ("average", 2.5), ("median", 2), ("sum", 10), ("min", 1), ("max", 5)],
)
def test_rewards_are_aggregated(aggregation: Aggregation, expected: float) -> None:
    given = {"median": (4, 1, 2), "max": (4, 5, 1)}.get(aggregation, (4, 1, 1, 4))
    log = entries((0, ranked("x")), *((n + 1, Rewarded("x", v)) for n, v in enumerate(given)))
    assert [e.rewards for e in joined(log, replace(RULES, aggregation=aggregation))] == [
        (expected,)
    ]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_no_aggregate_leaves_the_range_of_numbers(aggregation: Aggregation) -> None:
    log = entries((0, ranked("x")), (1, Rewarded("x", 1e308)), (2, Rewarded("x", 1.7e308)))
    assert joined(log, replace(RULES, aggregation=aggregation))[0].rewards == (MAX_REWARD,)


def test_a_decision_without_a_reward_gets_the_default() -> None:
    (found,) = joined(entries((0, ranked("x"))), replace(RULES, default_reward=-0.5))
    assert (found.rewards, found.observed, found.counts) == ((-0.5,), (), True)


@pytest.mark.parametrize("activated_at, counts", [(None, False), (400, True), (1000, False)])
def test_a_deferred_decision_counts_once_it_was_activated(
    activated_at: int | None, counts: bool
) -> None:
    said: list[tuple[int, Any]] = [(0, ranked("x", deferred=True)), (300, Rewarded("x", 1))]
    said += [] if activated_at is None else [(activated_at, Activated("x"))]
    (found,) = joined(entries(*said))
    assert (found.rewards, found.counts) == ((1.0,), counts)


def test_a_decision_that_is_only_logged_does_not_count() -> None:
    assert not joined(entries((0, ranked("x", mode="LoggingOnly"))))[0].counts


def test_what_comes_shortly_before_its_decision_counts() -> None:
    rules = replace(RULES, wait_ms=200_000)
    said = (0, Rewarded("x", 7)), (61_000, Rewarded("x", 1)), (61_000, Activated("x"))
    log = entries(*said, (120_000, ranked("x", deferred=True)))
    (found,) = joined(log, rules)
    assert (found.rewards, found.counts) == ((1.0,), True)
    assert late(log, rules) == [("x", 7.0)]


def test_a_reward_of_no_decision_is_late() -> None:
    assert late(entries((0, Rewarded("y", 2)), (10, Activated("z")))) == [("y", 2.0)]


def test_of_decisions_of_one_id_the_first_counts() -> None:
    again = ranked("x", actions=(2, 1, 3))
    said = (0, ranked("x")), (500, again), (600, Rewarded("x", 1)), (1200, Rewarded("x", 2))
    log = entries(*said, (2000, again), (2100, Rewarded("x", 3)))
    assert [(e.slots[0].actions[0], e.rewards) for e in joined(log)] == [(1, (1.0,)), (2, (3.0,))]
    assert late(log) == [("x", 2.0)]


def test_slots_get_their_own_rewards_however_they_come() -> None:
    slots = Slot("top", (1, 2), (0.9, 0.1)), Slot("side", (3,), (1.0,), 3)
    made = Ranked("x", context(3, "top", "side"), slots)
    rewards = ("side", 1), ("top", 2), ("side", 3), ("", 9), ("bottom", 9)
    log = entries((0, made), *((n, Rewarded("x", v, s)) for n, (s, v) in enumerate(rewards, 1)))
    (found,) = joined(log, replace(RULES, aggregation="sum", default_reward=0.5))
    assert found.rewards == (2.0, 4.0)
    assert len(found.observed) == 5
    (found,) = joined(log[:2], replace(RULES, default_reward=0.5))
    assert found.rewards == (0.5, 1.0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"id": b"\xff", b"c": b"{}"},
        {b"id": b"x", b"value": b"nan"},
        {b"id": b"x", b"value": b"inf"},
        {b"id": b"x", b"value": b"much"},
        {b"id": b"x", b"z": b"no zlib", b"slots": b"[]"},
        {b"id": b"x", b"c": b"{}", b"slots": b"[1]"},
    ],
)
def test_what_cannot_be_read_is_told_and_stops_nothing(fields: dict[bytes, bytes]) -> None:
    good = entries((0, ranked("y")), (1, Rewarded("y", 1)))
    found = outcomes([(f"{START - 1}-0".encode(), fields), *good])
    assert isinstance(found[0], Unreadable) and found[0].why
    assert isinstance(found[1], Joined) and found[1].rewards == (1.0,)


def test_each_entry_has_one_outcome_in_the_order_of_the_log_however_it_is_read() -> None:
    log = taste(400)
    rules = replace(RULES, wait_ms=2000)
    whole, chance = outcomes(log, rules), Random(3)
    assert [each.position for each in whole] == [name.decode() for name, _ in log]
    pieces, joiner, rest = list[Outcome](), Joiner(rules), log
    while rest:
        some = chance.randrange(1, 40)
        pieces += joiner.take(rest[:some])
        rest = rest[some:]
        pieces += joiner.close(ms_of(rest[0][0].decode()) if rest else END)
    assert pieces == whole
    kinds = [sum(isinstance(each, kind) for each in whole) for kind in (Joined, Late, Passed)]
    assert all(count > 10 for count in kinds)


def test_what_is_read_again_from_anywhere_joins_as_before() -> None:
    log, rules = taste(400), replace(RULES, wait_ms=2000)
    whole = [each for each in outcomes(log, rules) if isinstance(each, Joined)]
    for position in (name.decode() for name, _ in log[::41]):
        begin = ms_of(position) - rules.reach_ms
        again = outcomes([each for each in log if ms_of(each[0].decode()) > begin], rules)
        behind = [e for e in again if isinstance(e, Joined) and order(e.position) > order(position)]
        assert behind == [e for e in whole if order(e.position) > order(position)]


def test_nothing_is_kept_for_longer_than_a_window() -> None:
    joiner, most = Joiner(RULES), 0
    for each in taste(2000, step_ms=50):
        [*joiner.take([each])]
        most = max(most, len(joiner))
    assert most < 100
    [*joiner.close(END)]
    assert len(joiner) == 0
    assert not joiner._decisions and not joiner._early
