"""Exported events, and several inputs together, by the rules of ``batch.events.load``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from app.contracts.events import HIDE
from batch.events.folder import until
from batch.events.inputs import MARK, Inputs
from batch.events.load import USED, report_of
from batch.interactions.counting import DENY, LEFT_OUT, SINCE, Counting, reasons
from batch.interactions.load import STEPS, none_left
from batch.interactions.pairs import Capped, Report
from batch.interactions.reading import Reading
from batch.spark.read.load import Pairs, items_of, newest, read
from batch.spark.read.source import LITERALLY
from batch.spark.read.storage import Storage, readable


def read_all(spark: SparkSession, inputs: Inputs, reading: Reading, rejects: str) -> Pairs:
    """Read files, folders and events into distinct pairs. Raises as ``read`` does."""
    events = [path for path in inputs.paths if _is_of_events(spark, path, inputs)]
    others = [path for path in inputs.paths if path not in events]
    times: dict[str, float | None] = {}
    if inputs.weighing.looks_back:
        times = {path: newest(spark, path, reading.layout) for path in others}
        times |= {path: _newest(spark, path) for path in events}
    counting = inputs.weighing.counting(times, reading.layout.item_column)
    parts = [
        read(
            spark,
            path,
            reading.layout,
            rejects=_rejects(rejects, number),
            max_rejects=reading.max_rejects,
            counting=counting,
        )
        for number, path in enumerate(others)
    ]
    if events:
        parts += _read_events(spark, events, counting)
    found = parts[0] if len(parts) == 1 and not events else _together(inputs.shown, parts)
    if not found.report.pairs:
        found.release()
        raise none_left(inputs.shown, found.report.rows, found.report.zero, found.report.left_out)
    most = inputs.weighing.max_items_per_user
    return _capped(found, most) if most else found


def _capped(found: Pairs, most: int) -> Pairs:
    """See ``batch.interactions.cap``."""
    had = found.frame.groupBy("user").agg(F.count("*").alias("had")).where(F.col("had") > most)
    beyond, worst = F.sum(F.col("had") - most), F.min(F.struct(-F.col("had"), "user"))
    users, pairs, first = had.agg(F.count("*"), beyond, worst).collect()[0]
    if not users:
        return found
    times = [F.desc("timestamp")] if "timestamp" in found.frame.columns else []
    strongest = Window.partitionBy("user").orderBy(F.desc("weight"), *times, "item")
    ranked = found.frame.withColumn("rank", F.row_number().over(strongest))
    capped = Capped(users, pairs, first[1], -first[0])
    report = replace(found.report, capped=capped)
    return replace(found, frame=ranked.where(F.col("rank") <= most).drop("rank"), report=report)


def _is_of_events(spark: SparkSession, path: str, inputs: Inputs) -> bool:
    with readable(path):
        storage = Storage(spark, path)
        if path in inputs.of_events():
            return True
        return storage.exists() and storage.is_folder() and MARK in storage.names()


def _paths(spark: SparkSession, uris: Sequence[str]) -> list[str]:
    found = [Storage(spark, uri) for uri in uris]
    return [file.path for each in found if each.exists() for file in each.find()]


def _newest(spark: SparkSession, uri: str) -> float:
    with readable(uri):
        paths = _paths(spark, [uri])
        last = _rows(spark, paths).agg(F.max("time")).collect()[0][0] if paths else 0
        return (last or 0) / 1e3


def _read_events(spark: SparkSession, uris: Sequence[str], counting: Counting) -> list[Pairs]:
    """The pairs of folders of events; none when they hold no file."""
    paths = _paths(spark, uris)
    if not paths:
        return []
    with readable(", ".join(uris)):
        events = _once(_rows(spark, paths)).persist(StorageLevel.MEMORY_AND_DISK)
        weighed = _weighed(spark, events, counting)
        pairs = _pairs(weighed.where("left_out = 0"))
        hidden = events.where(F.col("type") == HIDE).select("user", "item").distinct()
        counted, distinct = pairs.agg(F.coalesce(F.sum("n"), F.lit(0)), F.count("*")).collect()[0]
        counts = weighed.where("left_out > 0").groupBy("left_out").count().collect()
        left_out = reasons((row[0], row[1]) for row in counts)
        unknown = counting.unknown(items_of(events)) if counting.lists else {}
    rows = counted + sum(left_out.values())
    report = Report(len(paths), rows, {}, counted - distinct, 0, USED, (), left_out, unknown)
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


def _weighed(spark: SparkSession, events: DataFrame, counting: Counting) -> DataFrame:
    """Those that say something, with what they count, and whether they are ``left_out``."""
    amount = F.when(F.col("type") == "purchase", F.col("value")).otherwise(F.lit(1.0))
    weight, seconds = _weight_of(counting) * amount, F.col("time") / 1e3
    if counting.half_life is not None:
        age = (F.lit(counting.newest) - seconds) / F.lit(counting.half_life)
        weight = weight * F.pow(F.lit(2.0), -age)
    found = events.withColumn("weight", weight).where("weight IS NOT NULL AND item != ''")
    why = {SINCE: seconds < F.lit(counting.since)} if counting.since is not None else {}
    for name, ids in counting.lists.items():
        columns = {"item": pa.array([*ids], pa.string()), name: pa.array([True] * len(ids))}
        listed = spark.createDataFrame(pa.table(columns))
        found = found.join(F.broadcast(listed), "item", "left")
        why[name] = F.col(name).isNotNull() if name == DENY else F.col(name).isNull()
    number = F.when(F.lit(False), 0)
    for name, holds in why.items():
        number = number.when(holds, [*LEFT_OUT].index(name) + 1)
    return found.withColumn("left_out", number.otherwise(0))


def _pairs(weighed: DataFrame) -> DataFrame:
    return weighed.groupBy("user", "item").agg(
        _added(F.col("weight")).cast("float").alias("weight"),
        (F.min("time") / 1e3).alias("timestamp"),
        F.count("*").alias("n"),
    )


def _weight_of(counting: Counting) -> Column:
    """The weight of an event by its type; null for those that say nothing."""
    weight = F.when(F.lit(False), 0.0)
    for kind, each in counting.weights.items():
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
        raise none_left(name, report.rows, pairs, report.left_out)
    return Pairs(kept, report, kept, hidden, max(part.until for part in parts))


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionByName(frame)
    return whole


def _rejects(folder: str, number: int) -> str:
    return f"{folder}-{number + 1}" if number else folder
