"""The blocked solver: on a cluster, the factors of one machine."""

import os
from contextlib import ExitStack

import numpy as np
import pytest
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from scipy.sparse import csr_matrix

from batch.recommendations.cluster.als import BlockedALS, numbers
from batch.recommendations.cluster.blocks import View
from batch.recommendations.engines.factors import Factors
from batch.recommendations.engines.implicit_als import ImplicitALS
from tests.spark.frames import factors_of, fitted_of, pairs_of, sparse, view_of

MODEL = ImplicitALS(factors=5, iterations=2)
USERS, ITEMS = 61, 23  # odd, so that blocks begin between two numbers of one step


@pytest.fixture(scope="module")
def weights() -> csr_matrix:
    return sparse(USERS, ITEMS, 0.2, 0)


@pytest.fixture(scope="module")
def alone(weights: csr_matrix) -> Factors:
    return factors_of(MODEL.fit(weights, lambda iteration: None))


def fit(spark: SparkSession, als: BlockedALS, weights: csr_matrix, blocks: int) -> Factors:
    with ExitStack() as stack:
        view = view_of(spark, weights, blocks, stack)
        return factors_of(fitted_of(als.fit(view, lambda iteration: None, stack)))


def assert_close(found: Factors, expected: Factors, tolerance: float) -> None:
    """By the largest number of each side."""
    for mine, theirs in ((found.users, expected.users), (found.items, expected.items)):
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        assert np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("blocks", [1, 5])
def test_the_factors_are_those_of_one_machine(
    spark: SparkSession, weights: csr_matrix, alone: Factors, blocks: int
) -> None:
    assert_close(fit(spark, BlockedALS(MODEL), weights, blocks), alone, 1e-5)


@pytest.mark.parametrize(
    "whole_bytes, blocks",
    [(0, 5), (ITEMS * MODEL.factors * 4, 2)],
    ids=["all by block", "items whole, users by block"],
)
def test_factors_sent_by_block_lead_to_the_same(
    spark: SparkSession, weights: csr_matrix, alone: Factors, whole_bytes: int, blocks: int
) -> None:
    assert_close(fit(spark, BlockedALS(MODEL, whole_bytes), weights, blocks), alone, 1e-4)


def test_what_stands_in_for_the_factors_that_are_not_sent_matters(spark: SparkSession) -> None:
    """Each block names 7 of 21 items; without the Gram matrix of all, the answer is another."""
    users = np.repeat(np.arange(60), 2)
    items = 7 * (users // 20) + (users + np.arange(120) % 2) % 7
    weights = csr_matrix((np.ones(120, np.float32), (users, items)), (60, 21))
    expected = factors_of(MODEL.fit(weights, lambda iteration: None))
    assert_close(fit(spark, BlockedALS(MODEL, 0), weights, 3), expected, 1e-4)


@pytest.mark.parametrize("whole_bytes", [0, 2**20], ids=["by block", "whole"])
def test_users_without_pairs_get_nothing_and_blocks_may_be_empty(
    spark: SparkSession, whole_bytes: int
) -> None:
    weights = csr_matrix(sparse(40, 11, 0.4, 1).multiply((np.arange(40) >= 20)[:, np.newaxis]))
    starts, item_starts = np.array([0, 0, 15, 30, 40]), np.array([0, 5, 5, 10, 11])
    expected = factors_of(MODEL.fit(weights, lambda iteration: None))
    with ExitStack() as stack:
        frame = pairs_of(spark, weights, starts, item_starts)
        view = View.of(frame, starts, item_starts, stack)
        found = factors_of(
            fitted_of(BlockedALS(MODEL, whole_bytes).fit(view, lambda done: None, stack))
        )
    assert np.abs(found.users[:20]).max() < 1e-9, "the last bits of a solver that aims at 0"
    assert_close(found, expected, 1e-4)


@pytest.mark.parametrize("whole_bytes", [0, 2**20], ids=["by block", "whole"])
def test_nothing_stays_on_the_cluster_and_nothing_piles_up(
    spark: SparkSession, weights: csr_matrix, whole_bytes: int
) -> None:
    context = spark.sparkContext

    def all_kept() -> set[int]:
        return set(context._jsc.getPersistentRDDs())

    def kept() -> int:
        return len(all_kept() - before)  # what other tests kept may go at any time

    def sent() -> set[str]:
        return set(os.listdir(context._temp_dir))

    before, files = all_kept(), sent()
    during: list[int] = []
    with ExitStack() as stack:
        view = view_of(spark, weights, 2, stack)
        BlockedALS(MODEL, whole_bytes).fit(view, lambda iteration: during.append(kept()), stack)
        assert during[0] > 0
        assert during == [during[0]] * MODEL.iterations
        assert bool(sent() - files) == bool(whole_bytes)
    assert (kept(), sent()) == (0, files)


def all_numbers(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(1000, np.float32)


@pytest.mark.parametrize("skipped", [0, 1, 2, 7, 100, 333])
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (7, 3), (10, 4)])
def test_a_block_begins_with_its_part_of_one_stream(skipped: int, shape: tuple[int, int]) -> None:
    size = shape[0] * shape[1]
    expected = all_numbers(42)[skipped : skipped + size].reshape(shape)
    found = numbers(42, skipped, shape)
    assert (str(found.dtype), found.tolist()) == ("float32", expected.tolist())
