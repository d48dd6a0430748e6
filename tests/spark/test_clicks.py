"""Click models fitted by Spark are those of one machine, or nearly, or a sentence says why not."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from pyspark.sql import SparkSession

from batch.clicks.cluster.examples import ClusterExamples
from batch.clicks.cluster.read import read
from batch.clicks.layout import SAID, Reading
from batch.clicks.one_machine import LocalExamples
from batch.clicks.read import read as read_here
from batch.clicks.terms import Fit, Split
from tests.batch.clicks.rows import Silent, examples

ROWS = 1_500
FIT = Fit(trees=15, threads=1)


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


class TestReading:
    """Rows come out as on one machine."""

    def test_rows_kinds_and_rejects_are_those_of_one_machine(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        (tmp_path / "in").mkdir()
        lines = [f"{n % 3 == 0:d},{n / 7},b{n % 5},{n % 2 and 'x' or ''},u{n}" for n in range(300)]
        head = "clicked,price,brand,gap,user_id"
        (tmp_path / "in" / "a.csv").write_text("\n".join([head, *lines]) + "\n2,1,b,x,u\n")
        (tmp_path / "in" / SAID).write_text('{"label": "clicked", "negatives_kept": 0.5}')
        self._same(spark, tmp_path, Reading())

    def test_parquet_with_times_is_read_as_on_one_machine(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        (tmp_path / "in").mkdir()
        duckdb.execute(
            "COPY (SELECT n % 3 = 0 AS label, if(n % 4 = 0, 'nan'::FLOAT, n / 8) AS price, "
            "n % 5 + 0.0 AS brand, TIMESTAMPTZ '2026-01-01 00:00:00Z' + to_seconds(n) AS t "
            f"FROM range(200) AS r(n)) TO '{tmp_path}/in/a.parquet'"
        )
        self._same(spark, tmp_path, Reading(time_column="t", categorical=("brand",)))

    def _same(self, spark: SparkSession, folder: Path, reading: Reading) -> None:
        texts = replace(reading.texts, max_rejects=0.1, rejects=str(folder / "rejects"))
        reading = replace(reading, texts=texts)
        with ExitStack() as stack:
            here = stack.enter_context(read_here([folder / "in"], reading))
            there = read(spark, [str(folder / "in")], reading, 1, stack)
            names = [row[0] for row in here.connection.execute("DESCRIBE rows").fetchall()]
            told = here.connection.execute("FROM rows ORDER BY row").fetchall()
            found = there.frame.select(*names).orderBy("row").collect()
        assert [tuple(row) for row in found] == told
        assert there.report == here.report
        assert (there.columns, there.label, there.clicks) == (here.columns, here.label, here.clicks)
        assert (there.negatives_kept, there.has_time) == (here.negatives_kept, here.has_time)
        assert list((folder / "rejects").glob("part-*")) or not there.report.rejected
