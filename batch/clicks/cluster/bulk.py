"""``larder clicks score`` on Spark: what a model says of a table of any size, into a folder."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from app.contracts.clicks import Column
from batch.clicks.bulk import check_kept
from batch.clicks.cluster.read import Impressions, kept
from batch.clicks.cluster.scoring import probabilities
from batch.clicks.examples.layout import Reading
from batch.clicks.examples.read import absent_of, expect_kept
from batch.clicks.model import Model
from batch.clicks.rows import Report, Schema
from batch.errors import BadSettings
from batch.interactions.columns import INTEGERS
from batch.interactions.sources.layout import Layout
from batch.interactions.sources.table import Table
from batch.spark.read.rows import Said
from batch.spark.read.storage import Storage, readable

log = logging.getLogger("larder.clicks")


@dataclass(frozen=True, slots=True)
class Candidates:
    """A ``batch.spark.read.rows.Meaning``: rows without a label, see ``clicks.read.read_for``.

    keep: columns that rows say as they are: k0, k1, ...
    """

    columns: tuple[Column, ...]
    keep: tuple[str, ...]

    def roles(self, layout: Layout) -> set[str]:
        return {*(each.name for each in self.columns), *self.keep}

    def said(self, table: Table, name: str) -> Said:
        absent = absent_of(table.columns, self.columns, self.keep, name)
        found = Impressions(Schema(None, None, self.columns), absent).said(table, name)
        sql = {f"k{at}": _as_it_is(table, each) for at, each in enumerate(self.keep)}
        used = tuple(dict.fromkeys([*found.used, *self.keep]))
        return Said(found.checks, used, {**found.sql, **sql})

    def lay(self, connection: duckdb.DuckDBPyConnection) -> None:
        """It needs no other tables."""


def _as_it_is(table: Table, name: str) -> tuple[str, pa.DataType]:
    cell, kind = table.identifier(name), table.type_of(name)
    if kind in INTEGERS:
        return f"CAST({cell} AS BIGINT)", pa.int64()
    if kind in ("FLOAT", "DOUBLE"):
        return f"CAST({cell} AS DOUBLE)", pa.float64()
    return f"CAST({cell} AS VARCHAR)", pa.string()


def check(spark: SparkSession, out: str, keep: Sequence[str]) -> None:
    """Raise BadSettings when such a folder cannot be written."""
    if Storage(spark, out).exists():
        raise BadSettings(f"{out}: expected nothing there: name another folder, or remove this one")
    check_kept(keep)


def score(
    spark: SparkSession, uri: str, out: str, reading: Reading, keep: Sequence[str], model: Model
) -> Report:
    """Write row, what is to be kept, and score of each row as a folder of Parquet.

    Spark reads large files first, and lists rejects last: so it knows which row of the input one is
    in a single file without rejects alone. Raises BadSettings and BadInteractions, as one machine
    does.
    """
    check(spark, out, keep)
    with ExitStack() as stack:
        with readable(uri):
            rows, report = kept(
                spark, [uri], reading, Candidates(model.columns, tuple(keep)), stack
            )
        numbered = report.files == 1 and not report.rejected
        if not numbered:
            expect_kept(keep, uri, "rows were rejected, or Spark reads several files")
        sent = spark.sparkContext.broadcast(model)
        stack.callback(sent.destroy)
        scores = probabilities(rows, model.columns, keep, sent)
        if not numbered:
            scores = scores.withColumn("row", F.lit(None).cast("long"))
        scores.write.parquet(out)
    return report
