"""Exported events as pairs of user and item, beside what other inputs say of the same pairs.

What becomes of events:

* one that was sent twice, under the same id by the same user and session, counts once;
* of a user's, each of a type with a weight adds that weight to the pair; a purchase times its
  value, which is a quantity, so that one of -1 takes a purchase back;
* with a half-life, a weight halves with each that has passed between the event and the newest one
  of the input: the same input gives the same model on any day;
* hide keeps the item out of the user's lists, and the pair is not trained on, whatever else is said
  of it;
* those of sessions without a user, and impressions, make no pair.

How several inputs go together: the weights that they give a pair add up. But two ratings are never
added: of inputs with ratings, the last one named that has the pair counts.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from app.contracts.events import HIDE
from batch.events.folder import files_of, until
from batch.events.inputs import Inputs
from batch.interactions.cap import cap
from batch.interactions.counting import Counting, reasons
from batch.interactions.load import STEPS, load, newest, none_left
from batch.interactions.pairs import Interactions, Report
from batch.interactions.reading import Reading, beside
from batch.interactions.sources.table import database, literals, reading_errors

log = logging.getLogger("larder.events")

USED = {"user": "user", "item": "item", "weight": "type", "timestamp": "time"}
_COLUMNS = "id, type, user, session, item, value, time"
PER_MS = 1 << 21
"""More entries than a stream takes in a millisecond: ids become one number."""


def load_all(inputs: Inputs, reading: Reading, rejects: Path | None) -> Interactions:
    """Load files, folders and events into distinct pairs.

    Each input that is not of events is read by the same layout, and lists its rejects in a file of
    its own. Raises BadInteractions.
    """
    events = inputs.of_events()
    others = inputs.others()
    listed = [_rejects(rejects, number) for number, _ in enumerate(others)]
    counting = _counting(inputs, reading)
    limit = reading.max_rejects
    parts = [
        load(path, reading.layout, rejects=own, max_rejects=limit, counting=counting)
        for path, own in zip(others, listed, strict=True)
    ]
    if files := [file.path for path in events for file in files_of(Path(path))]:
        parts.append(_load_events(", ".join(events), files, counting))
    found = parts[0] if len(parts) == 1 and not events else together(inputs.shown, parts)
    if not len(found):
        raise none_left(inputs.shown, found.report.rows, found.report.zero, found.report.left_out)
    most = inputs.weighing.max_items_per_user
    return cap(found, most) if most else found


def _counting(inputs: Inputs, reading: Reading) -> Counting:
    """What counts, back from the newest row of all inputs."""
    times: dict[str, float | None] = {}
    if inputs.weighing.looks_back:
        times = {path: newest(path, reading.layout) for path in inputs.others()}
        times |= {path: _newest(Path(path)) for path in inputs.of_events()}
    return inputs.weighing.counting(times, reading.layout.item_column)


def _newest(folder: Path) -> float:
    files = [file.path for file in files_of(folder)]
    if not files:
        return 0.0
    with reading_errors(folder), database() as (connection, _):
        sql = f"SELECT coalesce(max(time), 0) FROM read_parquet({literals(files)}) WHERE user != ''"
        return float(connection.execute(sql).fetchall()[0][0]) / 1e3


def load_both(
    train: Inputs, test: Inputs, reading: Reading, rejects: Path
) -> tuple[Interactions, Interactions]:
    """Load two inputs whose indexes mean the same: both have the users and items of either."""
    one = load_all(train, reading, rejects)
    other = load_all(test, reading, beside(rejects, "test"))
    users, items = _ids([one, other])
    return one.among(users, items), other.among(users, items)


def exported_until(inputs: Inputs) -> str:
    """The last id of the stream in any of the folders of events; "" without any."""
    found = (each.path.name for path in inputs.of_events() for each in files_of(Path(path)))
    return until([*found])


def _load_events(name: str, files: Sequence[Path], counting: Counting) -> Interactions:
    """Load files of events, see above.

    The weight of a pair may be below 0 here, and users and items are also those that were hidden.
    """
    with reading_errors(name), database() as (connection, _):
        open_events(connection, files, _COLUMNS, "user != ''")
        counting.lay(connection)
        left_out = _weigh(connection, counting)
        return _fetch(connection, len(files), left_out, _unknown(connection, counting))


def open_events(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], columns: str, wanted: str
) -> None:
    """Make the view ``events`` of those wanted, each once, the first that was ``taken``.

    columns: the names of those that it has, user, session and id among them; wanted: SQL. The view
    ``rows`` has what was sent again, too. An id is its sender's, so that two may use the same one.
    Few ids come twice. So only their hashes are grouped, and rows of doubled ones compared.
    """
    number, sent = "split_part(stream_id, '-', {})::BIGINT", "hash(user, session, id)"
    connection.execute(
        f"CREATE TEMP VIEW rows AS SELECT {columns}, "
        f"{number.format(1)} * {PER_MS} + {number.format(2)} AS taken FROM "
        f"read_parquet({literals(files)}, hive_partitioning = false) WHERE {wanted}"
    )
    connection.execute(
        f"CREATE TEMP TABLE doubled AS SELECT {sent} AS hash FROM rows GROUP BY 1 "
        "HAVING count(*) > 1"
    )
    connection.execute(
        f"CREATE TEMP VIEW events AS SELECT * FROM rows ANTI JOIN doubled ON {sent} = hash "
        f"UNION ALL BY NAME SELECT * FROM rows SEMI JOIN doubled ON {sent} = hash "
        "QUALIFY row_number() OVER (PARTITION BY user, session, id ORDER BY taken) = 1"
    )


def _weigh(connection: duckdb.DuckDBPyConnection, counting: Counting) -> dict[str, int]:
    """Make the tables ``pairs`` and ``hidden``; say how many events were left out, and why."""
    weight = counting.of_type("type")
    amount = "CASE WHEN type = 'purchase' THEN value ELSE 1 END"
    counted = counting.faded(f"{weight} * {amount}", "time / 1e3")
    left_out = counting.left_out("item", None, "time / 1e3")
    meant = f"FROM events WHERE {weight} IS NOT NULL AND item != ''"
    connection.execute(
        "CREATE TEMP TABLE pairs AS SELECT user, item, count(*) AS n, "
        "min(time) / 1e3 AS timestamp, "
        f"sum(({counted} * {STEPS})::HUGEINT)::DOUBLE / {STEPS} AS weight {meant} "
        f"{f'AND {left_out} = 0' if left_out else ''} GROUP BY user, item"
    )
    connection.execute(
        "CREATE TEMP TABLE hidden AS SELECT DISTINCT user, item FROM events "
        f"WHERE type = '{HIDE}'"
    )
    if left_out is None:
        return {}
    sql = f"SELECT {left_out}, count(*) {meant} AND {left_out} > 0 GROUP BY 1"
    return reasons(connection.execute(sql).fetchall())


def _unknown(
    connection: duckdb.DuckDBPyConnection, counting: Counting
) -> Mapping[str, frozenset[str]]:
    if not counting.lists:
        return {}
    items = connection.execute("SELECT DISTINCT item FROM events").fetchall()
    return counting.unknown(item for (item,) in items)


def _fetch(
    connection: duckdb.DuckDBPyConnection,
    files: int,
    left_out: Mapping[str, int],
    unknown: Mapping[str, frozenset[str]],
) -> Interactions:
    for column in ("user", "item"):
        connection.execute(
            f"CREATE TEMP TABLE {column}s AS SELECT {column}, "
            f"(row_number() OVER (ORDER BY {column}) - 1)::INTEGER AS code FROM "
            f"(SELECT {column} FROM pairs UNION SELECT {column} FROM hidden)"
        )
    users, items = (
        connection.execute(f"SELECT {name} FROM {name}s ORDER BY code").fetchnumpy()[name].tolist()
        for name in ("user", "item")
    )
    joined = "JOIN users USING (user) JOIN items USING (item) ORDER BY 1, 2"
    coded = "SELECT users.code AS user, items.code AS item"
    pairs = connection.execute(f"{coded}, weight, timestamp, n FROM pairs {joined}").fetchnumpy()
    hidden = connection.execute(f"{coded} FROM hidden {joined}").fetchnumpy()
    rows, of_users = connection.execute(
        "SELECT count(*), (SELECT count(*) FROM events) FROM rows"
    ).fetchall()[0]
    log.info("events of users: %s, %s of them sent again", f"{rows:,}", f"{rows - of_users:,}")
    n, out = int(pairs["n"].sum()), sum(left_out.values())
    return Interactions(
        users,
        items,
        np.asarray(pairs["user"], np.int32),
        np.asarray(pairs["item"], np.int32),
        np.asarray(pairs["weight"], np.float32),
        np.asarray(pairs["timestamp"], np.float64),
        Report(files, n + out, {}, n - len(pairs["user"]), 0, USED, (), left_out, unknown),
        (np.asarray(hidden["user"], np.int32), np.asarray(hidden["item"], np.int32)),
    )


def together(name: str, parts: Sequence[Interactions]) -> Interactions:
    """Add up what several inputs say of each pair, see above; leave out what its user hid.

    There are timestamps when every input that has pairs has them. Raises BadInteractions when no
    pair is left.
    """
    if not parts:
        raise none_left(name, 0, 0)
    users, items = _ids(parts)
    moved = [part.among(users, items) for part in parts]
    rated = [part for part in moved if "rating" in part.report.used]
    others = [part for part in moved if "rating" not in part.report.used]
    if len(rated) > 1:
        rated = [_merged(rated, _last)]
    whole = _merged([*rated, *others], np.add.reduceat)
    hidden = _hidden(moved, items)
    wanted = (whole.weight > 0) & ~np.isin(_keys(whole.user, whole.item, items), hidden)
    report = report_of([part.report for part in parts], len(wanted), int(wanted.sum()))
    if not wanted.any():
        raise none_left(name, report.rows, len(wanted), report.left_out)
    pairs = (hidden // len(items)).astype(np.int32), (hidden % len(items)).astype(np.int32)
    return replace(whole.select(wanted), report=report, hidden=pairs).compact()


def _merged(
    parts: Sequence[Interactions],
    weigh: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]],
) -> Interactions:
    """One of each pair of parts that share their ids, with the earliest timestamp."""
    first = parts[0]
    keys = np.concatenate([_keys(part.user, part.item, first.items) for part in parts])
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    found = keys[order][starts]
    weights = np.concatenate([part.weight for part in parts]).astype(np.float64)[order]
    times = [part.timestamp for part in parts if len(part)]
    known = [each for each in times if each is not None]
    return replace(
        first,
        user=(found // max(1, len(first.items))).astype(np.int32),
        item=(found % max(1, len(first.items))).astype(np.int32),
        weight=(weigh(weights, starts) if len(starts) else weights).astype(np.float32),
        timestamp=(
            np.minimum.reduceat(np.concatenate(known)[order], starts)
            if known and len(known) == len(times)
            else None
        ),
    )


def _last(weights: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    last: NDArray[np.float64] = weights[np.append(starts[1:], len(weights)) - 1]
    return last


def _hidden(parts: Sequence[Interactions], items: Sequence[str]) -> NDArray[np.int64]:
    keys = [_keys(*part.hidden, items) for part in parts if part.hidden is not None]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *keys]))


def _keys(
    user: NDArray[np.int32], item: NDArray[np.int32], items: Sequence[str]
) -> NDArray[np.int64]:
    """One number for each pair, in the order of user and item."""
    return user.astype(np.int64) * len(items) + item


def _ids(parts: Sequence[Interactions]) -> tuple[list[str], list[str]]:
    users = sorted({user for part in parts for user in part.users})
    return users, sorted({item for part in parts for item in part.items})


def report_of(parts: Sequence[Report], pairs: int, kept: int) -> Report:
    """What became of several inputs, which together named so many pairs and of which some stay."""
    rejected = sum((Counter(part.rejected) for part in parts), Counter[str]())
    left_out = sum((Counter(part.left_out) for part in parts), Counter[str]())
    rows = sum(part.rows for part in parts)
    lists = {name for part in parts for name in part.unknown}
    return Report(
        sum(part.files for part in parts),
        rows,
        dict(rejected),
        rows - rejected.total() - left_out.total() - pairs,
        pairs - kept,
        parts[0].used,
        parts[0].unused,
        dict(left_out),
        {name: frozenset.intersection(*(part.unknown[name] for part in parts)) for name in lists},
    )


def _rejects(first: Path | None, number: int) -> Path | None:
    """Where the rejects of an input go: those of the first where one input's would."""
    return first if first is None or not number else beside(first, str(number + 1))
