"""Neighbours that a cluster finds are those that one machine finds."""

from contextlib import ExitStack

import numpy as np
import pytest
from pyspark.sql import SparkSession
from scipy.sparse import csr_matrix

from batch.recommendations.cluster.knn import SlicedKNN
from batch.recommendations.engines.knn import ItemKNN, NeighbourScorer
from tests.spark.frames import sparse, view_of

USERS, ITEMS = 61, 23


def similarities(
    spark: SparkSession, knn: SlicedKNN, weights: csr_matrix, blocks: int
) -> csr_matrix:
    with ExitStack() as stack:
        scorer = knn.fit(view_of(spark, weights, blocks, stack), lambda done: None, stack).scorer
    assert isinstance(scorer, NeighbourScorer)
    return scorer.similarities


@pytest.mark.parametrize(
    "weighting, blocks, cells",
    [("cosine", 1, 2**24), *((each, 3, 5 * ITEMS) for each in ("cosine", "tfidf", "bm25"))],
)
def test_the_similarities_are_those_of_one_machine(
    spark: SparkSession, weighting: str, blocks: int, cells: int
) -> None:
    weights, model = sparse(USERS, ITEMS, 0.2, 0), ItemKNN(ITEMS, weighting)
    found = similarities(spark, SlicedKNN(model, cells), weights, blocks)
    expected = model.similarities(weights).toarray()
    assert found.dtype == np.float32
    assert found.toarray() == pytest.approx(expected, rel=1e-5)
    assert np.count_nonzero(expected) > ITEMS**2 / 2


def test_of_neighbours_that_tie_for_the_last_place_the_first_get_in(spark: SparkSession) -> None:
    """All items are alike: five users have all of them, and a sixth one, whom nobody is like."""
    weights = csr_matrix(np.vstack([np.ones((5, 9)), np.eye(1, 9)]).astype(np.float32)[:, 1:])
    found = similarities(spark, SlicedKNN(ItemKNN(3), cells=8), weights, 2)
    neighbours = [found[item].indices.tolist() for item in range(8)]
    assert neighbours == [[other for other in range(8) if other != item][:3] for item in range(8)]


def test_the_executors_hold_no_more_than_they_may(spark: SparkSession) -> None:
    """Whoever has all items costs work, not memory: a slice is one item at the least."""
    weights = csr_matrix(np.ones((3, ITEMS), np.float32))
    found = similarities(spark, SlicedKNN(ItemKNN(4), cells=1), weights, 2)
    assert found.nnz == 4 * ITEMS
