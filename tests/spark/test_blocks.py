"""Blocks of a matrix, which together are the matrix of one machine."""

from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from scipy.sparse import csr_matrix, vstack

from batch.recommendations.cluster.blocks import View, balanced, factors, matrices
from batch.recommendations.topk import popularity
from tests.spark.frames import pairs_of, sparse

STARTS = np.array([0, 0, 3, 3, 20, 23])
ITEM_STARTS = np.array([0, 1, 4, 10, 10, 11])


@pytest.fixture
def weights() -> csr_matrix:
    """23 users x 11 items; users 20 to 22, a block of their own, have nothing, nor has item 10."""
    made = sparse(23, 11, 0.3, 0).tolil()
    made[20:] = 0
    made[:, 10] = 0
    return csr_matrix(made)


def assert_same(found: csr_matrix, expected: csr_matrix) -> None:
    assert found.shape == expected.shape
    for part in ("indptr", "indices", "data"):
        mine, theirs = getattr(found, part), getattr(expected, part)
        assert (mine.dtype, mine.tolist()) == (theirs.dtype, theirs.tolist())


def test_the_blocks_of_users_and_items_are_the_matrix_of_one_machine(
    spark: SparkSession, weights: csr_matrix
) -> None:
    frame = pairs_of(spark, weights, STARTS, ITEM_STARTS)
    moved = frame.orderBy("weight", "item").repartition(7)
    with ExitStack() as stack:
        view = View.of(moved, STARTS, ITEM_STARTS, stack)
        users, items = view.users.rows.collect(), view.items.rows.collect()
        assert [len(block.indptr) - 1 for block in users] == np.diff(STARTS).tolist()
        assert [len(block.indptr) - 1 for block in items] == np.diff(ITEM_STARTS).tolist()
        assert_same(csr_matrix(vstack(users)), weights)
        assert_same(csr_matrix(vstack(items)), weights.T.tocsr())
        assert (view.users.size, view.items.size) == weights.shape
        assert view.popularity().tolist() == popularity(weights).tolist()


def test_solvers_may_write_into_a_block(spark: SparkSession, weights: csr_matrix) -> None:
    frame = pairs_of(spark, weights, STARTS, ITEM_STARTS)
    rows = matrices(frame, F.col("block"), "user", "item", STARTS, 11)
    assert all(rows.map(lambda block: bool(block.data.flags.writeable)).collect())


@pytest.mark.parametrize("rows", [1, 2, 9, 1000])
@pytest.mark.parametrize("blocks", [1, 2, 7])
def test_balanced_blocks_have_their_share_of_pairs_and_one_row_more_at_most(
    rows: int, blocks: int
) -> None:
    counts = np.random.default_rng(rows).zipf(1.5, rows).clip(1, 10**6)
    starts = balanced(counts, blocks)
    assert (starts[0], starts[-1], len(starts)) == (0, rows, blocks + 1)
    assert (np.diff(starts) >= 0).all()
    pairs = [counts[first:last].sum() for first, last in zip(starts[:-1], starts[1:])]
    assert max(pairs) <= counts.sum() / blocks + counts.max()


def test_rows_alike_are_cut_evenly() -> None:
    assert np.diff(balanced(np.full(100, 3), 4)).tolist() == [25] * 4


def test_factors_find_their_blocks_and_who_has_none_gets_zeros(spark: SparkSession) -> None:
    expected = np.random.default_rng(0).random((23, 3), np.float32)
    expected[[0, 5, 20, 21, 22]] = 0
    known = np.flatnonzero(expected.any(axis=1))[::-1].astype(np.int32)
    table = pa.table({"id": known, "features": pa.array(list(expected[known]))})
    frame = spark.createDataFrame(table).repartition(5)
    blocks = factors(frame, STARTS, 3).collect()
    assert [len(block) for block in blocks] == np.diff(STARTS).tolist()
    assert np.concatenate(blocks).tolist() == expected.tolist()
