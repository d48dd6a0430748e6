"""Hold out a part of the pairs by the rules of one machine's ``split``, wherever the pairs are."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from batch.interactions.pairs import moment
from batch.recommendations.judge.split import check_share, check_sides, no_timestamps
from batch.recommendations.terms import Holdout


def hold_out(frame: DataFrame, holdout: Holdout) -> DataFrame:
    """Add the column ``held_out`` to pairs (user, item: int; timestamp where there is one).

    The same pairs and seed give the same split, however they are spread. A chronological split is
    that of one machine; a random one draws other pairs. Raises BadSettings when the rule does not
    fit the data.
    """
    if holdout.by_time and "timestamp" not in frame.columns:
        raise no_timestamps()
    if holdout.after is not None:
        return frame.withColumn("held_out", F.col("timestamp") >= holdout.after)
    check_share(holdout.share)
    if holdout.by_time:
        return _last_of_each(frame, "user", F.col("timestamp"), holdout.share)
    group = "item" if holdout.split == "stratified" else "user"
    return _last_of_each(
        frame, group, F.xxhash64(F.lit(holdout.seed), "user", "item"), holdout.share
    )


def _last_of_each(frame: DataFrame, group: str, key: Column, share: float) -> DataFrame:
    """Mark the share of each group that has the highest keys; ties go by user and item."""
    members = Window.partitionBy(group)
    rank = F.row_number().over(members.orderBy(key, "user", "item"))
    kept = F.greatest(F.rint(F.count("*").over(members) * (1 - share)), F.lit(1))
    return frame.withColumn("held_out", rank > kept)


def check_both(frame: DataFrame, holdout: Holdout) -> None:
    """Raise BadSettings when one side of a split is empty."""
    ends = [F.min("timestamp"), F.max("timestamp")] if "timestamp" in frame.columns else []
    counts = F.count_if("held_out"), F.count("*")
    ((held_out, pairs, *period),) = frame.agg(*counts, *ends).collect()
    first, last = (moment(each) for each in period) if period else ("never", "never")
    check_sides(pairs - held_out, held_out, holdout.after, (first, last))
