"""The lists that are served, against brute force."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.recommendations import topk
from batch.recommendations.topk import Lists, best_unseen, most_popular

Floats = NDArray[np.float32]


def rows(lists: Lists) -> list[list[int]]:
    return [
        items[:length].tolist() for items, length in zip(lists.items, lists.lengths, strict=True)
    ]


def scores(lists: Lists) -> list[list[float]]:
    return [row[:length].tolist() for row, length in zip(lists.scores, lists.lengths, strict=True)]


def random_model(
    users: int, items: int, factors: int = 8, seen_share: float = 0.3, seed: int = 0
) -> tuple[Floats, Floats, csr_matrix]:
    rng = np.random.default_rng(seed)
    seen = csr_matrix((rng.random((users, items)) < seen_share).astype(np.float32))
    return (
        rng.normal(size=(users, factors)).astype(np.float32),
        rng.normal(size=(items, factors)).astype(np.float32),
        seen,
    )


def nothing(users: int, items: int) -> csr_matrix:
    return csr_matrix(np.zeros((users, items), np.float32))


def ones(rows: int, columns: int = 1) -> Floats:
    return np.ones((rows, columns), np.float32)


def test_what_was_seen_never_returns_however_little_it_weighs() -> None:
    """The entries of `seen` count whatever their value, a stored zero included."""
    seen = csr_matrix(
        (np.array([1e-30, 0.0, -1.0], np.float32), ([0, 0, 0], [0, 1, 2])), shape=(1, 5)
    )
    found = best_unseen(ones(1), ones(5), seen, 5)
    assert rows(found) == [[3, 4]]


def test_fewer_unseen_items_than_k_give_a_shorter_list_without_sentinels() -> None:
    seen = csr_matrix(np.array([[1, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]], np.float32))
    item_factors = np.array([[4], [3], [2], [1]], np.float32)
    found = best_unseen(ones(3), item_factors, seen, 3)
    assert rows(found) == [[2], [], [0, 1, 2]]
    assert scores(found) == [[2.0], [], [4.0, 3.0, 2.0]]
    assert found.filled.tolist() == [[True, False, False], [False] * 3, [True] * 3]


def test_k_beyond_the_catalogue_gives_the_catalogue() -> None:
    found = best_unseen(ones(2), np.array([[1], [2]], np.float32), nothing(2, 2), 1000)
    assert rows(found) == [[1, 0], [1, 0]]


def test_nobody_and_nothing_give_no_lists() -> None:
    assert rows(best_unseen(ones(0, 2), ones(3, 2), nothing(0, 3), 5)) == []
    assert rows(best_unseen(ones(2, 2), ones(0, 2), nothing(2, 0), 5)) == [
        [],
        [],
    ]


def test_negative_scores_are_scores() -> None:
    """Only what was seen is left out; a bad item still comes before none."""
    found = best_unseen(
        ones(1),
        np.array([[-1], [-3e38], [-2]], np.float32),
        csr_matrix(np.array([[1, 0, 0]], np.float32)),
        3,
    )
    assert rows(found) == [[2, 1]]


def test_equal_scores_are_in_the_order_of_the_items() -> None:
    tied = np.array([[1], [2], [1], [2], [1]], np.float32)
    found = best_unseen(ones(1), tied, nothing(1, 5), 5)
    assert rows(found) == [[1, 3, 0, 2, 4]]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_same_of_many_tied_items_get_in_whatever_the_threads(threads: int) -> None:
    rng = np.random.default_rng(1)
    tied = rng.integers(0, 3, size=(500, 1)).astype(np.float32)
    seen = csr_matrix((rng.random((1000, 500)) < 0.1).astype(np.float32))
    expected, found = (best_unseen(ones(1000), tied, seen, 10, n) for n in (0, threads))
    assert rows(found) == rows(expected)
    for mine, theirs in zip(rows(found), scores(found), strict=True):
        assert theirs == [2.0] * 10
        assert mine == sorted(mine)


def test_memory_is_that_of_the_lists_and_not_of_all_scores() -> None:
    """8,000 users x 3,000 items would be 96 MB of scores at once."""
    user_factors, item_factors, _ = random_model(8_000, 3_000, seen_share=0)
    seen = csr_matrix((ones(1)[0], ([0], [0])), shape=(8_000, 3_000))

    def peak(users: int) -> int:
        tracemalloc.start()
        best_unseen(user_factors[:users], item_factors, seen[:users], 10)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    list_bytes = 10 * (4 + 4)
    working_copies = 6  # lexsort's order, the sorted copies, the negated scores
    assert peak(8_000) - peak(4_000) < 4_000 * list_bytes * working_copies


SEEN = csr_matrix(np.array([[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]] * 2, np.float32))


def test_popularity_is_the_share_of_users() -> None:
    assert topk.popularity(SEEN).tolist() == [
        pytest.approx(1 / 3),
        0.0,
        *[pytest.approx(1 / 3)] * 2,
    ]
    assert topk.popularity(nothing(0, 2)).tolist() == [0.0, 0.0]


def test_most_popular_counts_users_and_not_weights_and_leaves_out_what_was_seen() -> None:
    seen = csr_matrix(np.array([[9, 1, 0], [0, 1, 1], [0, 1, 1]], np.float32))
    found = most_popular(topk.popularity(seen), seen, 3)
    assert rows(found) == [[2], [0], [0]]
    assert rows(most_popular(topk.popularity(seen), nothing(1, 3), 3)) == [[1, 2, 0]]


def test_popular_items_with_no_users_still_fill_the_list() -> None:
    share = np.array([0, 0.5, 0], np.float32)
    assert rows(most_popular(share, nothing(1, 3), 3)) == [[1, 0, 2]]
