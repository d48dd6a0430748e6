"""Click models fitted by Spark are those of one machine, or nearly, or a sentence says why not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pyspark.sql import SparkSession

from batch.clicks.cluster.examples import ClusterExamples
from batch.clicks.one_machine import LocalExamples
from batch.clicks.terms import Fit, Split
from tests.batch.clicks.rows import Silent, examples

ROWS = 1_500
FIT = Fit(trees=15, threads=1)

Here = Callable[[bool], tuple[LocalExamples, ClusterExamples]]


def on_spark(spark: SparkSession, local: LocalExamples) -> ClusterExamples:
    """The same rows, in three partitions of any order."""
    frame = spark.createDataFrame(local.connection.table("rows").to_arrow_table())
    return ClusterExamples(
        frame.repartition(3),
        local.report,
        local.columns,
        local.label,
        local.rows,
        local.clicks,
        local.negatives_kept,
        local.has_time,
    )


@pytest.mark.parametrize("has_time, blend", [(False, True), (True, False)])
def test_one_worker_fits_the_model_of_one_machine(
    spark: SparkSession, has_time: bool, blend: bool
) -> None:
    local = examples(ROWS, has_time=has_time)
    cluster, fit = on_spark(spark, local), replace(FIT, blend=blend)
    assert cluster.split(Split()) == local.split(Split())
    models = [each.fit(("train",), "validation", fit, Silent()) for each in (local, cluster)]
    assert models[0].sections() == models[1].sections()
    scores = [each.predict(models[0], "test", ["brand", "price"]) for each in (local, cluster)]
    assert np.array_equal(scores[0].log_odds, scores[1].log_odds)
    assert np.array_equal(scores[0].clicked, scores[1].clicked)
    for name in ("brand", "price"):
        assert np.array_equal(scores[0].slices[name], scores[1].slices[name])


def test_two_workers_grow_trees_as_good_and_always_the_same(spark: SparkSession) -> None:
    local = examples(ROWS)
    both = replace(on_spark(spark, local), workers=2)
    local.split(Split())
    one = local.fit(("train",), "validation", FIT, Silent())
    both.split(Split())
    two = both.fit(("train",), "validation", FIT, Silent())
    again = replace(both, frame=both.frame.repartition(2))
    again.split(Split())
    assert again.fit(("train",), "validation", FIT, Silent()).trees == two.trees
    assert "127.0.0.1" not in two.trees
    alone, together = (local.predict(model, "test").log_odds for model in (one, two))
    assert not np.array_equal(alone, together)
    assert np.corrcoef(alone, together)[0, 1] > 0.95
