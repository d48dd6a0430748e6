"""Who gets which list."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from batch.recommendations.engines.factors import Factors
from batch.recommendations.recommend import Crowd, recommend
from batch.recommendations.topk import popularity
from tests.batch.recommendations.test_topk import rows, scores

FACTORS = Factors(
    users=np.array([[1, 0], [0, 1], [5, 5]] * 2, np.float32),
    items=np.array([[1, 0], [0.5, 0], [0, 1], [0, 2]], np.float32),
)
SEEN = csr_matrix(np.array([[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]] * 2, np.float32))


def crowd(seen: csr_matrix, repeat: bool = False) -> Crowd:
    return Crowd(popularity(seen), repeat)


def test_strangers_get_what_is_popular_and_others_their_own() -> None:
    found = recommend(FACTORS.fitted(SEEN), crowd(SEEN), SEEN, np.array([2, 0, 1]), 2)
    # User 2 has nothing: items 0, 2 and 3 have one user in three each. By the factors of a user
    # with nothing item 3 would come first with a score of 10.
    assert rows(found) == [[0, 2], [1, 2], [0, 1]]
    assert scores(found)[0] == [pytest.approx(1 / 3)] * 2
    assert scores(found)[1:] == [[0.5, 0.0], [0.0, 0.0]]
    assert found.popular is not None
    assert found.popular.tolist() == [True, False, False]
    assert found.personal.tolist() == [False, True, True]


def test_a_user_who_has_seen_everything_is_no_stranger() -> None:
    seen = csr_matrix(np.ones((2, 4), np.float32))
    found = recommend(FACTORS.fitted(SEEN), crowd(seen), seen, np.array([0]), 2)
    assert rows(found) == [[]]
    assert (found.popular, found.personal.tolist()) == (None, [False])


def test_who_has_what_nobody_else_has_is_a_stranger_whatever_the_factors_say() -> None:
    seen = csr_matrix(
        np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    )
    factors = Factors(np.ones((5, 2), np.float32), FACTORS.items)
    found = recommend(factors.fitted(seen), crowd(seen), seen, np.arange(5), 2)
    assert found.popular is not None
    assert found.popular.tolist() == [False, False, True, True, True]
    assert rows(found)[2:] == [[0, 1], [0, 1], [0, 1]]
    assert scores(found)[2] == [pytest.approx(0.4), pytest.approx(0.2)]


def test_whom_the_fit_has_forgotten_is_a_stranger() -> None:
    """A strong penalty takes small groups of users to nothing, but never quite to zero."""
    seen = csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]))
    users = np.array([[1, 0], [0.5, 0], [1e-7, 1e-3], [0, 1e-20]], np.float32)
    found = recommend(
        Factors(users, FACTORS.items).fitted(seen), crowd(seen), seen, np.arange(4), 1
    )
    assert found.popular is not None
    assert found.popular.tolist() == [False, False, True, True]
    assert rows(found)[2:] == [[0], [0]]


def test_what_may_come_again_is_not_left_out() -> None:
    found = recommend(FACTORS.fitted(SEEN), crowd(SEEN, repeat=True), SEEN, np.array([0, 1, 2]), 2)
    assert rows(found) == [[0, 1], [3, 2], [0, 2]]
    assert found.popular is not None and found.popular.tolist() == [False, False, True]
