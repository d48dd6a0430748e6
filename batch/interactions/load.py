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

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.errors import BadInteractions
from batch.interactions.columns import Columns
from batch.interactions.counting import ALL, LEFT_OUT, Counting, reasons
from batch.interactions.pairs import Interactions, Report
from batch.interactions.rejects import judge_rows, settle
from batch.interactions.sources.layout import Layout
from batch.interactions.sources.table import Table, reading

PIECE = 1 << 20
"""Pairs that are fetched at once."""
STEPS = 2.0**52
"""Weights are added as whole numbers of steps, so that no order of rows changes a sum."""


def load(
    path: str | Path,
    layout: Layout = Layout(),
    *,
    rejects: Path | None = None,
    max_rejects: float = 0.01,
    counting: Counting = ALL,
) -> Interactions:
    """Load one file, or all files of a folder, into distinct pairs of user and item.

    Rejected rows are counted in the report and listed in the file `rejects` (CSV: file, line,
    reason, content); when there are none, that of an earlier run is removed. Raises BadInteractions
    when the input cannot be read, when the rejects are more than the share `max_rejects`, or when
    no pair is left though nothing was left out or faded.
    """
    path = Path(path)
    return reading(
        path,
        layout,
        lambda connection, table: _load(connection, table, path, rejects, max_rejects, counting),
    )


def newest(path: str | Path, layout: Layout) -> float | None:
    """Return the latest time of right rows (seconds since 1970), None when they have no times."""
    return reading(Path(path), layout, lambda connection, table: _newest(connection, table, path))


def _newest(connection: duckdb.DuckDBPyConnection, table: Table, path: str | Path) -> float | None:
    columns = Columns(table, path)
    if columns.timestamp is None:
        return None
    said = f"{columns.checks.reason} AS reason, {columns.timestamp} AS timestamp"
    judge_rows(
        connection,
        columns.checks,
        "times",
        lambda rows: "CREATE OR REPLACE TEMP TABLE times AS SELECT reason, count(*) AS n, "
        f"max(timestamp) AS newest FROM (SELECT {said} FROM ({rows})) GROUP BY reason",
        lambda reject: None,
    )
    sql = "SELECT coalesce(max(newest), 0)::DOUBLE FROM times WHERE reason = 0"
    return float(connection.execute(sql).fetchall()[0][0])


def _load(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    path: Path,
    rejects: Path | None,
    max_rejects: float,
    counting: Counting,
) -> Interactions:
    columns = Columns(table, path, counting)
    counting.lay(connection)
    # DuckDB cannot know how few ids there are to so many rows, and would hold the rows in a join.
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    good, rejected = settle(
        connection,
        columns.checks,
        "pairs",
        lambda rows: _merged(columns, rows),
        rejects,
        max_rejects,
    )
    total = good + rejected.total()
    left_out = _left_out(connection) if columns.left_out else {}
    pairs, kept = connection.execute(
        "SELECT count(weight), count(*) FILTER (weight > 0) FROM pairs WHERE reason = 0"
    ).fetchall()[0]
    if not kept and not left_out and counting.half_life is None:
        raise none_left(path, total, pairs)
    report = Report(
        len(table.files),
        total,
        dict(rejected),
        good - sum(left_out.values()) - pairs,
        pairs - kept,
        columns.used,
        columns.unused(),
        left_out,
        counting.unknown(_items(connection)) if counting.lists else {},
    )
    return _fetch(connection, columns.timestamp is not None, report)


def _left_out(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    sql = "SELECT left_out, sum(n)::BIGINT FROM pairs WHERE left_out > 0 GROUP BY 1"
    return reasons(connection.execute(sql).fetchall())


def _items(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT id::VARCHAR FROM items").fetchall()]


def none_left(
    path: str | Path, rows: int, pairs: int, left_out: Mapping[str, int] = MappingProxyType({})
) -> BadInteractions:
    """Say that of these rows, and pairs all of weight 0, nothing is left."""
    why = [f"{pairs} pairs weigh 0"] if pairs else []
    why += [f"{number} {LEFT_OUT[reason]}" for reason, number in left_out.items()]
    return BadInteractions(
        f"{path}: expected interactions, found none in {rows} rows"
        + (f": {', '.join(why)}" if why else "")
    )


def _merged(columns: Columns, rows: str) -> str:
    """Return SQL that makes the tables `users`, `items` and `pairs` in two passes over the rows.

    The first numbers all ids, for groups of texts take twice the memory that groups of numbers do.
    """
    ids = f"{columns.user} AS user, {columns.item} AS item"
    said = [ids, f"{columns.checks.reason} AS reason"]
    right = ["user", "item", "reason"]
    merged = ["users.code AS user", "items.code AS item", "reason::UTINYINT AS reason"]
    merged += ["count(*) AS n", f"({_weight(columns)})::FLOAT AS weight"]
    if columns.weight:
        said.append(f"{columns.weight} AS weight")
        counts = "reason = 0 AND left_out = 0" if columns.left_out else "reason = 0"
        right.append(f"CASE WHEN {counts} THEN weight END AS weight")
    if columns.timestamp:
        said.append(f"{columns.timestamp} AS timestamp")
        right.append("timestamp")
        merged.append("min(timestamp) AS timestamp")
    if columns.left_out:
        said.append(f"{columns.left_out} AS left_out")
        right[:2] = [f"CASE WHEN left_out = 0 THEN {id} END AS {id}" for id in ("user", "item")]
        right.append("CASE WHEN reason = 0 THEN left_out ELSE 0 END AS left_out")
        merged.append("left_out")
    return (
        f"CREATE OR REPLACE TEMP TABLE ids AS SELECT user, item FROM (SELECT {ids} FROM ({rows})) "
        "GROUP BY GROUPING SETS ((user), (item)); "
        f"{_numbered('user')}; {_numbered('item')}; DROP TABLE ids; "
        f"CREATE OR REPLACE TEMP TABLE pairs AS SELECT {', '.join(merged)} "
        f"FROM (SELECT {', '.join(right)} FROM (SELECT {', '.join(said)} FROM ({rows}))) AS rows "
        "LEFT JOIN users ON rows.user = users.id LEFT JOIN items ON rows.item = items.id "
        "GROUP BY ALL"
    )


def _numbered(role: str) -> str:
    return (
        f"CREATE OR REPLACE TEMP TABLE {role}s AS SELECT {role} AS id, "
        f"(row_number() OVER (ORDER BY {role}::VARCHAR) - 1)::INTEGER AS code "
        f"FROM ids WHERE {role} IS NOT NULL"
    )


def _weight(columns: Columns) -> str:
    if columns.weight is None:
        counted = "nullif(count(*) FILTER (left_out = 0), 0)"
        return counted if columns.left_out else "count(*)"
    if not columns.is_rating:
        steps = f"sum((weight * {STEPS})::HUGEINT)"
        added = f"greatest({steps}::DOUBLE / {STEPS}, max(weight))"  # each may be less than a step
        return f"CASE WHEN count(*) = 1 THEN max(weight) ELSE {added} END"
    if columns.timestamp is None:
        return "max(weight)"
    bits = "(timestamp + 0.0)::BIT::BIGINT"  # of -0.0 they would be others than of 0.0
    time = f"CASE WHEN {bits} < 0 THEN xor({bits}, {2**63 - 1}) ELSE {bits} END"
    latest = f"max(({time})::HUGEINT * {2**32} + weight::FLOAT::BIT::INTEGER)"
    return f"({latest} & {2**32 - 1}::HUGEINT)::INTEGER::BIT::FLOAT"


def _fetch(
    connection: duckdb.DuckDBPyConnection, has_timestamp: bool, report: Report
) -> Interactions:
    """Fetch the pairs by pieces, for DuckDB's result and the arrays would both be whole at once."""
    kinds: dict[str, type] = {"user": np.int32, "item": np.int32, "weight": np.float32}
    if has_timestamp:
        kinds["timestamp"] = np.float64
    pairs: dict[str, NDArray[Any]] = {
        name: np.empty(report.pairs, kind) for name, kind in kinds.items()
    }
    rows = connection.execute("SELECT count(*) FROM pairs").fetchall()[0][0]
    end = 0
    for at in range(0, rows, PIECE):
        piece = connection.execute(
            f"SELECT {', '.join(pairs)} FROM pairs WHERE reason = 0 AND weight > 0 "
            f"AND rowid BETWEEN {at} AND {at + PIECE - 1}"
        ).fetchnumpy()
        start, end = end, end + len(piece["user"])
        for name, whole in pairs.items():
            whole[start:end] = piece[name]
    connection.execute("DROP TABLE pairs")
    users, user = _ids(connection, "user", pairs.pop("user"))
    items, item = _ids(connection, "item", pairs.pop("item"))
    shape = len(users), len(items)
    # SciPy sorts by counting, in less time and memory than any sort.
    weight = csr_matrix((pairs.pop("weight"), (user, item)), shape)
    timestamp = csr_matrix((pairs.pop("timestamp"), (user, item)), shape) if has_timestamp else None
    return Interactions(
        users,
        items,
        np.repeat(np.arange(len(users), dtype=np.int32), np.diff(weight.indptr)),
        np.asarray(weight.indices, dtype=np.int32),
        weight.data,
        None if timestamp is None else timestamp.data,
        report,
    )


def _ids(
    connection: duckdb.DuckDBPyConnection, role: str, codes: NDArray[np.int32]
) -> tuple[list[str], NDArray[np.int32]]:
    """Return the ids that pairs have, and the pairs' codes of these."""
    found = connection.execute(f"SELECT id::VARCHAR AS id FROM {role}s ORDER BY code").fetchnumpy()
    connection.execute(f"DROP TABLE {role}s")
    ids = found["id"]
    has_pairs = np.bincount(codes, minlength=len(ids)) > 0
    if has_pairs.all():
        return ids.tolist(), codes
    return ids[has_pairs].tolist(), (np.cumsum(has_pairs, dtype=np.int32) - 1)[codes]
