"""Read interactions with Spark: check every row, merge the rows of one pair.

The rules are those of `batch.interactions.load`, and so is the report.
"""

import logging
from collections import Counter
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from batch.interactions.columns import Columns
from batch.interactions.counting import ALL, Counting, reasons
from batch.interactions.load import STEPS, none_left
from batch.interactions.pairs import Report
from batch.interactions.sources.layout import OPTIONAL, Layout
from batch.interactions.sources.table import Table
from batch.spark.read import rejects as folders
from batch.spark.read.rows import ABOUT, Said
from batch.spark.read.source import Source, open_source
from batch.spark.read.storage import Storage, readable

log = logging.getLogger("larder.interactions")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Distinct pairs of user and item."""

    frame: DataFrame
    """Columns user, item (string), weight (float, above 0) and, when the input has them, timestamp
    (double, seconds since 1970 in UTC)."""
    report: Report
    merged: DataFrame
    """What Spark keeps, in memory or on disk: these pairs, those of weight 0, and the rejects."""
    hidden: DataFrame | None = None
    """Other pairs (user, item): what must not be in these users' lists."""
    until: str = ""
    """The last id of the stream of which there are events."""

    def release(self) -> None:
        """Let Spark forget them."""
        self.merged.unpersist()
        if self.hidden is not None:
            self.hidden.unpersist()


@dataclass(frozen=True, slots=True)
class Interactions:
    """A `batch.spark.read.rows.Meaning`: what users did. A row says::

    user, item  string
    weight      double, when there is a rating or weight
    steps       decimal(38, 0), when there is a weight: what sums add up (`STEPS`)
    timestamp   double, when there is one
    left_out    int, when rows may be: as `Counting.left_out` has it
    """

    counting: Counting

    def roles(self, layout: Layout) -> set[str]:
        names = {layout.user_column, layout.item_column, self.counting.type_column}
        return names | {getattr(layout, field) for field in OPTIONAL}

    def said(self, table: Table, name: str) -> Said:
        columns = Columns(table, name, self.counting)
        sql = {
            "user": (f"({columns.user})::VARCHAR", pa.string()),
            "item": (f"({columns.item})::VARCHAR", pa.string()),
        }
        if columns.weight:
            sql["weight"] = (columns.weight, pa.float64())
        if columns.weight and not columns.is_rating:
            steps = f"(({columns.weight}) * {STEPS})::DECIMAL(38, 0)"
            sql["steps"] = (steps, pa.decimal128(38, 0))
        if columns.timestamp:
            sql["timestamp"] = (columns.timestamp, pa.float64())
        if columns.left_out:
            sql["left_out"] = (columns.left_out, pa.int32())
        return Said(columns.checks, tuple(dict.fromkeys(columns.used.values())), sql)

    def lay(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.counting.lay(connection)


def newest(spark: SparkSession, uri: str, layout: Layout) -> float | None:
    """Return the latest time of right rows (seconds since 1970), None when they have no times."""
    with readable(uri):
        source = open_source(spark, uri, layout, Interactions(ALL))
        if "timestamp" not in source.rows.columns:
            return None
        found = source.rows.agg(F.coalesce(F.max("timestamp"), F.lit(0.0)))
        return float(found.collect()[0][0])


def read(
    spark: SparkSession,
    uri: str,
    layout: Layout,
    *,
    rejects: str | None,
    max_rejects: float,
    counting: Counting = ALL,
) -> Pairs:
    """Read one file, or all files of a folder, into distinct pairs of user and item.

    Rejected rows are counted in the report and listed in the folder `rejects` (CSV: file, how many
    rows of it, reason, content); when there are none, that of an earlier run is removed. Raises
    BadSettings when something else is there; BadInteractions when the input cannot be read, when
    the rejects are more than the share `max_rejects`, or when no pair is left though nothing was
    left out or faded.
    """
    with readable(uri):
        folder = None if rejects is None else Storage(spark, rejects)
        if folder is not None:
            folders.check_folder(folder, Storage(spark, uri))
        source = open_source(spark, uri, layout, Interactions(counting))
        columns = Columns(source.table, uri, counting)
        merged = _merged(source.rows, columns).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            return _settled(uri, source, columns, merged, folder, max_rejects, counting)
        except BaseException:
            merged.unpersist()
            raise


def _merged(rows: DataFrame, columns: Columns) -> DataFrame:
    """Return a row of each pair, and of each reason and text that rows were rejected for."""
    said = [F.count(F.lit(1)).alias("n"), _weight(columns).cast("float").alias("weight")]
    if columns.timestamp:
        said.append(F.min("timestamp").alias("timestamp"))
    if not columns.left_out:
        return rows.groupBy("user", "item", *ABOUT).agg(*said)
    for name in {"user", "weight", "steps"} & {*rows.columns}:
        rows = rows.withColumn(name, F.when(F.col("left_out") == 0, F.col(name)))
    return rows.groupBy("user", "item", "left_out", *ABOUT).agg(*said)


def _weight(columns: Columns) -> Column:
    if columns.weight is None:
        return F.count("user")  # null where a row is left out
    if not columns.is_rating:
        added = F.sum("steps").cast("double") / F.lit(STEPS)
        least = F.max("weight")  # each may be less than a step
        return F.when(F.count(F.lit(1)) == 1, least).otherwise(F.greatest(added, least))
    if columns.timestamp is None:
        return F.max("weight")
    return F.max(F.struct("timestamp", "weight"))["weight"]


def _settled(
    uri: str,
    source: Source,
    columns: Columns,
    merged: DataFrame,
    folder: Storage | None,
    max_rejects: float,
    counting: Counting,
) -> Pairs:
    right, rejected = _counted(merged)
    left_out = _left_out(merged) if columns.left_out else {}
    wrong = merged.where("reason IS NOT NULL").withColumnRenamed("n", "rows")
    folders.settle(uri, source.table.layout, right["rows"], rejected, wrong, folder, max_rejects)
    total = right["rows"] + rejected.total()
    if not right["kept"] and not left_out and counting.half_life is None:
        raise none_left(uri, total, right["pairs"])
    report = Report(
        source.files,
        total,
        dict(rejected),
        right["rows"] - sum(left_out.values()) - right["pairs"],
        right["pairs"] - right["kept"],
        columns.used,
        columns.unused(),
        left_out,
        counting.unknown(items_of(merged)) if counting.lists else {},
    )
    names = [name for name in merged.columns if name not in ("n", "left_out", *ABOUT)]
    kept = merged.where("reason IS NULL AND weight > 0").select(names)
    return Pairs(kept, report, merged)


NONE = Row(reason=None, rows=0, pairs=0, kept=0)


def _counted(merged: DataFrame) -> tuple[Row, Counter[str]]:
    """Count right rows, their pairs and those of weight above 0, and rejected rows by reason."""
    counts = merged.groupBy("reason").agg(
        F.sum("n").alias("rows"),
        F.count("user").alias("pairs"),
        F.count_if(F.col("weight") > 0).alias("kept"),
    )
    found = {row["reason"]: row for row in counts.collect()}
    right = found.pop(None, NONE)
    return right, Counter({reason: row["rows"] for reason, row in found.items()})


def _left_out(merged: DataFrame) -> dict[str, int]:
    counts = merged.where("left_out > 0").groupBy("left_out").agg(F.sum("n"))
    return reasons((row[0], row[1]) for row in counts.collect())


def items_of(frame: DataFrame) -> list[str]:
    """Return the ids of the items in a frame."""
    return [row[0] for row in frame.select("item").distinct().collect()]
