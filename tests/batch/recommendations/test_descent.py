"""The best items in order of falling norm, against all products in double precision."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.recommendations import descent
from batch.recommendations.descent import Falling
from batch.recommendations.topk import Lists, best_scored, best_unseen
from tests.batch.recommendations.test_topk import nothing, random_model, rows, scores

Floats = NDArray[np.float32]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few users and products at a time that hundreds of items take many steps."""
    monkeypatch.setattr(descent, "_USERS", 40)
    monkeypatch.setattr(descent, "_PRODUCTS", 1000)


def shaped(shape: str, factors: int) -> tuple[Floats, Floats, csr_matrix]:
    """100 users, 400 items whose norms or scores are alike, far apart, equal, or nothing."""
    users, items, seen = random_model(100, 400, factors, seed=factors)
    rng = np.random.default_rng(factors)
    if shape == "skewed":
        items *= rng.lognormal(sigma=1.5, size=(400, 1)).astype(np.float32)
    if shape == "flat":
        items /= np.linalg.norm(items, axis=1, keepdims=True)
    if shape == "tied":
        users, items = np.rint(users), np.rint(items)
    if shape == "close":  # no float32 product tells which of a hundred is best
        items = np.repeat(items[:4], 100, axis=0)
        items *= 1 + rng.integers(-3, 4, items.shape).astype(np.float32) * np.float32(2**-23)
    if shape == "zero":
        users[rng.integers(0, 100, 30)] = 0
        items[rng.integers(0, 400, 350)] = 0
    if shape == "negative":
        users, items = np.abs(users), -np.abs(items)
    return users, items, seen


def brute_force(
    users: Floats, items: Floats, seen: csr_matrix, k: int
) -> tuple[list[list[int]], list[list[float]]]:
    """The k best of all products; of equal scores the lowest index comes first and gets in."""
    products = np.einsum("uf,if->ui", users.astype(np.float64), items.astype(np.float64))
    rounded = np.where(seen.toarray() > 0, -np.inf, products.astype(np.float32))
    found = np.argsort(-rounded, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(rounded, found, axis=1)
    return (
        [row[top > -np.inf].tolist() for row, top in zip(found, best, strict=True)],
        [top[top > -np.inf].tolist() for top in best],
    )


@pytest.mark.parametrize("k", [1, 10, 350])
@pytest.mark.parametrize("factors", [1, 5, 128])
@pytest.mark.parametrize("shape", ["random", "skewed", "flat", "tied", "close", "zero", "negative"])
def test_lists_are_those_of_all_products(narrow: None, shape: str, factors: int, k: int) -> None:
    model = shaped(shape, factors)
    found = best_unseen(*model, k)
    expected_items, expected_scores = brute_force(*model, k)
    assert rows(found) == expected_items
    assert scores(found) == expected_scores


@pytest.mark.parametrize("shape", ["skewed", "close", "zero"])
def test_lists_are_the_same_bytes_whatever_is_beside_them(narrow: None, shape: str) -> None:
    users, items, seen = shaped(shape, 40)
    order = np.random.default_rng(0).permutation(100)
    together = best_unseen(users, Falling.of(items), seen, 10, threads=1)
    mixed = best_unseen(users[order], items, seen[order], 10, threads=3)
    assert contents(mixed) == contents(together.rows(order))


@pytest.mark.parametrize("shape", ["random", "tied", "negative"])
@pytest.mark.parametrize("k", [1, 10, 350])
def test_lists_of_known_scores_are_their_best_above_zero(shape: str, k: int) -> None:
    users, items, seen = shaped(shape, 5)
    expected_items, expected_scores = brute_force(users, items, seen, k)
    found = best_scored((users.astype(np.float64) @ items.T).astype(np.float32), seen, k)
    above = [[score for score in row if score > 0] for row in expected_scores]
    assert scores(found) == above
    assert rows(found) == [
        row[: len(best)] for row, best in zip(expected_items, above, strict=True)
    ]


def contents(lists: Lists) -> list[bytes]:
    return [lists.items.tobytes(), lists.scores.tobytes(), lists.lengths.tobytes()]


def test_products_that_cannot_matter_are_not_made(narrow: None) -> None:
    users, items, seen = shaped("skewed", 5)
    falling = Falling.of(items)
    expected = best_unseen(users, falling, seen, 10)
    tempting = items.copy()
    tempting[falling.order[200:]] *= 1e6
    found = best_unseen(users, replace(falling, factors=tempting), seen, 10)
    assert contents(found) == contents(expected)


def test_factors_beyond_all_measure_still_give_lists() -> None:
    huge = np.array([[1e30, 1e30], [-1e30, -1e30], [1, 1]], np.float32)
    found = best_unseen(huge[:1], huge, nothing(1, 3), 3)
    assert rows(found) == [[0, 2]]


def test_scores_that_vanish_are_equal() -> None:
    tiny = np.array([[-1e-30], [1e-30]], np.float32)
    found = best_unseen(tiny[1:], tiny, nothing(1, 2), 2)
    assert rows(found) == [[0, 1]]
