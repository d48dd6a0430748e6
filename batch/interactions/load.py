"""Load interactions: check every row, merge the rows of one pair, number users and items.

How the rows of one pair (user, item) merge, whatever their order in the files:

* no rating and no weight column: every row weighs 1, so the weight is the number of rows;
* weights add up;
* of several ratings the latest counts; at equal times, or without timestamps, the highest;
* the timestamp is the earliest one: when the user first met the item.

So a split by time holds out what a user had not met before. The whole weight goes with the pair:
what a user repeats later still counts where the pair is, and no later rating makes it new.

A pair whose merged weight is 0 says nothing to a model of implicit feedback: it is counted and
left out. (In Book-Crossing 0 means "has it, did not rate it": that preset counts 0 as 1.)
"""

from pathlib import Path

import duckdb
import numpy as np

from batch.errors import BadInteractions
from batch.interactions.columns import Columns
from batch.interactions.layout import Layout
from batch.interactions.pairs import Interactions, Report
from batch.interactions.rejects import settle
from batch.interactions.table import Table, reading

STEPS = 2.0**52
"""Weights are added as whole numbers of steps, so that no order of rows changes a sum."""


def load(
    path: str | Path,
    layout: Layout = Layout(),
    *,
    rejects: Path | None = None,
    max_rejects: float = 0.01,
) -> Interactions:
    """Load one file, or all files of a folder, into distinct pairs of user and item.

    Rejected rows are counted in the report and listed in the file `rejects` (CSV: file, line,
    reason, content); when there are none, that of an earlier run is removed. Raises BadInteractions
    when the input cannot be read, when the rejects are more than the share `max_rejects`, or when
    no pair is left.
    """
    path = Path(path)
    return reading(
        path,
        layout,
        lambda connection, table: _load(connection, table, path, rejects, max_rejects),
    )


def _load(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    path: Path,
    rejects: Path | None,
    max_rejects: float,
) -> Interactions:
    columns = Columns(table, path)
    good, rejected = settle(
        connection,
        columns.checks,
        "pairs",
        lambda rows: _merged(columns, rows),
        rejects,
        max_rejects,
    )
    total = good + rejected.total()
    pairs, kept = _number(connection)
    if not kept:
        raise none_left(path, total, pairs)
    report = Report(
        len(table.files),
        total,
        dict(rejected),
        good - pairs,
        pairs - kept,
        columns.used,
        columns.unused(),
    )
    return _fetch(connection, columns.timestamp is not None, report)


def none_left(path: str | Path, rows: int, pairs: int) -> BadInteractions:
    """Say that of these rows, and pairs all of weight 0, nothing is left."""
    return BadInteractions(
        f"{path}: expected interactions, found none in {rows} rows"
        + (f": {pairs} pairs weigh 0" if pairs else "")
    )


def _merged(columns: Columns, rows: str) -> str:
    """Return SQL for the table `pairs`, in one pass over the rows."""
    reason = columns.checks.reason
    said = [f"{columns.user} AS user", f"{columns.item} AS item", f"{reason} AS reason"]
    merged = ["user", "item", "reason", "count(*) AS n", f"({_weight(columns)})::FLOAT AS weight"]
    if columns.weight:
        said.append(f"CASE WHEN reason = 0 THEN {columns.weight} END AS weight")
    if columns.timestamp:
        said.append(f"{columns.timestamp} AS timestamp")
        merged.append("min(timestamp) AS timestamp")
    return (
        f"SELECT {', '.join(merged)} FROM (SELECT {', '.join(said)} FROM ({rows})) "
        "GROUP BY user, item, reason"
    )


def _weight(columns: Columns) -> str:
    if columns.weight is None:
        return "count(*)"
    if not columns.is_rating:
        steps = f"sum((weight * {STEPS})::HUGEINT)"
        added = f"greatest({steps}::DOUBLE / {STEPS}, max(weight))"  # each may be less than a step
        return f"CASE WHEN count(*) = 1 THEN max(weight) ELSE {added} END"
    if columns.timestamp is None:
        return "max(weight)"
    return "max({'timestamp': timestamp, 'weight': weight}).weight"


def _number(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Number users and items by their sorted ids; return the number of all pairs and of kept."""
    connection.execute(
        "CREATE TEMP VIEW kept AS SELECT * FROM pairs WHERE reason = 0 AND weight > 0"
    )
    for column in ("user", "item"):
        connection.execute(
            f"CREATE TEMP TABLE {column}s AS SELECT {column}, {column}::VARCHAR AS id, "
            f"(row_number() OVER (ORDER BY {column}::VARCHAR) - 1)::INTEGER AS code "
            f"FROM (SELECT DISTINCT {column} FROM kept)"
        )
    pairs, kept = connection.execute(
        "SELECT count(*), count(*) FILTER (weight > 0) FROM pairs WHERE reason = 0"
    ).fetchall()[0]
    return pairs, kept


def _fetch(
    connection: duckdb.DuckDBPyConnection, has_timestamp: bool, report: Report
) -> Interactions:
    users, items = (
        connection.execute(f"SELECT id FROM {name} ORDER BY code").fetchnumpy()["id"].tolist()
        for name in ("users", "items")
    )
    pairs = connection.execute(
        "SELECT users.code AS user, items.code AS item, weight"
        + (", timestamp" if has_timestamp else "")
        + " FROM kept JOIN users USING (user) JOIN items USING (item) ORDER BY 1, 2"
    ).fetchnumpy()
    return Interactions(
        users,
        items,
        np.asarray(pairs["user"], dtype=np.int32),
        np.asarray(pairs["item"], dtype=np.int32),
        np.asarray(pairs["weight"], dtype=np.float32),
        np.asarray(pairs["timestamp"], dtype=np.float64) if has_timestamp else None,
        report,
    )
