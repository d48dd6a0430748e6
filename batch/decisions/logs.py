"""The logs of decisions as Parquet by day, which pandas, Polars and DuckDB read as they are::

    decisions/day=2026-11-21/<first>_<last>.parquet            by the positions of the trainer's log
    decisions/day=2026-11-21/<first>_<last>_<source>.parquet   imported: moments of the same form
    late/day=2026-11-21/<first>_<last>.parquet                 rewards that nothing learns
    _merged/decisions/day=..., _merged/late/day=...            merged into one, see ``merged``

A file is written beside, made durable, then renamed: it is whole, or not there. The columns are
those of ``Joined`` and ``Late``; ``context``, ``slots`` and ``observed`` hold JSON. A trainer that
stood still while another took over may have written the same rows into a file of other bounds: each
counts once.
"""

import heapq
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np

from app.contracts.decisions import DAY_MS, slots_of
from app.contracts.events import ms_of, order
from batch.decisions.terms import Joined, Late
from batch.errors import BadInteractions
from batch.events.folder import copy, replace, sync, writing
from batch.interactions.sources.table import database, literals, reading_errors

KINDS = DECISIONS, LATE = "decisions", "late"
MERGED = tuple(f"_merged/{kind}" for kind in KINDS)
EVER = 1 << 62
"""A moment behind all others, in ms."""

_NAME = re.compile(r"([0-9]+-[0-9]+)_([0-9]+-[0-9]+)(?:_([0-9a-f]+))?\.parquet")
PIECE, PIECE_BYTES = 100_000, 1 << 26
"""Contexts are long, and who reads a file holds a group of its rows."""
_FEW = 512
_TIME = "make_timestamp(time * 1000)::TIMESTAMPTZ AS time"
_OF_DECISIONS = f"SELECT * REPLACE ({_TIME}, rewards::JSON::DOUBLE[] AS rewards) FROM"
_OF_LATE = f"SELECT * REPLACE ({_TIME}) FROM"
_JOINED = ", ".join("epoch_ms(time) AS ms" if each == "time" else each for each in Joined._fields)


@dataclass(frozen=True, slots=True)
class File:
    """first, last: positions, or moments of that form; source: of what it was imported, or ""."""

    path: Path
    first: str
    last: str
    source: str

    def holds(self, other: "File") -> bool:
        """Whether it reaches from where another one of its source begins to where that ends."""
        begins = order(self.first) <= order(other.first)
        return self.source == other.source and begins and order(other.last) <= order(self.last)


class Day(NamedTuple):
    """What happened on a day; reward: the mean of the decisions that count."""

    day: str
    decisions: int
    learned: int
    reward: float
    bytes: int


def files(folder: Path) -> list[File]:
    """Its files of decisions, by where they begin."""
    found = None
    while found != (again := stored(folder, DECISIONS)):
        found = again  # and look again: the trainer may have merged some while this listed them
    return again


def stored(folder: Path, *kinds: str) -> list[File]:
    """All that lies there, of KINDS or MERGED, by where they begin."""
    paths = chain(*(folder.glob(f"{kind}/day=*/*.parquet") for kind in kinds))
    found = ((each, _NAME.fullmatch(each.name)) for each in paths)
    return _in_order(File(each, name[1], name[2], name[3] or "") for each, name in found if name)


def moved(path: Path) -> Path:
    """Where a file is for hours once it was merged."""
    folder = path.parents[2]
    return folder / "_merged" / path.relative_to(folder)


def _in_order(found: Iterable[File]) -> list[File]:
    return sorted(found, key=lambda file: (order(file.first), order(file.last)))


def span(folder: Path) -> tuple[int, int] | None:
    """When its first and its last decision was made, in ms since 1970; None without any."""
    found = files(folder)
    if not found:
        return None
    return ms_of(found[0].first), max(ms_of(file.last) for file in found)


def append(folder: Path, joined: Sequence[Joined], late: Sequence[Late]) -> None:
    """Add what follows all that is there, in order. Raises DiskUnavailable or Terminal.

    A second time with the same changes nothing.
    """
    with writing(folder), opened() as connection:
        for piece in _pieces(joined):
            target = _target(
                folder, DECISIONS, piece[0].time, piece[0].position, piece[-1].position
            )
            _write(connection, target, _columns(piece), _OF_DECISIONS)
        for _, orphans in groupby(late, _day):
            rows = [*orphans]
            target = _target(folder, LATE, rows[0].time, rows[0].position, rows[-1].position)
            _write(connection, target, _columns(rows), _OF_LATE)


def add(folder: Path, joined: Iterable[Joined], source: str) -> None:
    """Add imported decisions, in any order.

    source: what tells their files from others, in hexadecimal digits: the same once more replaces
    what it gave before. An error that ends it takes its files away. Raises as ``append``.
    """
    done = list[Path]()
    try:
        with writing(folder, "nothing was imported"), opened() as connection:
            for number, piece in enumerate(_pieces(joined)):
                first, last = piece[0].time, piece[-1].time
                own = f"{last}-0_{source}{number:04x}"
                done.append(_target(folder, DECISIONS, first, f"{first}-0", own))
                _write(connection, done[-1], _columns(piece), _OF_DECISIONS)
    except BaseException:
        for path in done:
            path.unlink(missing_ok=True)
        raise


def read(folder: Path, start: int = 0, end: int = EVER) -> Iterator[Joined]:
    """Yield the decisions made from ``start`` on and before ``end`` (ms since 1970), in order.

    It holds a few of them at a time. Files that are deleted meanwhile are passed over, those that
    are merged are not. Raises BadInteractions, which names the file that is none of ours, not
    whole, or merged so long ago that it is gone.
    """
    found = _within(folder, start, end)
    with reading_errors(folder), opened() as connection:
        streams = [_stream(connection.cursor(), row, start, end) for row in _in_rows(found)]
        yield from _once(heapq.merge(*streams, key=attrgetter("time")))


def _within(folder: Path, start: int, end: int) -> list[File]:
    return [file for file in files(folder) if ms_of(file.last) >= start and ms_of(file.first) < end]


def _once(rows: Iterable[Joined]) -> Iterator[Joined]:
    """Pass over rows of an entry that was there before: they are of the same moment."""
    time, seen = -1, set[str]()
    for row in rows:
        if row.time != time:
            time, seen = row.time, set()
        if row.position not in seen:
            yield row
        if row.position:
            seen.add(row.position)


def by_day(folder: Path) -> list[Day]:
    """Sum up each day. Raises BadInteractions."""
    rows = _sum_up(
        folder,
        "SELECT strftime(time, '%Y-%m-%d') AS day, count(*), count(*) FILTER (counts), "
        "coalesce(avg(list_sum(rewards)) FILTER (counts), 0)",
        "GROUP BY 1 ORDER BY 1",
    )
    sizes: defaultdict[str, int] = defaultdict(int)
    for file in files(folder):
        with suppress(FileNotFoundError):
            sizes[_day_of(ms_of(file.first))] += file.path.stat().st_size
    return [Day(day, made, learned, reward, sizes[day]) for day, made, learned, reward in rows]


def count(folder: Path, start: int, end: int) -> int:
    """How many decisions that count were made in that time, as ``read`` has it."""
    moment = f"epoch_ms(time) >= {start} AND epoch_ms(time) < {end}"
    rows = _sum_up(folder, "SELECT count(*)", f"WHERE counts AND {moment}", start, end)
    return int(rows[0][0]) if rows else 0


def _sum_up(folder: Path, what: str, how: str, start: int = 0, end: int = EVER) -> list[Any]:
    """Ask all files of a time at once; others where some were merged or deleted meanwhile."""
    while found := _within(folder, start, end):
        try:
            with reading_errors(folder), opened() as connection:
                return connection.execute(f"{what} FROM {parquet_once(found)} {how}").fetchall()
        except BadInteractions:
            if found == _within(folder, start, end):
                raise
    return []


def delete(folder: Path, before: int = EVER) -> int:
    """Delete what was made before a moment, in ms since 1970; return how many files that were.

    A file is deleted whole: one that also holds what came later stays.
    """
    count = 0
    every = *KINDS, *MERGED
    while gone := [file for file in stored(folder, *every) if ms_of(file.last) < before]:
        count += unlink(folder, gone)  # then look again: the trainer may have merged them meanwhile
    return count


def retain(folder: Path, days: int, now: int) -> int:
    """Delete what is older than so many days, -1 for none; return how many files that were."""
    return 0 if days < 0 else delete(folder, now - days * DAY_MS)


def discard_behind(folder: Path, position: str, comes_again: Callable[[str], bool]) -> str:
    """Delete what the trainer wrote of later entries than this; return how far the rest reaches.

    Also what a run that died left half-written. A file whose first entry does not come again stays,
    and so does all before it. Only for the trainer.
    """
    for left in folder.glob("**/day=*/.*.beside"):
        left.unlink(missing_ok=True)
    own = [file for file in stored(folder, *KINDS) if not file.source]
    gone = [file for file in stored(folder, *MERGED) if order(file.last) > order(position)]
    while own and order(own[-1].first) > order(position) and comes_again(own[-1].first):
        gone.append(own.pop())
    unlink(folder, gone)
    return max([position, *(file.last for file in own)], key=order)


def unlink(folder: Path, gone: Sequence[File]) -> int:
    """Delete files; return how many they were. Raises DiskUnavailable or Terminal."""
    with writing(folder, "what is left of the logs stays as it was"):
        for file in gone:
            file.path.unlink(missing_ok=True)
        for parent in {file.path.parent for file in gone}:
            sync(parent)
    return len(gone)


def _pieces(joined: Iterable[Joined]) -> Iterator[list[Joined]]:
    """What goes into one file: of one day, in order, no more than fits in memory several times."""
    piece, size = list[Joined](), 0
    for row in joined:
        if piece and (size > PIECE_BYTES or len(piece) == PIECE):
            yield from _days(piece)
            piece, size = [], 0
        piece.append(row)
        size += len(row.context)
    yield from _days(piece)


def _days(piece: list[Joined]) -> Iterator[list[Joined]]:
    for _, rows in groupby(sorted(piece, key=attrgetter("time")), _day):
        yield [*rows]


def _in_rows(found: Iterable[File]) -> list[list[File]]:
    """Share files out, given by where they begin: in a row each begins behind the one before."""
    rows: list[list[File]] = []
    for file in found:
        fitting = (row for row in rows if order(row[-1].last) <= order(file.first))
        row = next(fitting, None)
        if row is None:
            rows.append([file])
        else:
            row.append(file)
    return rows


@contextmanager
def opened() -> Iterator[duckdb.DuckDBPyConnection]:
    """One that keeps nothing of the files that it has read."""
    with database() as (connection, _):
        connection.execute("SET threads = 1; SET enable_external_file_cache = false")
        yield connection


def _day_of(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%d}"


def _day(row: Joined | Late) -> int:
    return row.time // DAY_MS


def _target(folder: Path, kind: str, ms: int, first: str, last: str) -> Path:
    return folder / kind / f"day={_day_of(ms)}" / f"{first}_{last}.parquet"


def _columns(rows: Sequence[Joined] | Sequence[Late]) -> dict[str, Any]:
    """By name, as arrays that DuckDB reads: what is neither text nor number is JSON."""
    return {name: _array(column) for name, *column in zip(rows[0]._fields, *rows)}


def _array(column: Sequence[Any]) -> Any:
    match column[0]:
        case bool() | int() | float():
            return np.array(column)
        case bytes():
            column = [each.decode(errors="replace") for each in column]
        case tuple():
            column = [
                json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in column
            ]
    return np.array(column, np.object_)


def _write(
    connection: duckdb.DuckDBPyConnection, target: Path, rows: Mapping[str, Any], columns: str
) -> None:
    connection.register("given", rows)
    replace(target, lambda beside: copy(connection, f"{columns} given", beside, 1))
    connection.unregister("given")


def parquet(*paths: Path) -> str:
    """SQL for their rows."""
    return f"read_parquet({literals(paths)}, hive_partitioning = false)"


def parquet_once(found: Sequence[File]) -> str:
    """All their rows; where files overlap, each entry once, which takes memory."""
    rows = parquet(*(file.path for file in found))
    return f"(SELECT DISTINCT ON (position, time, id) * FROM {rows})" if overlap(found) else rows


def overlap(found: Iterable[File]) -> bool:
    """Whether an entry may be in two of them, given by where they begin."""
    own = [file for file in found if not file.source]
    return any(order(after.first) <= order(file.last) for file, after in pairwise(own))


def _stream(
    cursor: duckdb.DuckDBPyConnection, own: Sequence[File], start: int, end: int
) -> Iterator[Joined]:
    """The decisions of files that follow each other."""
    for file in own:
        with reading_errors(file.path):
            yield from _rows(cursor, file, start, end)


def _rows(cursor: duckdb.DuckDBPyConnection, file: File, start: int, end: int) -> Iterator[Joined]:
    for path in (file.path, moved(file.path)):
        try:
            cursor.execute(
                f"SELECT {_JOINED} FROM {parquet(path)} WHERE ms >= {start} AND ms < {end}"
            )
            while rows := cursor.fetchmany(_FEW):
                yield from map(_joined, rows)
            return
        except (TypeError, ValueError) as error:
            raise BadInteractions(f"{path}: holds what is no decision ({error})") from error
        except duckdb.Error:
            if path.exists():  # else it was merged, or deleted, since it was listed
                raise
    if any(each.holds(file) for each in stored(file.path.parents[2], DECISIONS)):
        raise BadInteractions(
            f"{file.path}: was merged hours ago, before it was read: run it again"
        )


def _joined(row: Sequence[Any]) -> Joined:
    position, id, ms, context, slots, rewards, observed, *others = row
    named = tuple((slot, value) for slot, value in json.loads(observed))
    known = context.encode(), slots_of(slots), tuple(rewards), named
    return Joined(position, id, ms, *known, *others)
