"""The walk on a cluster judges and publishes what the walk on one machine does."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from app.contracts.recommendations import Manifest, Namespace, decode_sample
from batch.command.output.bars import Lines
from batch.errors import BadSettings
from batch.generations.publish import turn
from batch.interactions.filters import FilterColumn, Packed
from batch.interactions.pairs import Interactions
from batch.recommendations import pipeline
from batch.recommendations.cluster import ids
from batch.recommendations.cluster.als import BlockedALS
from batch.recommendations.cluster.candidate import ClusterCandidate, ClusterTrial
from batch.recommendations.cluster.ids import hidden_of, index
from batch.recommendations.cluster.split import hold_out
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.judge.evaluate import PER_USER
from batch.recommendations.one_machine import LocalCandidate, LocalTrial
from batch.recommendations.pipeline import Quality
from batch.recommendations.terms import Gate, Holdout, Terms
from tests.generations import read_back
from tests.servers import Server
from tests.spark.frames import (
    NOTHING_READ,
    KnownOnCluster,
    both_candidates,
    documents_of,
    drawn,
    frame_of,
    gathered,
    shop,
)
from tests.spark.test_contents import assert_alike

K = 5
UNUSED = "redis://127.0.0.1:1"
EXACT = (*PER_USER, "coverage", "popularity", "novelty", "diversity", "half", "users", "k")


def assert_as_good(found: Quality, expected: Quality) -> None:
    for mine, theirs in ((found.model, expected.model), (found.popular, expected.popular)):
        for name in EXACT:
            assert getattr(mine, name) == pytest.approx(getattr(theirs, name), rel=1e-9), name
        for name in PER_USER:  # drawn by other numbers
            assert mine.intervals[name] == pytest.approx(theirs.intervals[name], abs=0.02), name
        for name, some in theirs.slices.items():
            assert mine.slices[name].users == some.users
            assert mine.slices[name].ndcg == pytest.approx(some.ndcg, rel=1e-9), name
        for name, part in theirs.items.items():
            assert (mine.items[name].items, mine.items[name].users) == (part.items, part.users)
            assert mine.items[name].share == pytest.approx(part.share, rel=1e-9), name
            assert mine.items[name].recall == pytest.approx(part.recall, rel=1e-9), name


def sides(walk: ClusterCandidate, marked: DataFrame) -> tuple[Interactions, Interactions]:
    """Bring what to train on, and what is ``held_out``, to this machine."""
    train, test = (
        gathered(walk.indexed, marked.where(side)) for side in ("NOT held_out", "held_out")
    )
    return train, test


def judge(candidate: ClusterCandidate, marked: DataFrame) -> Quality:
    trial = ClusterTrial([], candidate.indexed, marked, candidate.model)
    return trial.judge(K, Lines())


def judged_by_both(
    alone: LocalCandidate, walk: ClusterCandidate, marked: DataFrame
) -> tuple[Quality, Quality]:
    """marked: pairs with ``held_out``."""
    train, test = sides(walk, marked)
    expected = LocalTrial(train, test, alone.model).judge(K, Lines())
    return judge(walk, marked), expected


Both = tuple[LocalCandidate, ClusterCandidate]


@pytest.fixture(scope="module")
def both(spark: SparkSession) -> Iterator[Both]:
    """The shop on one machine, and on the cluster."""
    with ExitStack() as stack:
        yield both_candidates(frame_of(spark, shop()), UNUSED, stack)


@pytest.mark.parametrize("rule", ["chronological", "random", "stratified"])
def test_the_same_lists_on_the_same_split_are_judged_alike(both: Both, rule: str) -> None:
    holdout = Holdout(rule, 0.3)
    alone, walk = both
    train, test = sides(walk, hold_out(walk.indexed.frame, holdout))
    found = walk.judge(holdout, K, Lines())
    assert_as_good(found, LocalTrial(train, test, alone.model).judge(K, Lines()))
    if rule == "chronological":  # the one split that both draw
        assert_as_good(found, alone.judge(holdout, K, Lines()))
    assert found.ratings is None
    assert 0 < found.model.ndcg < 1
    assert found.model.ndcg != found.popular.ndcg


@pytest.mark.parametrize("repeat", [False, True])
def test_what_users_hid_is_in_no_judged_list(spark: SparkSession, both: Both, repeat: bool) -> None:
    """Whoever hid most of what was never theirs is left with what they wanted."""
    holdout = Holdout("chronological", 0.3)
    alone, walk = replace(both[0], repeat=repeat), replace(both[1], repeat=repeat)
    with ExitStack() as stack:
        before = walk.judge(holdout, K, Lines())
        users, items = np.nonzero(alone.loaded.matrix().toarray() == 0)
        hidden = users[::2].astype(np.int32), items[::2].astype(np.int32)
        names = [(alone.loaded.users[user], alone.items[item]) for user, item in zip(*hidden)]
        blocks = hidden_of(
            walk.indexed, spark.createDataFrame(names, "user string, item string"), stack
        )
        found = replace(walk, hidden=blocks).judge(holdout, K, Lines())
        expected = replace(alone, loaded=replace(alone.loaded, hidden=hidden))
        assert_as_good(found, expected.judge(holdout, K, Lines()))
    assert found.model.ndcg > before.model.ndcg
    assert found.popular.ndcg > before.popular.ndcg


def test_a_fitted_model_is_judged_like_that_of_one_machine(both: Both) -> None:
    model, holdout = ImplicitALS(factors=6, iterations=3), Holdout("chronological", 0.3)
    alone, walk = both
    expected = replace(alone, model=model).judge(holdout, K, Lines())
    found = replace(walk, model=BlockedALS(model)).judge(holdout, K, Lines())
    for name in EXACT:  # a list may differ where two scores are as good as the same
        assert getattr(found.model, name) == pytest.approx(getattr(expected.model, name), rel=0.02)


def test_strangers_to_train_are_judged_on_what_is_popular(spark: SparkSession) -> None:
    """All of the last hour's users are new."""
    made = shop()
    late = made.user % 4 == 0
    made = replace(made, timestamp=np.where(late, 3600.0, 0.0))
    with ExitStack() as stack:
        alone, walk = both_candidates(frame_of(spark, made), UNUSED, stack)
        found, expected = judged_by_both(
            alone, walk, hold_out(walk.indexed.frame, Holdout(after=3600.0))
        )
    assert_as_good(found, expected)
    assert found.model.users == len(np.unique(made.user[late]))
    assert found.model.slices["0"].users == found.model.users
    assert [getattr(found.model, name) for name in EXACT] == [
        getattr(found.popular, name) for name in EXACT
    ]


def twice(spark: SparkSession, made: Interactions, more: Interactions) -> DataFrame:
    """Two inputs, as ``larder evaluate --test`` gives them."""
    train, test = (
        frame_of(spark, each).withColumn("held_out", F.lit(held_out))
        for each, held_out in ((made, False), (more, True))
    )
    return train.unionByName(test, allowMissingColumns=True)


def test_what_is_also_among_the_pairs_to_train_on_does_not_count(spark: SparkSession) -> None:
    made = shop()
    order = np.random.default_rng(1).random(len(made))
    train, test = made.select(order < 0.6), made.select(order > 0.5)
    with ExitStack() as stack:
        alone, walk = both_candidates(twice(spark, train, test), UNUSED, stack)
        found, expected = judged_by_both(alone, walk, walk.indexed.frame)
        assert_as_good(found, expected)
        _, held_out_only = both_candidates(
            twice(spark, train, made.select(order >= 0.6)), UNUSED, stack
        )
        once = judge(replace(held_out_only, model=walk.model), held_out_only.indexed.frame)
    assert_as_good(found, once)


def test_nothing_new_to_judge_by_is_said_in_the_words_of_one_machine(spark: SparkSession) -> None:
    made = shop(20, 6)
    with ExitStack() as stack:
        alone, walk = both_candidates(twice(spark, made, made), UNUSED, stack)
        with pytest.raises(BadSettings, match="nothing to judge by") as found:
            judge(walk, walk.indexed.frame)
        with pytest.raises(BadSettings) as expected:
            LocalTrial(made, made, alone.model).judge(K, Lines())
    assert str(found.value) == str(expected.value)


def test_predicted_ratings_are_measured_where_user_and_item_are_known(spark: SparkSession) -> None:
    made = shop()
    new = (made.user % 10 == 0) | (made.item % 10 == 0)
    assert made.timestamp is not None
    made = replace(made, timestamp=np.where(new, 3600.0, made.timestamp))
    holdout = Holdout(after=800.0)
    with ExitStack() as stack:
        alone, walk = both_candidates(frame_of(spark, made), UNUSED, stack, rates=True)
        found = walk.judge(holdout, K, Lines()).ratings
        train, test = sides(walk, hold_out(walk.indexed.frame, holdout))
    assert isinstance(walk.model, KnownOnCluster)
    factors = walk.model.known
    known = np.isin(test.user, train.user) & np.isin(test.item, train.item)
    true = test.weight[known].astype(np.float64)
    scores = factors.users.astype(np.float64) @ factors.items.T
    errors = true - scores[test.user[known], test.item[known]]
    assert 0 < len(true) < len(test)
    assert found is not None
    assert found.pairs == len(true)
    assert found.rmse == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)
    assert found.mae == pytest.approx(np.mean(np.abs(errors)), rel=1e-6)
    assert found.r2 == pytest.approx(1 - np.mean(errors**2) / np.var(true), rel=1e-6)
    assert found.explained_variance == pytest.approx(1 - np.var(errors) / np.var(true), rel=1e-6)


def _published(
    candidate: pipeline.Candidate, client: Any, space: Namespace, terms: Terms
) -> Manifest:
    prices = FilterColumn("price", "number", {item: float(len(item)) for item in candidate.items})
    columns = Packed.of([prices], candidate.items)
    with turn(client, space, terms.keep) as ours:
        return pipeline.refresh(
            ours, candidate, documents_of(candidate), terms, Lines(), columns=columns
        )


def test_both_publish_the_same(
    spark: SparkSession, server: Server, client: Any, namespace: Namespace
) -> None:
    other = Namespace(f"{namespace.name}-spark")
    terms = Terms(K, Holdout("chronological", 0.3), Gate(force=True))
    with ExitStack() as stack:
        alone, walk = both_candidates(frame_of(spark, shop(200, 300)), server.url, stack)
        expected, found = (
            _published(each, client, space, terms)
            for each, space in ((alone, namespace), (walk, other))
        )
    users, items = alone.loaded.users, alone.loaded.items
    theirs = read_back(client, other, found, users, items)
    assert_alike(theirs, read_back(client, namespace, expected, users, items))
    assert sorted(decode_sample(client.get(other.sample(found.generation)))) == sorted(users)
    assert client.get(other.live).decode() == found.generation
    columns, theirs_columns = (
        client.get(space.part(each.generation, "columns:0"))
        for each, space in ((expected, namespace), (found, other))
    )
    assert found.columns == expected.columns and columns == theirs_columns is not None
    for name in ("users", "items", "interactions", "k", "user_buckets", "similar_buckets"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("chunks", "state", "settings", "forced", "code_version"):
        assert getattr(found, name) == getattr(expected, name), name
    assert (found.engine, found.fingerprint) == ("spark", walk.fingerprint())
    assert found.metrics["model"]["ndcg"] == pytest.approx(expected.metrics["model"]["ndcg"])
    assert found.metrics["ratings"] is None
    assert found.document_bytes == expected.document_bytes


def test_the_sample_is_of_a_thousand_users_of_all_blocks(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, blocks = 3000, 14
    monkeypatch.setattr(ids, "PAIRS_PER_BLOCK", -(-users // blocks))
    table = {
        "user": [f"u{n}" for n in range(users)],
        "item": [f"i{n % 2}" for n in range(users)],
        "weight": [1.0] * users,
    }
    with ExitStack() as stack:
        indexed = index(spark.createDataFrame(pa.table(table)), stack)
        learner = KnownOnCluster(drawn(users, 2))
        candidate = ClusterCandidate(NOTHING_READ, indexed, learner, UNUSED, stack)
        contents = candidate.train(Namespace("unused"), [], Terms(1), Lines())
        sample = contents._sample()
        block_of: dict[str, int] = dict(indexed.users.select("user", "block").collect())
    assert indexed.blocks == blocks
    assert 990 <= len(set(sample)) == len(sample) <= 1000
    assert {block_of[user] for user in sample} == set(range(blocks))


def fingerprint(frame: DataFrame) -> str:
    with ExitStack() as stack:
        return ClusterCandidate(
            NOTHING_READ, index(frame, stack), BlockedALS(), UNUSED, stack
        ).fingerprint()


def test_a_fingerprint_is_that_of_the_data_wherever_they_are(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = frame_of(spark, shop(400, 2))
    one = fingerprint(frame)
    moved = frame.orderBy("weight", ascending=False).repartition(5)
    assert fingerprint(moved) == one
    monkeypatch.setattr(ids, "PAIRS_PER_BLOCK", 50)
    assert fingerprint(frame) == one, "a larger cluster cuts the same data into more blocks"


@pytest.mark.parametrize(
    "column, value",
    [
        ("weight", "9"),
        ("timestamp", "timestamp + 1"),
        ("user", "'u 17'"),
        ("item", "'01 '"),
    ],
)
def test_a_fingerprint_tells_one_pair_that_changed(
    spark: SparkSession, column: str, value: str
) -> None:
    made = shop(40, 4)
    frame = frame_of(spark, made)
    user, item = made.users[made.user[50]], made.items[made.item[50]]
    changed = frame.withColumn(
        column,
        F.when(F.expr(f"user = '{user}' AND item = '{item}'"), F.expr(value))
        .otherwise(F.col(column))
        .cast(frame.schema[column].dataType),
    )
    assert changed.exceptAll(frame).count() == 1
    assert fingerprint(changed) != fingerprint(frame)
