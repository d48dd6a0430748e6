"""Impressions joined with the clicks that came of them: what a click model learns from.

What becomes of exported events, each of which counts once however often it was sent:

* An impression of several items is a row of each, in the order of their places.
* A click is one on the latest impression of its item to the same user, or in the same session, at
  most ``window_ms`` before. Where both say a list, or a position, these must be the same.
* Impressions so young that clicks on them may still come are left out. What a wrong clock sent
  from the future happened when it was taken.
* A row says what was known *before* the moment of its impression: how often its item was shown and
  clicked until then, and how often whoever was shown it was shown and clicked anything. A click
  counts from its own moment on, not from that of its impression, which would tell the label.
* Some rows do not say their position (Zhao et al., 2019, "Recommending What Video to Watch Next"):
  so a model learns what to make of items that are yet to be placed.

A folder of examples::

    examples.parquet     the rows, by time
    examples.json        what training has to know of them; it makes the folder one of examples
    _now/items.parquet   the columns of each item, and its counts at the end; no input of training
    _now/users.parquet   the same of each user

It is made beside, then renamed, so nobody ever finds half of one.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from app.contracts.events import IMPRESSION, PURCHASE
from batch.clicks.examples.infer import base
from batch.clicks.examples.layout import SAID
from batch.clicks.terms import ColumnsFile, Joining
from batch.errors import BadInteractions, BadSettings
from batch.events.folder import copy, files_of, sync, write_text, writing
from batch.events.inputs import is_of_events
from batch.events.load import PER_MS, open_events
from batch.interactions.columns import CELL_TYPES, Checks
from batch.interactions.rejects import settle
from batch.interactions.sources.folder import private_folder
from batch.interactions.sources.layout import Layout
from batch.interactions.sources.table import (
    Table,
    database,
    literal,
    literals,
    reading,
    reading_errors,
)

log = logging.getLogger("larder.clicks")

ROWS = "examples.parquet"
NOW = "_now"
HIDDEN = ".larder-"
"""So begins the folder beside; no input has such a name."""
LABEL, TIME = "clicked", "time"
IDS = ("impression", "user", "session", "item", "list")
COUNTS = ("item_impressions", "item_clicks", "user_impressions", "user_clicks")
RATES = ("item_rate", "user_rate")
RESERVED = (*IDS, TIME, "position", *COUNTS, *RATES, LABEL)
SMOOTHING = 20
"""How many impressions of the overall rate stand beside those of an item or user."""
STEPS = 4
_EVENTS = "id, type, user, session, item, items, value, list, position, time"
_SHARES = 1 << 32


@dataclass(frozen=True, slots=True)
class Made:
    """What became of the events.

    impressions: of one item each, joined or left out; clicks: of all types that count, of which
    ``joined`` found an impression; again: events that were sent again; young: impressions left out
    because clicks on them may still come; rows: in the file, of which ``clicked``; positions:
    impressions and those clicked by position, None where nobody said; unknown: by file, items and
    users shown that it lacks.
    """

    impressions: int
    clicks: int
    joined: int
    again: int
    young: int
    negatives_left_out: int
    rows: int
    clicked: int
    positions: Sequence[tuple[int | None, int, int]]
    unknown: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a file says of items or users: rows of ``id`` and v0, v1 .. by these names.

    kind: ``item`` or ``user``; source: None where no file was given, and nothing is known; rows:
    SQL for them.
    """

    kind: str
    source: Path | None = None
    rows: str = "(SELECT '' AS id WHERE false)"
    names: tuple[str, ...] = ()

    def selected(self, alias: str) -> str:
        """SQL that goes behind other columns."""
        quoted = (literal(name, '"') for name in self.names)
        return "".join(f", {alias}.v{n} AS {name}" for n, name in enumerate(quoted))

    @property
    def lacking(self) -> str:
        """SQL for how many of the items or users that were shown it lacks."""
        return (
            f"count(DISTINCT {self.kind}) FROM shown ANTI JOIN {self.rows} AS k "
            f"ON k.id = {self.kind} WHERE {self.kind} != ''"
        )


def make(
    paths: Sequence[Path], joining: Joining, out: Path, advance: Callable[[int], None]
) -> Made:
    """Make a folder of examples from folders of exported events; ``advance`` is told of STEPS.

    Raises BadSettings where a folder is another one, BadInteractions where there is no example.
    """
    others = [str(path) for path in paths if not is_of_events(path)]
    if others:
        raise BadSettings(
            f"{', '.join(others)}: expected folders that 'larder events export' has made"
        )
    shown = ", ".join(map(str, paths))
    files = [file.path for path in paths for file in files_of(path)]
    with _folder(out) as beside, reading_errors(shown), database() as (connection, scratch):
        known = (
            _describe("item", joining.items, scratch),
            _describe("user", joining.users, scratch),
        )
        _refuse_doubled(known)
        if not files:
            raise _nothing(shown, "no file of events")
        open_events(connection, files, _EVENTS, "true")
        steps: list[Callable[[], object]] = [
            partial(_lay, connection, joining),
            partial(_join, connection, joining.window_ms),
            partial(_count, connection),
            partial(_write, connection, joining, known, beside, shown),
        ]
        for step in steps:
            step()
            advance(1)
        return _made(connection, known)


def _describe(kind: str, file: ColumnsFile | None, folder: Path) -> _Known:
    if file is None:
        return _Known(kind)
    target = folder / f"{file.kind}.parquet"
    layout = Layout(
        item_column=file.id_column,
        delimiter=file.delimiter,
        encoding=file.encoding or "utf-8",
        options=f"--{file.kind}-",
    )
    return reading(file.path, layout, partial(_keep, file, target))


def _keep(
    file: ColumnsFile, target: Path, connection: duckdb.DuckDBPyConnection, table: Table
) -> _Known:
    """Write the columns of each id; of several rows of one id the last counts."""
    checks, kind = Checks(table, file.path), file.kind[:-1]
    key = checks.id(file.id_column, f"--{file.kind}-id-column", f"missing {kind}")
    names = file.columns or tuple(name for name in table.columns if name != file.id_column)
    for name in names:
        checks.required(name, f"--{kind}-columns")
    flat = tuple(name for name in names if base(table.type_of(name)))
    if len(flat) < len(names):
        log.warning("%s: columns of lists and structs are left out", file.path)
    cells = "".join(f", {table.identifier(name)} AS v{n}" for n, name in enumerate(flat))

    def made(rows: str) -> str:
        return (
            f"CREATE OR REPLACE TEMP TABLE found AS SELECT ({key})::VARCHAR AS id, "
            f"{checks.reason} AS reason, 1 AS n{cells} FROM ({rows})"
        )

    settle(connection, checks, "found", made, file.rejects, file.max_rejects)
    typed = [_typed(connection, f"v{n}") if table.is_text else f"v{n}" for n in range(len(flat))]
    copy(
        connection,
        f"SELECT {', '.join(['id', *typed])} FROM found WHERE reason = 0 "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY rowid DESC) = 1",
        target,
    )
    return _Known(kind, file.path, f"read_parquet({literals([target])})", flat)


def _typed(connection: duckdb.DuckDBPyConnection, column: str) -> str:
    """A column of a text: of numbers where every cell is one, as JSON writes it."""
    is_number = CELL_TYPES["number"].format(column)
    odd = f"SELECT 1 FROM found WHERE {column} != '' AND NOT {is_number} LIMIT 1"
    text = f"nullif({column}, '')"
    return f"{text if connection.execute(odd).fetchall() else f'{text}::DOUBLE'} AS {column}"


def _refuse_doubled(known: Sequence[_Known]) -> None:
    taken = set(RESERVED)
    for each, name in ((each, name) for each in known for name in each.names):
        if name.lower() in taken:
            raise BadInteractions(
                f"{each.source}: the examples have another column {name!r}: rename it, or choose "
                f"columns with --{each.kind}-columns"
            )
        taken.add(name.lower())


def _lay(connection: duckdb.DuckDBPyConnection, joining: Joining) -> None:
    """Make the tables ``shown`` (a row for each item of an impression, by time) and ``clicks``."""
    many = "len(items) > 0"
    connection.execute(
        "CREATE TEMP TABLE shown AS "
        "SELECT row_number() OVER (ORDER BY time, taken, place) AS row, * FROM (SELECT "
        f"id, user, session, list, time, taken, unnest(if({many}, items, [item])) AS item, "
        "unnest(range(greatest(len(items), 1)))::INTEGER AS place, "
        "CASE WHEN len(items) > 1 OR position >= 0 THEN greatest(position, 0) + place END "
        "AS position, if(user != '', 'user ' || user, 'session ' || session) AS actor "
        f"FROM events WHERE type = '{IMPRESSION}')"
    )
    connection.execute(
        "CREATE TEMP TABLE clicks AS SELECT row_number() OVER () AS click, "
        "user, session, item, list, position, time FROM events "
        f"WHERE type IN ({', '.join(map(literal, joining.click_types))}) AND item != '' "
        f"AND NOT (type = '{PURCHASE}' AND value <= 0)"
    )


def _join(connection: duckdb.DuckDBPyConnection, window_ms: int) -> None:
    """Make the table ``first``: the rows that were clicked, and when that was first; and ``found``.

    Time is cut into slots of a window each, so that whoever does very much, such as a user who
    stands for all visitors, is not compared with all that they ever did.
    """
    matches = " UNION ALL ".join(
        f"SELECT click, max(row) AS row FROM asked JOIN shown ON shown.{who} = asked.{who} "
        f"AND shown.item = asked.item AND shown.time // {window_ms} = asked.slot "
        f"WHERE asked.{who} != '' AND asked.time BETWEEN shown.time AND shown.time + {window_ms} "
        "AND (asked.list = shown.list OR asked.list = '' OR shown.list = '') "
        "AND coalesce(nullif(asked.position, -1) = shown.position, true) GROUP BY click"
        for who in ("user", "session")
    )
    connection.execute(
        f"CREATE TEMP TABLE found AS WITH asked AS (SELECT *, time // {window_ms} - back AS slot "
        f"FROM clicks CROSS JOIN (VALUES (0), (1)) AS slots(back)) "
        f"SELECT click, max(row) AS row FROM ({matches}) GROUP BY click"
    )
    connection.execute(
        "CREATE TEMP TABLE first AS SELECT row, min(time) AS clicked_at "
        "FROM found JOIN clicks USING (click) GROUP BY row"
    )


def _count(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table ``known``: what was known before the moment of each row.

    Of one moment impressions come first, and are of one rank: so what is before a row in its
    window is what was before its moment. Windows of ranges of time say the same in six times the
    time.
    """
    windows = {"item": "PARTITION BY item", "user": "PARTITION BY actor", "all": ""}
    defined = ", ".join(
        f"of_{of} AS ({by} ORDER BY time, hit ROWS UNBOUNDED PRECEDING)"
        for of, by in windows.items()
    )
    sums = ", ".join(
        f"rank() OVER of_{of} - 1 AS {of}_before, (sum(hit) OVER of_{of})::BIGINT AS {of}_clicks"
        for of in windows
    )
    found = ", ".join(
        f"{of}_clicks, {of}_before - {of}_clicks AS {of}_impressions" for of in windows
    )
    connection.execute(
        f"CREATE TEMP TABLE known AS SELECT row, {found} FROM (SELECT row, {sums} FROM ("
        "SELECT row, item, actor, time, 0::TINYINT AS hit FROM shown UNION ALL "
        "SELECT NULL, item, actor, clicked_at, 1 FROM shown JOIN first USING (row)) "
        f"WINDOW {defined}) WHERE row IS NOT NULL"
    )


def _counts(of: str, overall: str) -> str:
    seen, hit = f"{of}_impressions", f"{of}_clicks"
    rate = f"({hit} + {SMOOTHING} * {overall}) / ({seen} + {SMOOTHING}) AS {of}_rate"
    return f"{seen}, {hit}, {rate}"


def _write(
    connection: duckdb.DuckDBPyConnection,
    joining: Joining,
    known: Sequence[_Known],
    folder: Path,
    shown: str,
) -> None:
    """Make the view ``labelled``, and the files."""
    content = f"concat_ws(' ', {joining.seed}, user, session, id, place)"
    kept, hidden = (round(s * _SHARES) for s in (joining.negatives_kept, joining.positions_hidden))
    connection.execute(
        "CREATE TEMP VIEW labelled AS SELECT shown.*, clicked_at, "
        f"time + {joining.window_ms} >= (SELECT max(least(time, taken // {PER_MS})) FROM rows) "
        "AS young, "
        f"clicked_at IS NOT NULL OR chance % {_SHARES} < {kept} AS kept, "
        f"chance // {_SHARES} < {hidden} AS hidden FROM "
        f"(SELECT *, md5_number_lower({content}) AS chance FROM shown) AS shown "
        "LEFT JOIN first USING (row)"
    )
    one = connection.execute("SELECT 1 FROM labelled WHERE NOT young AND kept LIMIT 1").fetchall()
    if not one:
        raise _nothing(shown, "no impression that is older than the window before the last event")
    items, users = known
    with writing(folder, "nothing was written"):
        copy(
            connection,
            "SELECT l.id AS impression, l.user, l.session, l.item, l.list, "
            "make_timestamptz(l.time * 1000) AS time, "
            "CASE WHEN NOT hidden THEN position END AS position, "
            f"{_counts('item', 'overall')}, {_counts('user', 'overall')}"
            f"{items.selected('i')}{users.selected('u')}, "
            f"(clicked_at IS NOT NULL)::TINYINT AS {LABEL} FROM labelled AS l JOIN "
            "(SELECT *, all_clicks / nullif(all_impressions, 0) AS overall FROM known) USING (row) "
            f"LEFT JOIN {items.rows} AS i ON i.id = l.item "
            f"LEFT JOIN {users.rows} AS u ON u.id = l.user "
            "WHERE NOT young AND kept ORDER BY l.row",
            folder / ROWS,
        )
        (folder / NOW).mkdir()
        for each in known:
            copy(connection, _now(each), folder / NOW / f"{each.kind}s.parquet")
        write_text(folder / SAID, json.dumps(_told(joining), indent=2) + "\n")


def _now(known: _Known) -> str:
    """The columns and counts of each item or user that is known or was shown, at the end."""
    kind = known.kind
    counted = (
        f"SELECT {kind} AS id, count(*) AS {kind}_impressions, count(clicked_at) AS {kind}_clicks "
        f"FROM labelled WHERE {kind} != '' GROUP BY ALL"
    )
    overall = "(SELECT count(clicked_at) / count(*) FROM labelled)"
    own = (name for name in COUNTS if name.startswith(kind))
    zeroed = ", ".join(f"coalesce({name}, 0) AS {name}" for name in own)
    return (
        f"SELECT id AS {kind}, {_counts(kind, overall)}{known.selected('j')} FROM (SELECT * "
        f"REPLACE ({zeroed}) FROM ({counted}) FULL JOIN {known.rows} USING (id)) AS j ORDER BY 1"
    )


def _told(joining: Joining) -> dict[str, Any]:
    return {
        "label": LABEL,
        "time_column": TIME,
        "negatives_kept": joining.negatives_kept,
        "ignore": list(IDS),
        "positions_hidden": joining.positions_hidden,
        "window_ms": joining.window_ms,
        "click_types": list(joining.click_types),
        "seed": joining.seed,
    }


def _made(connection: duckdb.DuckDBPyConnection, known: Sequence[_Known]) -> Made:
    def ask(sql: str) -> list[Any]:
        return connection.execute(f"SELECT {sql}").fetchall()

    ((clicks, joined, sent, events),) = ask(
        ", ".join(
            f"(SELECT count(*) FROM {each})" for each in ("clicks", "found", "rows", "events")
        )
    )
    ((impressions, young, dropped, rows, clicked),) = ask(
        "count(*), count_if(young), count_if(NOT young AND NOT kept), "
        "count_if(NOT young AND kept), count_if(NOT young AND clicked_at IS NOT NULL) FROM labelled"
    )
    positions = ask(
        "position, count(*), count(clicked_at) FROM labelled WHERE NOT young GROUP BY position "
        "ORDER BY position NULLS LAST"
    )
    unknown = {
        f"{each.kind}s": int(ask(each.lacking)[0][0]) for each in known if each.source is not None
    }
    return Made(
        impressions,
        clicks,
        joined,
        sent - events,
        young,
        dropped,
        rows,
        clicked,
        positions,
        unknown,
    )


def _nothing(shown: str, found: str) -> BadInteractions:
    return BadInteractions(
        f"{shown}: expected impressions to make examples of, found {found}: have pages tell what "
        "they show (larder.impressions), and export more events, or name a shorter --window"
    )


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """Give a folder that takes the place of ``out`` at the end, where all went well."""
    if out.exists() and not (out / SAID).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise BadSettings(
            f"{out} is no folder of examples: expected one that 'larder clicks examples' made, or "
            "an empty one"
        )
    with writing(out, "nothing was written"):
        out.parent.mkdir(parents=True, exist_ok=True)
        with private_folder(out.parent, HIDDEN) as private:
            (beside := private / "new").mkdir()
            yield beside
            for path in (*beside.rglob("*"), beside):
                sync(path)
            if out.exists():
                os.rename(out, private / "old")
            os.rename(beside, out)
            sync(out.parent)
