"""Load interactions: check every row, merge the rows of one pair, number users and items.

How the rows of one pair (user, item) merge, whatever their order in the files:

* no rating and no weight column: every row weighs 1, so the weight is the number of rows;
* weights add up;
* of several ratings the latest counts; at equal times, or without timestamps, the highest;
* the timestamp is the latest one.

A pair whose merged weight is 0 says nothing to a model of implicit feedback: it is counted and
left out. (In Book-Crossing 0 means "has it, did not rate it": that preset counts 0 as 1.)
"""

from pathlib import Path

import duckdb
import numpy as np

from batch.errors import BadInteractions
from batch.interactions import rejects as wrong_rows
from batch.interactions.columns import REASONS, Columns
from batch.interactions.layout import Layout
from batch.interactions.pairs import Interactions, Report
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

    Wrong rows are left out, counted in the report and written to the file `rejects` (CSV: file,
    line, reason, content), if there are any. Raises BadInteractions when the input cannot be
    read, when wrong rows are more than the share `max_rejects`, or when no pair is left.
    """
    path = Path(path)
    return reading(
        path,
        layout,
        lambda connection, table: _load(connection, table, path, rejects, max_rejects),
    )


def load_pair(
    train: str | Path,
    test: str | Path,
    layout: Layout = Layout(),
    *,
    rejects: Path | None = None,
    max_rejects: float = 0.01,
) -> tuple[Interactions, Interactions]:
    """Load two inputs whose indexes mean the same: both have the users and items of either.

    Wrong rows of the second go to a rejects file of their own, with `-test` in its name.
    """
    beside = rejects and rejects.with_stem(f"{rejects.stem}-test")
    one = load(train, layout, rejects=rejects, max_rejects=max_rejects)
    other = load(test, layout, rejects=beside, max_rejects=max_rejects)
    users = sorted({*one.users, *other.users})
    items = sorted({*one.items, *other.items})
    return one.among(users, items), other.among(users, items)


def _load(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    path: Path,
    rejects: Path | None,
    max_rejects: float,
) -> Interactions:
    columns = Columns(table, path)
    is_torn = wrong_rows.fill(connection, table, lambda rows: _merge(columns, rows))
    groups = connection.execute(
        "SELECT reason = 0, sum(n)::BIGINT, count(*) FROM pairs GROUP BY ALL"
    ).fetchall()
    good, pairs = next((group[1:] for group in groups if group[0]), (0, 0))
    if is_torn or len(groups) > 1 or not good:
        wrong = wrong_rows.gather(connection, table, columns.reason, REASONS)
    else:
        wrong = []
    counts = wrong_rows.check(path, wrong, good, rejects, max_rejects)
    total = good + counts.total()
    kept = _number(connection)
    if not kept:
        raise BadInteractions(
            f"{path}: expected interactions, found none in {total} rows"
            + (f": {pairs} pairs weigh 0" if pairs else "")
        )
    report = Report(len(table.files), total, dict(counts), good - pairs, pairs - kept)
    return _fetch(connection, columns.timestamp is not None, report)


def _merge(columns: Columns, rows: str) -> str:
    """Return SQL that fills the table `pairs` in one pass over the rows."""
    said = [f"{columns.user} AS user", f"{columns.item} AS item", f"{columns.reason} AS reason"]
    merged = ["user", "item", "reason", "count(*) AS n", f"({_merged(columns)})::FLOAT AS weight"]
    if columns.weight:
        said.append(f"CASE WHEN reason = 0 THEN {columns.weight} END AS weight")
    if columns.timestamp:
        said.append(f"{columns.timestamp} AS timestamp")
        merged.append("max(timestamp) AS timestamp")
    return (
        f"CREATE OR REPLACE TEMP TABLE pairs AS SELECT {', '.join(merged)} "
        f"FROM (SELECT {', '.join(said)} FROM ({rows})) GROUP BY user, item, reason"
    )


def _merged(columns: Columns) -> str:
    if columns.weight is None:
        return "count(*)"
    if not columns.is_rating:
        steps = f"sum((weight * {STEPS})::HUGEINT)"
        return f"CASE WHEN count(*) = 1 THEN max(weight) ELSE {steps}::DOUBLE / {STEPS} END"
    if columns.timestamp is None:
        return "max(weight)"
    return "max({'timestamp': timestamp, 'weight': weight}).weight"


def _number(connection: duckdb.DuckDBPyConnection) -> int:
    """Number users and items by their sorted ids; return the number of pairs that count."""
    connection.execute(
        "CREATE TEMP VIEW kept AS SELECT * FROM pairs WHERE reason = 0 AND weight > 0"
    )
    for column in ("user", "item"):
        connection.execute(
            f"CREATE TEMP TABLE {column}s AS SELECT {column}, {column}::VARCHAR AS id, "
            f"(row_number() OVER (ORDER BY {column}::VARCHAR) - 1)::INTEGER AS code "
            f"FROM (SELECT DISTINCT {column} FROM kept)"
        )
    counted = connection.execute("SELECT count(*) FROM kept").fetchone()
    return int(counted[0]) if counted else 0


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
