"""Metrics against numbers worked out by hand."""

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.recommendations.judge import evaluate as judged
from batch.recommendations.judge.catalogue import Catalogue
from batch.recommendations.judge.evaluate import (
    Part,
    Slice,
    evaluate,
    intervals,
    resample,
    resamples,
    tally,
)
from batch.recommendations.topk import BLOCK, Lists


def of_one(
    metric: Callable[[judged.Hits, judged.Counts], judged.PerUser], hits: str, relevant: int
) -> float:
    """A metric of one list, written as such: "x" is a hit and "." is none."""
    row = np.array([[entry == "x" for entry in hits]])
    (value,) = metric(row, np.array([relevant])).tolist()
    return float(value)


@pytest.mark.parametrize(
    "hits, relevant, precision, recall, average_precision",
    [
        # P = 2/4; R = 2/5; AP = (P@1 + P@3)/5 = (1/1 + 2/3)/5 = (5/3)/5 = 1/3
        ("x.x.", 5, 1 / 2, 2 / 5, 1 / 3),
        # AP = (P@2 + P@4)/2 = (1/2 + 2/4)/2 = 1/2
        (".x.x", 2, 1 / 2, 1.0, 1 / 2),
        # one hit at the last of three places: AP = (1/3)/1
        ("..x", 1, 1 / 3, 1.0, 1 / 3),
        # all hits, and nothing else is relevant
        ("xxxx", 4, 1.0, 1.0, 1.0),
        # all hits, but 8 are relevant: AP = (1 + 1 + 1 + 1)/8
        ("xxxx", 8, 1.0, 1 / 2, 1 / 2),
        # no hit
        ("....", 3, 0.0, 0.0, 0.0),
    ],
)
def test_precision_recall_and_average_precision(
    hits: str, relevant: int, precision: float, recall: float, average_precision: float
) -> None:
    assert of_one(judged.precision, hits, relevant) == pytest.approx(precision)
    assert of_one(judged.recall, hits, relevant) == pytest.approx(recall)
    assert of_one(judged.average_precision, hits, relevant) == pytest.approx(average_precision)


@pytest.mark.parametrize(
    "hits, relevant, ndcg",
    [
        # The discounts 1/log2(rank + 1) of ranks 1-4: 1, 0.63093, 1/2, 0.43068
        # DCG = 1 + 0.5; ideal of 5 relevant in 4 places = 1 + 0.63093 + 0.5 + 0.43068 = 2.56161
        ("x.x.", 5, 1.5 / 2.56161),
        # fewer relevant than places: DCG = 0.63093; ideal of 1 = 1
        (".x..", 1, 0.63093),
        # DCG = 0.63093 + 0.43068 = 1.06161; ideal of 2 = 1.63093
        (".x.x", 2, 1.06161 / 1.63093),
        ("xx..", 2, 1.0),
        ("xxxx", 9, 1.0),
        ("....", 2, 0.0),
    ],
)
def test_ndcg(hits: str, relevant: int, ndcg: float) -> None:
    assert of_one(judged.ndcg, hits, relevant) == pytest.approx(ndcg, abs=1e-5)


def lists(*rows: list[int], k: int = 3) -> Lists:
    """Lists of item indices; behind the end of a shorter one lies item 0, which must not count."""
    items = np.zeros((len(rows), k), np.int32)
    for number, row in enumerate(rows):
        items[number, : len(row)] = row
    lengths = np.array([len(row) for row in rows], np.int32)
    return Lists(items, np.zeros(items.shape, np.float32), lengths)


def fixed(all_lists: Lists) -> Callable[[NDArray[np.int64]], Lists]:
    """A model that knows its lists by heart."""
    return lambda users: Lists(
        all_lists.items[users], all_lists.scores[users], all_lists.lengths[users]
    )


def catalogue(*share: float) -> Catalogue:
    """Items that so many users have, each of which points where no other does."""
    return Catalogue(np.array(share, np.float32), np.eye(len(share), dtype=np.float32))


def test_a_small_table_by_hand() -> None:
    held_out = csr_matrix(
        np.array(
            [
                [1, 1, 0, 0, 0],  # user 0: items 0 and 1
                [0, 0, 0, 0, 0],  # user 1: nothing, so is not judged
                [1, 0, 0, 0, 1],  # user 2: items 0 and 4
                [0, 0, 1, 0, 0],  # user 3: item 2
            ],
            np.float32,
        )
    )
    recommended = lists([1, 3, 2], [2, 2, 2], [4], [3, 1, 0])
    found = evaluate(fixed(recommended), held_out, catalogue(0.5, 0.25, 0.125, 1.0, 0.0), k=3)
    # user 0: "x..", of 2; user 2: "x", a list of one, of 2 (item 0 behind its end is no hit);
    # user 3: "...", of 1
    assert found.users == 3
    assert found.precision == pytest.approx((1 / 3 + 1 / 3 + 0) / 3)
    assert found.recall == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert found.map == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert found.ndcg == pytest.approx((1 / 1.63093 + 1 / 1.63093 + 0) / 3, abs=1e-5)
    # recommended to the three: 1 3 2, 4, 3 1 0; all five items of five
    assert found.coverage == 1.0
    # .25 + 1 + .125 + 0 + 1 + .25 + .5 = 3.125, over 7 entries
    assert found.popularity == pytest.approx(3.125 / 7)
    # bits: 1, 2, 3, 0, and of the item that nobody has those of the rarest, 3
    assert found.novelty == pytest.approx((2 + 0 + 3 + 3 + 0 + 2 + 1) / 7)
    # two items of two lists (1 and 3) are 4 of 7 entries
    assert found.half == 2
    # of 1.875 in all, item 3 has more than a third by itself; nobody wanted it
    assert found.items["head"] == Part(1, 2 / 7, 0, 0.0, [0.0, 0.0])
    tail = found.items["tail"]
    assert (tail.items, tail.share, tail.users) == (4, 5 / 7, 3)
    assert tail.recall == found.recall and tail.interval == found.intervals["recall"]
    assert found.k == 3


def test_coverage_is_a_share_of_the_whole_catalogue() -> None:
    held_out = csr_matrix(np.eye(3, 8, dtype=np.float32))
    found = evaluate(fixed(lists([5, 6], [6], [5])), held_out, catalogue(*[1] * 8), k=3)
    assert found.coverage == 2 / 8
    assert found.popularity == 1.0


def test_lists_that_are_all_empty_are_worth_nothing() -> None:
    held_out = csr_matrix(np.eye(2, dtype=np.float32))
    found = evaluate(fixed(lists([], [])), held_out, catalogue(*[1] * 2), k=3)
    assert (found.ndcg, found.map, found.precision, found.recall) == (0, 0, 0, 0)
    assert (found.coverage, found.popularity) == (0, 0)


def test_a_catalogue_smaller_than_k_is_judged_at_k() -> None:
    held_out = csr_matrix(np.array([[0, 1]], np.float32))
    found = evaluate(fixed(lists([1, 0], k=2)), held_out, catalogue(*[1] * 2), k=4)
    assert found.precision == 1 / 4
    assert (found.recall, found.map, found.ndcg, found.k) == (1, 1, 1, 4)


def test_the_model_is_asked_in_blocks_and_only_for_users_who_are_judged() -> None:
    users = 2 * BLOCK + 3
    held_out = csr_matrix((np.ones(users - 1), (np.arange(1, users), [0] * (users - 1))))
    asked: list[NDArray[np.int64]] = []

    def model(block: NDArray[np.int64]) -> Lists:
        asked.append(block)
        return lists(*[[0]] * len(block), k=1)

    assert evaluate(model, held_out, catalogue(*[1] * 1), k=1).ndcg == 1.0
    assert max(map(len, asked)) == BLOCK
    assert np.concatenate(asked).tolist() == list(range(1, users))


def slow_ndcg(ranked: list[int], wanted: set[int], k: int) -> float:
    gain = sum(1 / math.log2(rank + 2) for rank, item in enumerate(ranked[:k]) if item in wanted)
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(k, len(wanted))))


def slow_average_precision(ranked: list[int], wanted: set[int], k: int) -> float:
    total = 0.0
    for rank in range(1, min(k, len(ranked)) + 1):
        if ranked[rank - 1] in wanted:
            total += len(wanted & set(ranked[:rank])) / rank
    return total / len(wanted)


@pytest.mark.parametrize("k", [1, 5, 12])
def test_the_metrics_agree_with_slow_ones_on_random_lists(k: int) -> None:
    rng = np.random.default_rng(k)
    ranked = [rng.permutation(30)[: rng.integers(0, k + 1)].tolist() for _ in range(200)]
    wanted = [set(rng.permutation(30)[: rng.integers(1, 20)].tolist()) for _ in range(200)]
    rows = [user for user, items in enumerate(wanted) for _ in items]
    columns = [item for items in wanted for item in items]
    held_out = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(200, 30))
    found = evaluate(fixed(lists(*ranked, k=k)), held_out, catalogue(*[1] * 30), k)

    def mean(metric: Callable[[list[int], set[int], int], float]) -> float:
        each = [metric(mine, theirs, k) for mine, theirs in zip(ranked, wanted, strict=True)]
        return sum(each) / len(each)

    assert found.ndcg == pytest.approx(mean(slow_ndcg))
    assert found.map == pytest.approx(mean(slow_average_precision))
    assert found.precision == pytest.approx(mean(lambda mine, good, k: len(good & {*mine}) / k))
    assert found.recall == pytest.approx(
        mean(lambda mine, good, k: len(good & {*mine}) / len(good))
    )


def bootstrap(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    return intervals(resample(values, resamples(len(values)), np.random.default_rng(seed)))


def test_the_interval_is_seeded_and_holds_the_mean() -> None:
    values = np.random.default_rng(0).random((500, 4))
    low, high = bootstrap(values, seed=1)
    assert (low < values.mean(axis=0)).all() and (values.mean(axis=0) < high).all()
    assert (bootstrap(values, seed=1) == (low, high)).all()
    assert (bootstrap(values, seed=2) != (low, high)).any()


def test_the_interval_is_as_wide_as_theory_says_and_shrinks_with_users() -> None:
    """The mean of n values of deviation s lies within 1.96 s / sqrt(n) in 95 % of all samples."""
    for users in (100, 10_000):
        values = np.random.default_rng(users).random((users, 1))
        low, high = bootstrap(values, seed=0)
        expected = 2 * 1.96 * values.std() / math.sqrt(users)
        assert float(high[0] - low[0]) == pytest.approx(expected, rel=0.15)


def test_the_interval_of_one_user_is_a_point() -> None:
    assert bootstrap(np.array([[0.25, 1.0]]), seed=0).tolist() == [[0.25, 1.0], [0.25, 1.0]]


def test_the_memory_for_many_users_is_bounded() -> None:
    """A resample is forgotten before the next; ten kept at a time would be 80 MB here."""
    values = np.zeros((1_000_000, 1))
    tracemalloc.start()
    resample(values, 10, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * values.nbytes


def test_tallies_of_parts_add_up_to_that_of_all() -> None:
    rng = np.random.default_rng(0)
    held_out = csr_matrix(rng.random((60, 9)) < 0.5)
    ranked = lists(*[rng.permutation(9)[:3].tolist() for _ in range(60)])
    had = rng.integers(0, 30, 60)

    def part(rows: slice) -> judged.Tally:
        mine = Lists(ranked.items[rows], ranked.scores[rows], ranked.lengths[rows])
        return tally(fixed(mine), held_out[rows], had[rows], catalogue(*[1] * 9), 3, 200, rng)

    whole, parts = part(slice(60)), part(slice(20)) + part(slice(20, 60))
    assert parts.users == whole.users == np.count_nonzero(np.diff(held_out.indptr))
    assert parts.sums == pytest.approx(whole.sums, abs=1e-12)
    assert parts.recommended.tolist() == whole.recommended.tolist()
    assert intervals(parts.resampled) == pytest.approx(intervals(whole.resampled), abs=0.04)


def test_users_who_had_little_are_told_from_those_who_had_much() -> None:
    """The first half of them get what was held out, the others what was not."""
    held_out = csr_matrix(np.eye(40, dtype=np.float32))
    had = np.array([0] * 5 + [4] * 15 + [5] * 15 + [100] * 5)
    found = evaluate(
        fixed(lists(*[[user if user < 20 else 0] for user in range(40)], k=1)),
        held_out,
        catalogue(*[1] * 40),
        k=1,
        had=had,
    )
    assert found.slices == {
        "0": Slice(5, 1.0, [1.0, 1.0]),
        "1-4": Slice(15, 1.0, [1.0, 1.0]),
        "5-19": Slice(15, 0.0, [0.0, 0.0]),
        "100+": Slice(5, 0.0, [0.0, 0.0]),
    }


def test_recall_is_told_of_what_is_popular_and_of_what_is_not() -> None:
    held_out = csr_matrix(
        np.array([[1, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0]], np.float32)  # item 0 is the head
    )
    found = evaluate(
        fixed(lists([0, 1], [3, 2], [0, 2], k=2)), held_out, catalogue(0.9, 0.1, 0.1, 0.1), k=2
    ).items
    assert (found["head"].users, found["head"].recall) == (2, (1 + 0) / 2)
    assert (found["tail"].users, found["tail"].recall) == (3, (1 / 2 + 1 + 0) / 3)
    assert (found["head"].share, found["tail"].share) == (2 / 6, 4 / 6)
    assert found["tail"].interval[0] < found["tail"].recall < found["tail"].interval[1]


def test_two_items_for_nearly_everybody_are_seen_where_coverage_is_full() -> None:
    shown = [[0, 1]] * 90 + [[2 + item, 3 + item] for item in range(0, 20, 2)]
    found = evaluate(
        fixed(lists(*shown, k=2)), csr_matrix(np.ones((100, 22))), catalogue(*[1] * 22), k=2
    )
    assert (found.coverage, found.half) == (1.0, 2)


def test_the_intervals_belong_to_their_metrics() -> None:
    held_out = csr_matrix(np.eye(50, dtype=np.float32))
    found = evaluate(
        fixed(lists(*[[user if user % 2 else 0] for user in range(50)], k=2)),
        held_out,
        catalogue(*[1] * 50),
        k=2,
    )
    assert found.intervals.keys() == {"ndcg", "map", "precision", "recall"}
    for name, (low, high) in found.intervals.items():
        assert low < getattr(found, name) < high
    assert found.intervals["precision"][1] < found.intervals["recall"][0]
