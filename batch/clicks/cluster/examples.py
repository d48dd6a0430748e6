"""What ``pipeline`` asks of examples, answered by Spark."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from batch.clicks.cluster import workers
from batch.clicks.cluster.matrix import Encoder
from batch.clicks.cluster.scoring import score
from batch.clicks.fit import division
from batch.clicks.fit.encode import part_sql, parts_sql
from batch.clicks.fit.matrix import named
from batch.clicks.model import Model
from batch.clicks.rows import Examples, Scored
from batch.clicks.terms import Fit, Part, Split
from batch.errors import BadSettings
from batch.progress import Progress


@dataclass(frozen=True, slots=True)
class ClusterExamples(Examples):
    """frame: what the view ``rows`` of ``encode`` holds, kept by Spark; seen is of a sample.

    workers: tasks that grow trees together.
    """

    frame: DataFrame
    workers: int = 1

    @property
    def _spark(self) -> SparkSession:
        return self.frame.sparkSession

    def fingerprint(self) -> str:
        """Not that of one machine, which has another hash."""
        cells = F.xxhash64("label", "moment", *named(self.columns).values()).cast("decimal(20, 0)")
        kinds = ",".join(f"{each.kind}:{each.name}" for each in self.columns)
        told = F.concat(F.sum(cells).cast("string"), F.count(F.lit(1)), F.lit(kinds))
        return str(self.frame.agg(F.md5(told)).collect()[0][0])

    def split(self, split: Split) -> Mapping[Part, int]:
        self.frame.createOrReplaceTempView("rows")
        moments = division.bounds(self._query, split) if self.has_time else None
        self.frame.selectExpr("*", f"{part_sql(split, moments)} AS part").createOrReplaceTempView(
            "rows"
        )
        return division.sizes(self._query)

    def fit(
        self, parts: Sequence[Part], stop_on: Part | None, fit: Fit, progress: Progress
    ) -> Model:
        if fit.blend and self.workers > 1:
            raise BadSettings(
                "--blend fits its second member in one task: leave it out, or use --spark-workers 1"
            )
        workers.require_slots(self._spark.sparkContext, self.workers)
        where = parts_sql(parts)
        folds = division.folds(self._query, fit, parts, self.has_time)
        encoder = Encoder(self._spark, self.columns, folds.prior)
        with ExitStack() as stack:
            with progress.step("encode", len(self.columns), "columns") as advance:
                tables = encoder.learn(folds, fit, where, stack)
                matrix = encoder.encode(tables, f"{where} AND {folds.trains}", folds)
                if stop_on:
                    held = encoder.encode(tables, parts_sql([stop_on]), None)
                    matrix = matrix.unionByName(held)
                advance(len(self.columns))
            values = [table.values for table in tables]
            model = Model(
                self.columns, folds.prior, values, "", 0, negatives_kept=self.negatives_kept
            )
            with progress.step("grow trees", fit.trees, "trees") as advance:
                fitted = workers.fit(model, matrix, fit, self.workers)
                advance(fit.trees)
        return fitted

    def predict(self, model: Model, part: Part, slices: Sequence[str] = ()) -> Scored:
        rows = self._spark.table("rows").where(parts_sql([part]))
        sent = self._spark.sparkContext.broadcast(model)
        try:
            found = score(rows, self.columns, slices, sent)
        finally:
            sent.destroy()
        texts = {name: found[f"slice_{at}"].to_numpy() for at, name in enumerate(slices)}
        moments = found["moment"].to_numpy() if self.has_time else None
        return Scored(found["clicked"].to_numpy(), found["log_odds"].to_numpy(), texts, moments)

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._spark.sql(sql).collect()]
