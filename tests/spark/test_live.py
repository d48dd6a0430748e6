"""A live generation that executors write is the one that one machine writes."""

from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from app.contracts.recommendations import (
    MODEL,
    NEIGHBOURS,
    Manifest,
    Namespace,
    decode_history,
    factors_part,
    split_value,
)
from batch.recommendations.cluster.candidate import ClusterCandidate
from batch.recommendations.cluster.ids import index
from batch.recommendations.cluster.knn import SlicedKNN
from batch.recommendations.cluster.learners import learner
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.engines.knn import ItemKNN
from batch.recommendations.one_machine import LocalCandidate
from batch.recommendations.terms import Gate, Holdout, Model, Terms
from tests.generations import read_back
from tests.servers import Server
from tests.spark.frames import both_candidates, frame_of, gathered, shop, sparse, view_of
from tests.spark.test_candidate import _published
from tests.spark.test_contents import assert_alike

TERMS = Terms(k=4, holdout=Holdout(share=0), gate=Gate(force=True), stored=20, history=25)


def live_parts(client: Any, space: Namespace, manifest: Manifest) -> tuple[list[float], bytes]:
    """The numbers of the model, and the factors in order."""
    width = manifest.factors
    model = client.get(space.part(manifest.generation, MODEL))
    numbers = np.frombuffer(model, "<f4", width * width + width + 2)
    return numbers.tolist(), client.get(space.part(manifest.generation, factors_part(0)))


def behind(client: Any, space: Namespace, manifest: Manifest, user: str) -> tuple[bytes, bytes]:
    """The vector and the history behind a user's record."""
    value = client.hget(*manifest.user_place(space, user))
    _, vector, history = split_value(value, manifest.factors, manifest.history)
    assert len(decode_history(history)) <= manifest.history
    return vector, history


def test_both_publish_the_same_live_generation(
    spark: SparkSession, server: Server, client: Any, namespace: Namespace
) -> None:
    other = Namespace(f"{namespace.name}-spark")
    with ExitStack() as stack:
        alone, walk = _candidates(spark, server.url, stack)
        expected, found = (
            _published(each, client, space, TERMS)
            for each, space in ((alone, namespace), (walk, other))
        )
    users, items = alone.loaded.users, alone.loaded.items
    theirs = read_back(client, other, found, users, items)
    assert_alike(theirs, read_back(client, namespace, expected, users, items))
    assert len(theirs.popular) == min(120, len(items))
    for name in ("stored", "factors", "user_buckets", "k", "document_bytes", "history"):
        assert getattr(found, name) == getattr(expected, name), name
    numbers, factors = live_parts(client, other, found)
    expected_numbers, expected_factors = live_parts(client, namespace, expected)
    assert numbers == pytest.approx(expected_numbers, rel=1e-5)
    assert factors == expected_factors
    for user in users:
        assert behind(client, other, found, user) == behind(client, namespace, expected, user)


def test_both_publish_the_same_live_generation_of_neighbours(
    spark: SparkSession, server: Server, client: Any, namespace: Namespace
) -> None:
    """Without factors, but with what each user has behind their list."""
    other = Namespace(f"{namespace.name}-spark")
    model = ItemKNN(neighbours=40)
    with ExitStack() as stack:
        indexed = index(frame_of(spark, shop()), stack, TERMS.stored, 0, TERMS.history)
        made = gathered(indexed)
        walk = ClusterCandidate(made.report, indexed, SlicedKNN(model), server.url, stack)
        expected = _published(LocalCandidate(made, model), client, namespace, TERMS)
        found = _published(walk, client, other, TERMS)
    lists = [
        read_back(client, space, each, made.users, made.items)
        for each, space in ((found, other), (expected, namespace))
    ]
    assert_alike(*lists)
    assert all(len(similar) == TERMS.k for similar in lists[0].similar.values())
    assert (found.engine, expected.engine) == ("spark-knn", "knn")
    for name in ("settings", "stored", "factors", "follows", "history", "user_buckets"):
        assert getattr(found, name) == getattr(expected, name), name
    assert (found.follows, found.factors) == (NEIGHBOURS, 0)
    for user in made.users:
        vector, history = behind(client, other, found, user)
        assert (vector, history) == behind(client, namespace, expected, user)
        assert vector == b"" and decode_history(history)


def _candidates(
    spark: SparkSession, url: str, stack: ExitStack
) -> tuple[LocalCandidate, ClusterCandidate]:
    frame = frame_of(spark, shop(200, 300))
    return both_candidates(frame, url, stack, stored=TERMS.stored, history=TERMS.history)


def test_each_way_of_training_says_how_it_weighed(spark: SparkSession) -> None:
    weights = sparse(60, 40, 0.2, seed=1)
    alone = ImplicitALS(factors=4, iterations=1).fit(weights, lambda done: None).scorer.scale
    mean = np.log1p(weights.data).mean(dtype=np.float64)
    with ExitStack() as stack:
        view = view_of(spark, weights, 3, stack)
        blocked, mllib, explicit = (
            learner(Model("spark", als=als, feedback=feedback, factors=4, iterations=1))
            .fit(view, lambda done: None, stack)
            .scorer.scale
            for als, feedback in (
                ("blocked", "implicit"),
                ("mllib", "implicit"),
                ("mllib", "explicit"),
            )
        )
    assert alone is not None and blocked is not None and mllib is not None and explicit is None
    assert asdict(blocked) == pytest.approx(asdict(alone))
    assert mllib.confidence * mean == pytest.approx(2.0)  # of an average interaction: 1 + alpha
    assert mllib.penalty == pytest.approx(0.16 * weights.nnz / 60)
