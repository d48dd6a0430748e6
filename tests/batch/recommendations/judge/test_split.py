"""What is held out, on interactions made by hand."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from batch.errors import BadSettings
from batch.interactions.pairs import Interactions
from batch.recommendations.judge.split import Split, hold_out
from batch.recommendations.terms import RULES, Holdout
from tests.batch.pairs import interactions, pairs

TEN_BY_TEN = [(user, item) for user in range(10) for item in range(10)]
DAY = 86_400.0


def apply(rule: str, made: Interactions, share: float = 0.2, seed: int = 42) -> Split:
    return hold_out(made, Holdout(rule, share, seed=seed))


def timed(given: list[tuple[int, int]]) -> Interactions:
    """Times that run against the order of the items."""
    return interactions(given, [1000.0 - item for _, item in given])


@pytest.mark.parametrize("rule", RULES)
def test_the_two_sides_are_disjoint_and_complete(rule: str) -> None:
    made = timed(TEN_BY_TEN)
    train, held_out = apply(rule, made)
    assert not set(pairs(train)) & set(pairs(held_out))
    assert sorted(pairs(train) + pairs(held_out)) == TEN_BY_TEN


@pytest.mark.parametrize("rule", RULES)
def test_each_side_keeps_its_order_its_weights_and_the_ids_of_both(rule: str) -> None:
    made = timed(TEN_BY_TEN)
    weights = np.arange(1, 101, dtype=np.float32)
    made = Interactions(
        made.users, made.items, made.user, made.item, weights, made.timestamp, made.report
    )
    for side in apply(rule, made):
        assert pairs(side) == sorted(pairs(side))
        assert (side.users, side.items) == (made.users, made.items)
        assert side.weight.tolist() == [10 * user + item + 1 for user, item in pairs(side)]
        assert side.timestamp is not None
        assert side.timestamp.tolist() == [1000.0 - item for _, item in pairs(side)]


@pytest.mark.parametrize(
    "share, sizes",
    [
        # round(size * (1 - share)) stay, halves to the even number, and never none
        (0.2, {1: 0, 2: 0, 3: 1, 4: 1, 5: 1, 7: 1, 8: 2, 10: 2}),
        (0.25, {1: 0, 2: 0, 3: 1, 4: 1, 5: 1, 6: 2, 10: 2}),  # 1.5 -> 2 and 4.5 -> 4 and 7.5 -> 8
        (0.5, {1: 0, 2: 1, 3: 1, 4: 2, 5: 3}),  # 1.5 -> 2 and 2.5 -> 2 stay
        (0.99, {1: 0, 2: 1, 3: 2, 10: 9}),
        (0.001, {1: 0, 10: 0, 1000: 1}),
    ],
)
def test_the_share_of_each_user_is_rounded_and_one_always_stays(
    share: float, sizes: dict[int, int]
) -> None:
    made = timed([(n, item) for n, size in enumerate(sizes) for item in range(size)])
    for _, held_out in (apply("random", made, share, 1), apply("chronological", made, share)):
        found = Counter(held_out.user.tolist())
        assert [found[n] for n in range(len(sizes))] == list(sizes.values())


def test_random_takes_from_each_user_and_stratified_from_each_item() -> None:
    lopsided = [(user, item) for user in range(20) for item in range(5)]
    by_user = apply("random", interactions(lopsided), 0.2, 3)[1]
    by_item = apply("stratified", interactions(lopsided), 0.2, 3)[1]
    assert Counter(by_user.user.tolist()) == {user: 1 for user in range(20)}
    assert Counter(by_item.item.tolist()) == {item: 4 for item in range(5)}
    assert len(set(Counter(by_item.user.tolist()).values())) > 1, "it was not drawn by item"


def test_stratified_leaves_an_item_that_only_one_user_has_in_train() -> None:
    train, held_out = apply("stratified", interactions([(0, 0), (1, 1), (2, 1)]), 0.5, 0)
    assert (0, 0) in pairs(train)
    assert Counter(held_out.item.tolist()) == {1: 1}


def test_chronological_holds_out_the_latest() -> None:
    made = interactions([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)], [30, 10, 20, 1, 2])
    _, held_out = apply("chronological", made, 0.4)  # round(1.8) = 2 and round(1.2) = 1 stay
    assert pairs(held_out) == [(0, 0), (1, 1)]


def test_at_equal_times_the_items_of_higher_index_are_held_out() -> None:
    made = interactions([(0, item) for item in range(5)], [7, 7, 7, 7, 1])
    assert pairs(apply("chronological", made, 0.4)[1]) == [(0, 2), (0, 3)]


def test_after_a_moment_everything_from_it_on_is_held_out() -> None:
    made = interactions([(0, 0), (0, 1), (1, 0)], [DAY - 1, DAY, DAY + 1])
    train, held_out = hold_out(made, Holdout(after=DAY))
    assert pairs(train) == [(0, 0)]
    assert pairs(held_out) == [(0, 1), (1, 0)], "user 1 is a stranger to train, and that is so"


@pytest.mark.parametrize("moment", [0.0, 10 * DAY])
def test_a_moment_that_leaves_one_side_empty_says_when_the_data_are_from(moment: float) -> None:
    made = interactions([(0, 0), (0, 1)], [DAY, 2 * DAY])
    with pytest.raises(BadSettings, match="--after leaves [02] interactions to train on") as caught:
        hold_out(made, Holdout(after=moment))
    assert "from 1970-01-02T00:00:00Z to 1970-01-03T00:00:00Z" in str(caught.value)


def test_data_from_before_the_calendar_begins_can_be_told() -> None:
    made = interactions([(0, 0), (0, 1)], [-9e10, -8e10])
    with pytest.raises(BadSettings, match="--after leaves"):
        hold_out(made, Holdout(after=0.0))


@pytest.mark.parametrize("rule", RULES)
def test_users_and_items_with_one_interaction_leave_nothing_to_judge(rule: str) -> None:
    made = timed([(0, 0), (1, 1), (2, 2)])
    with pytest.raises(BadSettings, match="--holdout 0 --force"):
        apply(rule, made, 0.5)


@pytest.mark.parametrize("holdout", [Holdout("chronological"), Holdout(after=DAY)])
def test_a_split_by_time_without_timestamps_names_the_option(holdout: Holdout) -> None:
    with pytest.raises(BadSettings, match="--timestamp-column"):
        hold_out(interactions(TEN_BY_TEN), holdout)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(rule: str, share: float) -> None:
    with pytest.raises(BadSettings, match="--holdout must lie between 0 and 1"):
        apply(rule, timed(TEN_BY_TEN), share)


@pytest.mark.parametrize("rule", ["random", "stratified"])
def test_the_same_seed_splits_the_same_and_another_differently(rule: str) -> None:
    made = interactions(TEN_BY_TEN)
    first, again, other = (pairs(apply(rule, made, seed=seed)[1]) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    "rule, digest",
    [
        ("random", "25b085645559559d9093c09db7edeba1679b6aba4e98f29cb3a1e5298dbbfe9d"),
        ("stratified", "443b28891358984cf3e33c5204f893af3cb0c3bb9a1fc21127747952698c1a30"),
        ("chronological", "2dd0aa6731f2abbf3c9cba58854cb2eebe6d14976f6f75f0ff77789416fdf27b"),
    ],
)
def test_the_split_of_a_seed_never_changes(rule: str, digest: str) -> None:
    """Frozen: a new numpy or a new version of ours must not change what yesterday was measured."""
    made = timed([(user, item) for user in range(100) for item in range(user % 30 + 1)])
    held_out = apply(rule, made)[1]
    assert hashlib.sha256(np.array(pairs(held_out), "<i4").tobytes()).hexdigest() == digest
