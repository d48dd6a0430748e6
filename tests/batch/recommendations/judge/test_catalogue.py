"""What lists are measured by beside hits, against numbers worked out by hand."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from batch.recommendations.judge.catalogue import Catalogue, directions
from batch.recommendations.topk import Lists
from tests.batch.recommendations.judge.test_evaluate import catalogue, lists


@pytest.mark.parametrize(
    "counts, head",
    [
        ([1, 5, 2, 2], [1]),  # it has half
        ([2, 3, 3, 2], [1, 2]),  # one alone has 30 %
        ([4, 4, 4], [0]),  # a third is more than 33 %; the first of equals
        ([0, 0, 7], [2]),
        ([0, 0], []),
    ],
)
def test_the_head_is_the_fewest_items_that_have_a_third(counts: list[int], head: list[int]) -> None:
    short, tail = catalogue(*(count / 8 for count in counts)).parts
    assert np.flatnonzero(short).tolist() == head
    assert (tail == ~short).all()


def test_an_item_is_as_new_as_few_have_it() -> None:
    assert catalogue(0.5, 0.125, 0, 1).novelty.tolist() == [1, 3, 3, 0]
    assert catalogue(0, 0).novelty.tolist() == [0, 0]


def test_a_list_is_as_diverse_as_its_pairs() -> None:
    """Items 0 and 1 point the same way, 2 across, 3 against them, and nobody has item 4."""
    known = Catalogue(
        np.array([1, 1, 1, 1, 0], np.float32),
        np.array([[1, 0], [1, 0], [0, 1], [-1, 0], [0, 0]], np.float32),
    )
    pairs, found = known.diversity(lists([0, 1], [0, 1, 2], [0, 3], [2, 4, 3], [4, 0], [2], []))
    assert pairs.tolist() == [True, True, True, True, False, False, False]
    assert found == pytest.approx([0, 2 / 3, 2, 1, 0, 0, 0])


def tasted(seed: int) -> csr_matrix:
    """Weights of 500 users of three tastes; two items of sixty nobody has."""
    rng = np.random.default_rng(seed)
    like = np.where(rng.integers(0, 3, (500, 1)) == np.arange(60) % 3, 0.4, 0.1)
    return csr_matrix((rng.random((500, 60)) < like * (np.arange(60) < 58)) * rng.random((500, 60)))


@pytest.mark.parametrize("seed", range(3))
def test_the_projection_is_near_the_cosine_of_who_has_the_items(seed: int) -> None:
    seen, rng = tasted(seed), np.random.default_rng(seed)
    has = (seen.toarray() > 0).astype(float)
    unit = has / np.maximum(np.linalg.norm(has, axis=0), 1e-9)
    shown = rng.permuted(np.tile(np.arange(58), (200, 1)), axis=1)[:, :10]
    shown[:100] = 3 * rng.permuted(np.tile(np.arange(19), (100, 1)), axis=1)[:, :10]  # one taste
    exact = [1 - (unit[:, row].T @ unit[:, row])[np.triu_indices(10, 1)].mean() for row in shown]
    lengths = np.full(200, 10, np.int32)
    made = Lists(shown.astype(np.int32), np.zeros(shown.shape, np.float32), lengths)
    _, found = Catalogue.of(seen).diversity(made)
    assert np.mean(exact[:100]) < np.mean(exact[100:]) - 0.05
    assert found[:100].mean() == pytest.approx(np.mean(exact[:100]), abs=0.03)
    assert found[100:].mean() == pytest.approx(np.mean(exact[100:]), abs=0.03)


def test_blocks_of_items_are_projected_like_all_of_them() -> None:
    seen = tasted(0)
    whole = directions(seen.T)
    columns = csr_matrix(seen.T)
    parts = [directions(columns[first:last]) for first, last in ((0, 1), (1, 30), (30, 60))]
    assert (np.concatenate(parts) == whole).all()
    assert whole.shape == (60, 65)
    assert np.linalg.norm(whole, axis=1) == pytest.approx([1.0] * 58 + [0.0] * 2)
