"""Click models fitted by Spark are those of one machine, or nearly, or a sentence says why not."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
import pyarrow as pa
import pytest
import redis
from pyspark.sql import DataFrame, SparkSession

from app.contracts.clicks import Clicks, Column
from batch.clicks import bulk as one_machine
from batch.clicks.cluster import bulk, workers
from batch.clicks.cluster.examples import ClusterExamples
from batch.clicks.cluster.read import read
from batch.clicks.examples.layout import SAID, Reading
from batch.clicks.examples.read import read as read_here
from batch.clicks.examples.read import read_for
from batch.clicks.model import Model
from batch.clicks.one_machine import LocalExamples
from batch.clicks.terms import Fit, Split
from batch.command.cli import cli
from batch.errors import BadInteractions, BadSettings
from batch.generations.registry import Generations
from batch.progress import Silent
from batch.spark.failures import spark_errors
from tests.batch.clicks.rows import examples
from tests.servers import Server

ROWS = 1_500
FIT = Fit(trees=15, threads=1)


def on_spark(spark: SparkSession, local: LocalExamples) -> ClusterExamples:
    """The same rows, in three partitions of any order."""
    frame = spark.createDataFrame(local.connection.table("rows").to_arrow_table())
    return ClusterExamples(
        local.report,
        local.schema,
        (),
        local.clicks,
        local.negatives_kept,
        frame.repartition(3),
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


@pytest.fixture(scope="module")
def matrix(spark: SparkSession) -> DataFrame:
    """What trees see: a click where the first number is large, mostly."""
    rng = np.random.default_rng(4)
    numbers = rng.normal(size=(ROWS, 2)).astype(np.float32)
    clicked = numbers[:, 0] + rng.normal(size=ROWS) > 0.5
    columns = [np.arange(ROWS), clicked, np.zeros(ROWS, bool), *numbers.T]
    names = ["row", "label", "held", "x0", "x1"]
    return spark.createDataFrame(pa.table(columns, names)).persist()


BARE = Model((Column("a", "number"), Column("b", "number")), 0.3, [], "", 0)


def test_a_worker_that_is_killed_changes_nothing(matrix: DataFrame) -> None:
    fit = replace(FIT, trees=400)
    unharmed = workers.fit(BARE, matrix, fit, 2)
    killed = False
    with ThreadPoolExecutor(1) as pool:
        while not killed:  # a fit may be over before anybody has seen its workers
            fitting = pool.submit(workers.fit, BARE, matrix, fit, 2)
            while not fitting.done() and not killed:
                killed = _kill_one_of(linked())
            assert fitting.result() == unharmed


def _kill_one_of(found: list[psutil.Process]) -> bool:
    if len(found) < 2:
        return False
    found[0].kill()
    return True


def linked() -> list[psutil.Process]:
    """Python workers below this process that are connected to each other."""
    found: dict[psutil.Process, Any] = {}
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "python" in each.name():
                found[each] = each.net_connections("tcp4")
    own = {link.laddr for links in found.values() for link in links if link.raddr}
    return [each for each, links in found.items() if any(link.raddr in own for link in links)]


def test_a_worker_without_rows_is_not_needed(matrix: DataFrame) -> None:
    alone = workers.fit(BARE, matrix.where("row % 2 = 0"), FIT, 1)
    assert workers.fit(BARE, matrix.where("row % 2 = 0"), FIT, 2) == alone


def test_too_few_slots_and_a_blend_of_shares_are_refused_at_once(
    spark: SparkSession, matrix: DataFrame
) -> None:
    wanted = "--spark-workers 3 need as many tasks at once, and local[2,4] has room for 2"
    with pytest.raises(BadSettings, match=re.escape(wanted)):
        workers.fit(BARE, matrix, FIT, 3)
    both = replace(on_spark(spark, examples(100)), workers=2)
    with pytest.raises(BadSettings, match="--blend fits its second member in one task"):
        both.fit(("train",), None, replace(FIT, blend=True), Silent())


def test_an_executor_without_lightgbm_says_what_to_install(
    spark: SparkSession, matrix: DataFrame
) -> None:
    def without(_: int) -> None:
        sys.modules["lightgbm"] = None  # type: ignore[assignment]
        try:
            workers.require_library()
        finally:
            del sys.modules["lightgbm"]

    with pytest.raises(BadSettings, match="an executor cannot load LightGBM"), spark_errors():
        spark.sparkContext.parallelize([0], 1).foreach(without)


class TestReading:
    """Rows come out as on one machine."""

    def test_rows_kinds_and_rejects_are_those_of_one_machine(
        self, spark: SparkSession, tmp_path: Path
    ) -> None:
        (tmp_path / "in").mkdir()
        lines = [f"{n % 3 == 0:d},{n / 7},b{n % 5},{'x' * (n % 2)},u{n},7" for n in range(300)]
        head = "clicked,price,brand,gap,user_id,day"
        (tmp_path / "in" / "a.csv").write_text("\n".join([head, *lines]) + "\n2,1,b,x,u,7\n")
        (tmp_path / "in" / SAID).write_text('{"label": "clicked", "negatives_kept": 0.5}')
        days = Column("day", "category")
        assert days in self._same(spark, tmp_path, Reading(live=(days,)))

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

    def _same(self, spark: SparkSession, folder: Path, reading: Reading) -> tuple[Column, ...]:
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
        assert (there.schema, there.clicks) == (here.schema, here.clicks)
        assert there.negatives_kept == here.negatives_kept
        assert list((folder / "rejects").glob("part-*")) or not there.report.rejected
        return there.columns


def test_a_table_is_scored_in_bulk_as_on_one_machine(spark: SparkSession, tmp_path: Path) -> None:
    local = examples(ROWS)
    local.split(Split())
    model = local.fit(("train",), "validation", replace(FIT, blend=True), Silent())
    rows, out = tmp_path / "rows.parquet", str(tmp_path / "scores")
    duckdb.execute(
        "COPY (SELECT 'u' || (n % 7) AS user, n AS place, n / 99 AS age, 'b' || (n % 5) AS brand "
        f"FROM range(120) AS r(n)) TO '{rows}'"
    )
    texts = replace(Reading().texts, rejects=str(tmp_path / "rejects"))
    reading, keep = Reading(texts=texts), ("place", "user")
    assert bulk.score(spark, str(rows), out, reading, keep, model).rows == 120
    with read_for([rows], reading, model.columns, None, keep) as found:
        one_machine.score(found.connection, found.columns, model, lambda done: None)
        told = "SELECT row, k0, k1, score FROM rows JOIN scores USING (row) ORDER BY row"
        expected = found.connection.execute(told).fetchall()
    scores = duckdb.execute(f"FROM '{out}/*.parquet' ORDER BY row").fetchall()
    assert scores == expected
    with pytest.raises(BadSettings, match="expected nothing there"):
        bulk.score(spark, str(rows), out, reading, keep, model)


def test_rows_that_spark_cannot_number_are_told_apart_by_what_is_kept(
    spark: SparkSession, tmp_path: Path
) -> None:
    """It reads the larger file first."""
    local = examples(400)
    local.split(Split())
    model = local.fit(("train",), None, replace(FIT, trees=2), Silent())
    (tmp_path / "in").mkdir()
    for name, count in (("a", 2), ("b", 50)):
        lines = "".join(f"{n},{name}{n}\n" for n in range(count))
        (tmp_path / "in" / f"{name}.csv").write_text(f"age,who\n{lines}")
    texts = replace(Reading().texts, rejects=str(tmp_path / "rejects"))
    given = (spark, str(tmp_path / "in"), str(tmp_path / "scores"), Reading(texts))
    with pytest.raises(BadInteractions, match="several files, .*--keep-columns"):
        bulk.score(*given, (), model)
    bulk.score(*given, ("who",), model)
    found = duckdb.execute(f"SELECT row, who FROM '{given[2]}/*.parquet'").fetchall()
    names = [f"a{n}" for n in range(2)] + [f"b{n}" for n in range(50)]
    assert sorted(who for _, who in found) == sorted(names)
    assert {row for row, _ in found} == {None}


def test_the_command_trains_the_same_model_and_scores_a_folder(
    spark: SparkSession, server: Server, tmp_path: Path
) -> None:
    duckdb.execute(
        "COPY (SELECT (n * 7919) % 10 + n % 3 * 3 > 8 AS label, n % 3 AS place, "
        "'b' || ((n * 7919) % 10) AS brand, random() AS noise FROM range(1200) AS r(n)) "
        f"TO '{tmp_path}/in.parquet'"
    )
    shared = [f"{tmp_path}/in.parquet", "--cache-url", server.url]
    shared += ["--rejects", str(tmp_path / "rejects")]
    fit = ["--trees", "5", "--learning-rate", "0.3", "--force", "--threads", "1"]
    models = []
    with redis.Redis.from_url(server.url) as client:
        for name, engine in (("here", []), ("there", ["--engine", "spark"])):
            space = Clicks(f"{tmp_path.name}-{name}")
            arguments = ["clicks", "train", *shared, *fit, "--namespace", space.name, *engine]
            cli.main(arguments, standalone_mode=False)
            manifest = Generations(client, space).live_manifest()
            assert manifest is not None
            models.append((manifest.hashes, manifest.calibration, manifest.rows, manifest.clicks))
    assert models[0] == models[1]
    out = tmp_path / "scores"
    arguments = ["clicks", "score", shared[0], str(out), *shared[1:], "--engine", "spark"]
    cli.main([*arguments, "--namespace", space.name], standalone_mode=False)
    assert duckdb.execute(f"SELECT count(*) FROM '{out}/*.parquet'").fetchall() == [(1200,)]


def test_options_of_spark_need_it(tmp_path: Path) -> None:
    for given in (["--spark-workers", "2"], ["--conf", "spark.master=local"]):
        with pytest.raises(BadSettings, match=f"{given[0]} needs --engine spark"):
            cli.main(["clicks", "train", str(tmp_path), *given], standalone_mode=False)
