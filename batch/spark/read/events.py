"""Exported events, and several inputs together, by the rules of ``batch.events.load``."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from app.contracts.events import HIDE
from batch.events.folder import until
from batch.events.inputs import MARK, Inputs, Weighing
from batch.events.load import USED, report_of
from batch.interactions.load import STEPS, none_left
from batch.interactions.pairs import Report
from batch.interactions.reading import Reading
from batch.spark.read.load import Pairs, read
from batch.spark.read.source import LITERALLY
from batch.spark.read.storage import Storage, readable


def read_all(spark: SparkSession, inputs: Inputs, reading: Reading, rejects: str) -> Pairs:
    """Read files, folders and events into distinct pairs. Raises as ``read`` does."""
    events = [path for path in inputs.paths if _is_of_events(spark, path, inputs)]
    others = [path for path in inputs.paths if path not in events]
    limit = reading.max_rejects
    parts = [
        read(spark, path, reading.layout, rejects=_rejects(rejects, number), max_rejects=limit)
        for number, path in enumerate(others)
    ]
    if events:
        parts += _read_events(spark, events, inputs.weighing)
    if len(parts) == 1 and not events:
        return parts[0]
    return _together(inputs.shown, parts)


def _is_of_events(spark: SparkSession, path: str, inputs: Inputs) -> bool:
    with readable(path):
        storage = Storage(spark, path)
        if path in inputs.of_events():
            return True
        return storage.exists() and storage.is_folder() and MARK in storage.names()


def _read_events(spark: SparkSession, uris: Sequence[str], weighing: Weighing) -> list[Pairs]:
    """The pairs of folders of events; none when they hold no file."""
    found = [Storage(spark, uri) for uri in uris]
    paths = [file.path for each in found if each.exists() for file in each.find()]
    if not paths:
        return []
    with readable(", ".join(uris)):
        rows = _rows(spark, paths)
        events = _once(rows).persist(StorageLevel.MEMORY_AND_DISK)
        pairs = _weighed(events, rows.agg(F.max("time")).collect()[0][0] or 0, weighing)
        hidden = events.where(F.col("type") == HIDE).select("user", "item").distinct()
        counted, distinct = pairs.agg(F.coalesce(F.sum("n"), F.lit(0)), F.count("*")).collect()[0]
    report = Report(len(paths), counted, {}, counted - distinct, 0, USED)
    last = until([PurePosixPath(path).name for path in paths])
    return [Pairs(pairs.drop("n"), report, events, hidden, last)]


def _rows(spark: SparkSession, paths: Sequence[str]) -> DataFrame:
    ms, number = (F.split("stream_id", "-")[part].cast("bigint") for part in (0, 1))
    table = spark.read.options(**LITERALLY).parquet(*paths).where("user != ''")
    return table.select(
        *("user", "session", "id"),
        *("type", "item", "value", "time"),
        F.struct(ms, number).alias("taken"),
    )


def _once(rows: DataFrame) -> DataFrame:
    """Each event, as it was first taken."""
    said = F.struct("type", "item", "value", "time")
    sent = rows.groupBy("user", "session", "id").agg(F.min_by(said, "taken").alias("said"))
    return sent.select("user", "said.*")


def _weighed(events: DataFrame, newest: int, weighing: Weighing) -> DataFrame:
    amount = F.when(F.col("type") == "purchase", F.col("value")).otherwise(F.lit(1.0))
    weight = _weight_of(weighing) * amount
    if half_life := weighing.half_life_seconds:
        age = (F.lit(newest) - F.col("time")) / F.lit(1000 * half_life)
        weight = weight * F.pow(F.lit(2.0), -age)
    return (
        events.withColumn("weight", weight)
        .where("weight IS NOT NULL AND item != ''")
        .groupBy("user", "item")
        .agg(
            _added(F.col("weight")).cast("float").alias("weight"),
            (F.min("time") / 1e3).alias("timestamp"),
            F.count("*").alias("n"),
        )
    )


def _weight_of(weighing: Weighing) -> Column:
    """The weight of an event by its type; null for those that say nothing."""
    weight = F.when(F.lit(False), 0.0)
    for kind, each in weighing.weights.items():
        if each > 0:
            weight = weight.when(F.col("type") == kind, each)
    return weight


def _added(weight: Column) -> Column:
    """A sum that is the same whatever the order of rows."""
    steps = F.sum((weight.cast("double") * F.lit(STEPS)).cast("decimal(38,0)"))
    return F.coalesce(steps.cast("double"), F.lit(0.0)) / F.lit(STEPS)


def _together(name: str, parts: Sequence[Pairs]) -> Pairs:
    if not parts:
        raise none_left(name, 0, 0)
    timed = all("timestamp" in part.frame.columns for part in parts)
    columns = ["user", "item", "weight", *(["timestamp"] if timed else [])]
    whole = _union(
        [
            part.frame.select(*columns)
            .withColumn("part", F.lit(number))
            .withColumn("rated", F.lit("rating" in part.report.used))
            for number, part in enumerate(parts)
        ]
    )
    rating = F.max_by(
        F.when(F.col("rated"), F.col("weight")), F.when(F.col("rated"), F.col("part"))
    )
    weight = _added(F.when(~F.col("rated"), F.col("weight"))) + F.coalesce(rating, F.lit(0.0))
    times = [F.min("timestamp").alias("timestamp")] if timed else []
    merged = whole.groupBy("user", "item").agg(weight.cast("float").alias("weight"), *times)
    hides = [part.hidden for part in parts if part.hidden is not None]
    hidden = _union(hides).distinct().persist(StorageLevel.MEMORY_AND_DISK) if hides else None
    kept = merged.where("weight > 0")
    if hidden is not None:
        kept = kept.join(hidden, ["user", "item"], "left_anti")
    kept = kept.persist(StorageLevel.MEMORY_AND_DISK)
    pairs, left = merged.count(), kept.count()
    report = report_of([part.report for part in parts], pairs, left)
    for part in parts:
        part.release()
    if not left:
        raise none_left(name, report.rows, pairs)
    return Pairs(kept, report, kept, hidden, max(part.until for part in parts))


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionByName(frame)
    return whole


def _rejects(folder: str, number: int) -> str:
    return f"{folder}-{number + 1}" if number else folder
