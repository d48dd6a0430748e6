"""What a cluster holds out: by time what one machine does, at random as much of each group."""

from collections import Counter
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from batch.errors import BadSettings
from batch.interactions.pairs import Interactions
from batch.recommendations.cluster.split import check_both, hold_out
from batch.recommendations.judge import split
from batch.recommendations.terms import Holdout
from tests.batch.pairs import interactions, pairs
from tests.spark.frames import numbered_frame

DAY = 86_400.0
SIZES = [1, 2, 3, 4, 5, 6, 7, 10, 30]


@pytest.fixture
def made() -> Interactions:
    """Users of all sizes; the items of each come in an order of their own, some at once."""
    given = [(user, item) for user, size in enumerate(SIZES) for item in range(size)]
    return interactions(given, [float((7 * item + user) % 5) for user, item in given])


def held_out(frame: DataFrame, *how: Any) -> list[tuple[int, int]]:
    found = hold_out(frame, Holdout(*how)).where("held_out").select("user", "item").collect()
    return sorted(tuple(row) for row in found)


@pytest.mark.parametrize("share", [0.2, 0.25, 0.5, 0.99])
def test_by_time_the_same_pairs_are_held_out_as_on_one_machine(
    spark: SparkSession, made: Interactions, share: float
) -> None:
    expected = pairs(split.hold_out(made, Holdout("chronological", share))[1])
    assert held_out(numbered_frame(spark, made), "chronological", share) == expected


def test_after_a_date_the_same_pairs_are_held_out_as_on_one_machine(
    spark: SparkSession, made: Interactions
) -> None:
    expected = pairs(split.hold_out(made, Holdout(after=3.0))[1])
    assert 0 < len(expected) < len(made)
    assert held_out(numbered_frame(spark, made), "random", 0.2, 3.0) == expected


@pytest.mark.parametrize("share", [0.25, 0.5, 0.99])
@pytest.mark.parametrize("rule, group", [("random", 0), ("stratified", 1)])
def test_at_random_each_user_or_item_loses_as_many_as_on_one_machine(
    spark: SparkSession, made: Interactions, rule: str, group: int, share: float
) -> None:
    expected = pairs(split.hold_out(made, Holdout(rule, share))[1])
    found = held_out(numbered_frame(spark, made), rule, share)
    assert Counter(pair[group] for pair in found) == Counter(pair[group] for pair in expected)
    assert set(found) < set(pairs(made))


def test_all_pairs_stay_on_one_side_or_the_other(spark: SparkSession, made: Interactions) -> None:
    marked = hold_out(numbered_frame(spark, made), Holdout("random", 0.5)).collect()
    assert sorted((row["user"], row["item"]) for row in marked) == pairs(made)
    assert made.timestamp is not None
    weights = {(row["user"], row["item"]): (row["weight"], row["timestamp"]) for row in marked}
    expected = zip(pairs(made), zip(made.weight.tolist(), made.timestamp.tolist()))
    assert weights == dict(expected)


@pytest.mark.parametrize("rule", ["random", "stratified"])
def test_the_same_seed_draws_the_same_pairs_wherever_they_are_and_another_seed_others(
    spark: SparkSession, made: Interactions, rule: str
) -> None:
    frame = numbered_frame(spark, made)
    moved = frame.orderBy("weight", "item", ascending=False).repartition(5)
    one, again, other = (
        held_out(frame, rule, 0.5, None, 1),
        held_out(moved, rule, 0.5, None, 1),
        held_out(frame, rule, 0.5, None, 2),
    )
    assert one == again
    assert one != other


def test_what_is_drawn_of_a_user_says_nothing_of_another(spark: SparkSession) -> None:
    """All have the same items, and not the same of them are held out, nor the last ones."""
    everyone = interactions([(user, item) for user in range(50) for item in range(10)])
    found = held_out(numbered_frame(spark, everyone), "random", 0.2)
    drawn = Counter(item for _, item in found)
    assert set(drawn) == set(range(10))
    assert max(drawn.values()) < 25


@pytest.mark.parametrize(
    "how",
    [
        ("chronological", 0.2),
        ("random", 0.2, 5.0),
        ("random", 0.0),
        ("stratified", 1.0),
        ("random", float("nan")),
    ],
    ids=["no timestamps", "no timestamps for a date", "none", "all", "no number"],
)
def test_a_rule_that_does_not_fit_is_refused_in_the_words_of_one_machine(
    spark: SparkSession, how: tuple[Any, ...]
) -> None:
    bare = interactions([(0, 0), (0, 1)])
    holdout = Holdout(*how)
    with pytest.raises(BadSettings) as expected:
        split.hold_out(bare, holdout)
    with pytest.raises(BadSettings) as found:
        hold_out(numbered_frame(spark, bare), holdout)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    "times, how",
    [
        (True, ("random", 0.2, 0.0)),
        (True, ("random", 0.2, 10 * DAY)),
        (True, ("chronological", 0.4)),
        (False, ("random", 0.4)),
    ],
    ids=["too early", "too late", "one pair each, by time", "one pair each"],
)
def test_a_split_that_leaves_one_side_empty_is_refused_in_the_words_of_one_machine(
    spark: SparkSession, times: bool, how: tuple[Any, ...]
) -> None:
    made = interactions([(0, 0), (1, 1)], [DAY, 2.5 * DAY] if times else None)
    holdout, frame = Holdout(*how), numbered_frame(spark, made)
    with pytest.raises(BadSettings) as expected:
        split.hold_out(made, holdout)
    with pytest.raises(BadSettings) as found:
        check_both(hold_out(frame, holdout), holdout)
    assert str(found.value) == str(expected.value)


def test_a_split_with_both_sides_is_let_pass(spark: SparkSession, made: Interactions) -> None:
    check_both(hold_out(numbered_frame(spark, made), Holdout()), Holdout())


def test_times_of_two_days_end_up_on_both_sides_of_midnight(spark: SparkSession) -> None:
    made = interactions([(0, 0), (0, 1), (1, 0)], [DAY - 1, DAY, DAY + 1])
    assert held_out(numbered_frame(spark, made), "random", 0.2, DAY) == [(0, 1), (1, 0)]
