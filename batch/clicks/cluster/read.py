"""Read examples with Spark: what a column is says a sample on the driver; executors do the rest.

The rules for cells and rejects are those of one machine. What differs: a column whose cells are
all missing in the sample is left out, and a text behind it in a column of numbers is a reject.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import reduce

import duckdb
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from batch.clicks.cluster.examples import ClusterExamples
from batch.clicks.examples.cells import Cells
from batch.clicks.examples.layout import SAID, Reading
from batch.clicks.examples.read import check_labels, sampled
from batch.clicks.rows import Report, Schema, Seen
from batch.interactions.sources.folder import private_folder
from batch.interactions.sources.layout import Layout
from batch.interactions.sources.table import Table
from batch.spark.read import rejects as folders
from batch.spark.read.rows import ABOUT, Meaning, Said
from batch.spark.read.source import open_source, sample
from batch.spark.read.storage import Storage, readable

_BITS = 33
"""Below these, Spark's numbers of rows count within a partition; above, they are its own number."""


@dataclass(frozen=True, slots=True)
class Impressions:
    """A ``batch.spark.read.rows.Meaning``: a row says label, moment, n0.., c0.., as in ``rows``.

    absent: columns of the schema that are missing in every row.
    """

    schema: Schema
    absent: frozenset[str] = frozenset()

    def roles(self, layout: Layout) -> set[str]:
        named = {self.schema.label, self.schema.time, *(each.name for each in self.schema.columns)}
        return {name for name in named - self.absent if name is not None}

    def said(self, table: Table, name: str) -> Said:
        cells = Cells(table, name, self.schema, self.absent)
        sql = {"label": (cells.label, pa.int8()), "moment": (cells.moment, pa.int64())}
        sql |= {f"n{at}": (each, pa.float32()) for at, each in enumerate(cells.numbers)}
        for at, each in enumerate(cells.categories):
            sql[f"c{at}"] = (f"coalesce({each}, '')", pa.string())
        return Said(cells.checks, tuple(sorted(self.roles(table.layout))), sql)

    def lay(self, connection: duckdb.DuckDBPyConnection) -> None:
        """It needs no other tables."""


def read(
    spark: SparkSession, uris: Sequence[str], reading: Reading, workers: int, stack: ExitStack
) -> ClusterExamples:
    """Read files and folders that have a label; Spark keeps the rows until the stack is closed.

    Rejects are listed in their folder. Raises BadSettings and BadInteractions, as one machine does.
    """
    shown = ", ".join(uris)
    with readable(shown):
        reading, schema, seen, leaks = _looked_at(spark, uris, reading, shown)
        rows, report = kept(spark, uris, reading, Impressions(schema), stack)
        clicks = rows.agg(F.sum("label")).collect()[0][0] or 0
    check_labels(report.good, clicks, schema, shown)
    report, kept_share = replace(report, leaks=leaks), reading.negatives_kept or 1.0
    return ClusterExamples(report, schema, seen, clicks, kept_share, rows, workers)


def _looked_at(
    spark: SparkSession, uris: Sequence[str], reading: Reading, shown: str
) -> tuple[Reading, Schema, Sequence[Seen], Mapping[str, float]]:
    """What the beginnings of the files say of the columns."""
    with private_folder() as folder:
        places = [folder / str(number) for number in range(len(uris))]
        for uri, place in zip(uris, places, strict=True):
            place.mkdir()
            sample(spark, uri, reading.layout, place, SAID)
        reading = reading.beside(tuple(places))
        reading.check()
        anyhow = replace(reading, texts=replace(reading.texts, max_rejects=1.0))
        with sampled(places, anyhow, shown) as rows:
            return reading, rows.schema, rows.seen, rows.report.leaks


def kept(
    spark: SparkSession,
    uris: Sequence[str],
    reading: Reading,
    meaning: Meaning,
    stack: ExitStack,
) -> tuple[DataFrame, Report]:
    """The right rows of the input, numbered in the order of reading, and what became of all.

    Raises BadSettings, or BadInteractions when too many are rejected.
    """
    folder = Storage(spark, reading.texts.rejects_folder)
    for uri in uris:
        folders.check_folder(folder, Storage(spark, uri))
    sources = [open_source(spark, uri, reading.layout, meaning) for uri in uris]
    frame = reduce(DataFrame.unionByName, [source.rows for source in sources])
    frame = frame.withColumn("place", F.monotonically_increasing_id())
    frame = frame.persist(StorageLevel.MEMORY_AND_DISK)
    stack.callback(frame.unpersist)
    counted = frame.groupBy(F.shiftright("place", _BITS).alias("part"), "reason").count().collect()
    rejected, sizes = Counter[str](), Counter[int]()
    for part, reason, count in counted:
        rejected.update({reason: count} if reason else {})
        sizes.update({part: count})
    wrong = frame.where("reason IS NOT NULL").groupBy(*ABOUT).count()
    good, limit = sizes.total() - rejected.total(), reading.texts.max_rejects
    shown, layout = ", ".join(uris), reading.layout
    folders.settle(
        shown, layout, good, rejected, wrong.withColumnRenamed("count", "rows"), folder, limit
    )
    files = sum(source.files for source in sources)
    right = frame.where("reason IS NULL").drop(*ABOUT)
    return _numbered(right, sizes), Report(files, sizes.total(), dict(rejected))


def _numbered(rows: DataFrame, sizes: Counter[int]) -> DataFrame:
    """Give rows one number after the other, with gaps where some were rejected."""
    before, starts = 0, []
    for part in sorted(sizes):
        starts.append((part, before))
        before += sizes[part]
    first = rows.sparkSession.createDataFrame(starts, "part long, first long")
    joined = rows.join(F.broadcast(first), F.shiftright("place", _BITS) == F.col("part"))
    within = F.col("place").bitwiseAND(F.lit((1 << _BITS) - 1))
    return joined.withColumn("row", F.col("first") + within).drop("part", "first", "place")
