"""The walk on Spark makes what the walk on one machine makes, from the same pairs."""

from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from app.contracts.recommendations import Namespace, encode_document
from batch import one_machine, pipeline
from batch.datasets.movielens import SMALL
from batch.engines.implicit_als import ImplicitALS
from batch.interactions import PRESETS, Interactions, load
from batch.pipeline import Gate, Holdout
from batch.progress import Lines
from batch.spark.als import BlockedALS
from batch.spark.ids import index
from batch.spark.walk import Cluster
from batch.split import hold_out
from tests.generations import read_back
from tests.servers import Server

MODEL = ImplicitALS(factors=16, iterations=5)


@pytest.fixture(scope="module")
def films() -> Interactions:
    return load(SMALL / "ratings.csv", PRESETS["ml-latest"])


def frame_of(spark: SparkSession, made: Interactions, **more: NDArray[Any]) -> DataFrame:
    columns = {
        "user": np.array(made.users)[made.user],
        "item": np.array(made.items)[made.item],
        "weight": made.weight,
        **({} if made.timestamp is None else {"timestamp": made.timestamp}),
        **more,
    }
    return spark.createDataFrame(pa.table(columns))


def test_both_walks_judge_the_same_lists_alike(spark: SparkSession, films: Interactions) -> None:
    train, held_out = hold_out(films, "chronological", 0.2, 42, None)
    alone = one_machine.judge(train, held_out, MODEL, 10, Lines())
    with ExitStack() as stack:
        indexed = index(frame_of(spark, films), stack)
        walk = Cluster(indexed, [], BlockedALS(MODEL), "", stack)
        spread = walk.judge(Holdout("chronological", 0.2), 10, Lines())
    for mine, theirs in ((spread.model, alone.model), (spread.popular, alone.popular)):
        print(mine, theirs)
        for name in ("ndcg", "map", "precision", "recall", "coverage", "popularity", "users"):
            assert getattr(mine, name) == pytest.approx(getattr(theirs, name), rel=0.02), name


def test_both_walks_publish_the_same(
    spark: SparkSession, films: Interactions, server: Server, client: Any, namespace: Namespace
) -> None:
    other = Namespace(f"{namespace.name}-spark")
    documents = [encode_document(item) for item in films.items]
    chosen: Any = {"holdout": Holdout(share=0), "limits": Gate(force=True)}
    alone = pipeline.refresh(
        one_machine.OneMachine(films, documents, MODEL), client, namespace, Lines(), **chosen
    )
    with ExitStack() as stack:
        walk = Cluster(
            index(frame_of(spark, films), stack), documents, BlockedALS(MODEL), server.url, stack
        )
        spread = pipeline.refresh(walk, client, other, Lines(), **chosen)
    mine = read_back(client, namespace, alone, films.users, films.items)
    theirs = read_back(client, other, spread, films.users, films.items)
    assert theirs.documents == mine.documents
    assert theirs.popular == mine.popular
    same = sum(theirs.users[user] == mine.users[user] for user in films.users)
    print(
        same,
        len(films.users),
        sum(theirs.similar[i] == mine.similar[i] for i in films.items),
        len(films.items),
    )
    assert spread.users == alone.users
