"""The neighbours of items, against all products in double precision."""

import tracemalloc
from functools import reduce

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.recommendations import descent, similar
from batch.recommendations.descent import Indices, Keys
from batch.recommendations.similar import Company, most_similar, unit_rows
from tests.batch.recommendations.test_topk import random_model, rows, scores

Floats = NDArray[np.float32]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cones and blocks so small that hundreds of items make many of them."""
    monkeypatch.setattr(similar, "CONE", 16)
    monkeypatch.setattr(similar, "_OTHERS_AT_A_TIME", 32)


def tastes(items: int, factors: int, seed: int = 0) -> Floats:
    """Items of twenty tastes, some of them twins, some opposite, some of no taste at all."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(20, factors))
    made = middles[rng.integers(0, 20, items)] + 0.3 * rng.normal(size=(items, factors))
    made[rng.integers(0, items, items // 4)] = made[rng.integers(0, items, items // 4)]
    made[rng.integers(0, items, items // 20)] *= -1
    made[rng.integers(0, items, items // 20)] = 0
    return unit_rows(made.astype(np.float32))


def brute_force(unit: Floats, k: int) -> tuple[list[list[int]], list[list[float]]]:
    """The k best of all products; of equal scores the lowest index comes first and gets in."""
    double = unit.astype(np.float64)
    products = np.einsum("if,jf->ij", double, double).astype(np.float32)
    np.fill_diagonal(products, -1)
    found = np.argsort(-products, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(products, found, axis=1)
    return (
        [row[top > 0].tolist() for row, top in zip(found, best, strict=True)],
        [top[top > 0].tolist() for top in best],
    )


@pytest.mark.parametrize("factors", [1, 3, 40, 128])
@pytest.mark.parametrize("k", [1, 10, 100, 1000])
def test_lists_are_those_of_all_products_ties_included(narrow: None, factors: int, k: int) -> None:
    unit = tastes(700, factors)
    found = most_similar(unit, np.arange(700), k)
    expected_items, expected_scores = brute_force(unit, k)
    assert rows(found) == expected_items
    assert scores(found) == expected_scores


def test_vectors_that_no_bound_parts_have_the_same_lists(narrow: None) -> None:
    _, factors, _ = random_model(1, 500, factors=64)
    unit = unit_rows(factors)
    assert rows(most_similar(unit, np.arange(500), 10)) == brute_force(unit, 10)[0]


def test_a_thousand_items_of_one_direction_are_in_the_order_of_their_indices(
    narrow: None,
) -> None:
    unit = unit_rows(np.ones((1000, 8), np.float32) * np.float32(0.1))
    found = rows(most_similar(unit, np.arange(1000), 3))
    assert found[:4] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert found[4:] == [[0, 1, 2]] * 996


def test_a_part_of_the_items_has_the_lists_that_all_have(narrow: None) -> None:
    unit = tastes(600, 16)
    chosen = np.random.default_rng(2).permutation(600)[:250]
    together = rows(most_similar(unit, np.arange(600), 10))
    assert rows(most_similar(unit, chosen, 10)) == [together[item] for item in chosen.tolist()]


def test_most_products_are_never_made(narrow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty tastes at right angles: a cone meets its own and, at the most, its neighbour."""
    rng = np.random.default_rng(3)
    made = np.repeat(np.eye(20), 100, axis=0) + 0.02 * rng.normal(size=(2000, 20))
    unit = unit_rows(made.astype(np.float32))
    asked = 0
    merged = descent.merged

    def counted(best: Keys, places: Indices, found: Keys) -> Keys:
        nonlocal asked
        asked += len(best) * similar._OTHERS_AT_A_TIME
        return merged(best, places, found)

    monkeypatch.setattr(similar, "merged", counted)
    assert rows(most_similar(unit, np.arange(2000), 10)) == brute_force(unit, 10)[0]
    assert asked < 0.25 * 2000 * 2000


def test_memory_is_that_of_some_items_and_not_of_all_products() -> None:
    """6,000 x 6,000 products would be 144 MB."""
    unit = tastes(6000, 8)
    tracemalloc.start()
    most_similar(unit, np.arange(6000), 10, threads=1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40e6


@pytest.mark.parametrize("expected", [[], [[]], [[1], [0]]])
def test_few_items_have_few_neighbours(expected: list[list[int]]) -> None:
    items = len(expected)
    unit = unit_rows(np.ones((items, 2), np.float32))
    assert rows(most_similar(unit, np.arange(items), 10)) == expected


def test_an_item_is_never_similar_to_itself_and_only_what_is_alike_is() -> None:
    unit = unit_rows(np.array([[2, 0], [3, 0.1], [0, 1], [-1, 0], [0, 0]], np.float32))
    found = most_similar(unit, np.arange(5), 4)
    # 0 and 1 are nearly parallel; 2 is at right angles to 0, a little towards 1; 3 is opposite;
    # 4 has no direction
    assert rows(found) == [[1], [0, 2], [1], [], []]
    assert all(0 < score <= 1 for row in scores(found) for score in row[:1])


def test_an_item_of_whose_neighbours_nothing_is_known_points_nowhere() -> None:
    """Items 0 and 1 are a user's, 2 is all that another has, and the fit has forgotten 3 and 4."""
    seen = csr_matrix(np.array([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1]], np.float32))
    users = np.array([[2, 0], [0, 1], [0, 1e-9]], np.float32)
    items = np.array([[1, 0], [0.5, 0.1], [0.9, 0.1], [1e-6, 0], [0, 4e-3]], np.float32)
    for parts in (1, 3):
        bounds = range(0, 3, 3 // parts)
        told = [Company.of(users[n : n + 3 // parts], seen[n : n + 3 // parts]) for n in bounds]
        unit = reduce(Company.add, told).directions(items)
        assert np.flatnonzero(unit.any(axis=1)).tolist() == [0, 1]
        assert rows(most_similar(unit, np.arange(5), 10)) == [[1], [0], [], [], []]
    nobody = Company.of(users[:0], seen[:0])
    assert (nobody.told.tolist(), nobody.reach) == ([False] * 5, 0)


def test_only_those_who_have_several_items_tell_of_neighbours() -> None:
    seen = csr_matrix(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]], np.float32))
    company = Company.of(np.ones((4, 2), np.float32), seen)
    assert company.told.tolist() == [True, True, False]


def test_twins_find_each_other_however_long_they_are() -> None:
    _, factors, _ = random_model(1, 120, factors=6)
    factors[7] = 3 * factors[60]
    assert rows(most_similar(unit_rows(factors), np.array([7, 60]), 1)) == [[60], [7]]


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1.0, 1e25, 1e38])
def test_a_row_has_length_one_however_small_or_large_it_was(scale: float) -> None:
    """The squares of such numbers are 0 or infinite in float32."""
    unit = unit_rows(np.array([[0.3, 0.4], [0.0, 0.0]], np.float32) * np.float32(scale))
    assert unit.dtype == np.float32
    assert unit == pytest.approx(np.array([[0.6, 0.8], [0, 0]]), abs=1e-5)
