"""What each column of examples is: a number, a category, or nothing that a model should see.

A text is a number when each of its cells is one, or is missing; all rows are looked at, for the
one cell that is none may be the last. An id says nothing of the rows to come: a text that is
another for nearly every row, and what is named like one, are left out unless they were asked for.

Callers send what the live model was trained on, so its columns stay what they are there.
"""

import logging
import re
from collections.abc import Sequence
from datetime import datetime

import duckdb

from app.contracts.clicks import MAX_COLUMNS, Column, Kind
from batch.clicks.examples.layout import CATEGORIES, LABEL, NUMBERS, Reading
from batch.clicks.rows import Schema, Seen
from batch.errors import BadInteractions
from batch.interactions.columns import FRACTIONS, INTEGERS, TEXTS, TIMES, number_of
from batch.interactions.sources.layout import Layout
from batch.interactions.sources.table import PASS_OVER, Table

log = logging.getLogger("larder.clicks")

_ID_NAME = re.compile(r"(?i:(.*[_ -])?(u?u?id|user|item))|.*[a-z](Id|ID)")
_READABLE = ("BOOLEAN", *TEXTS, *INTEGERS, *FRACTIONS)
_ID_SHARE, _ID_ROWS = 0.9, 1_000
"""From this share of different values among this many rows, texts are ids."""
_MOST, _FIRST = 0.5, 10_000
"""A text is of words where fewer than this share of its first cells are numbers."""


def look(connection: duckdb.DuckDBPyConnection, table: Table) -> list[Seen]:
    """Look at every cell of the table; rows that cannot be cut into columns are passed over."""
    words = _words(connection, table)
    asked = ", ".join(_asked(n, kind, n in words) for n, kind in enumerate(table.types))
    sql = f"SELECT count(*), {asked} FROM ({table.scan(PASS_OVER)})"
    found = connection.execute(sql).fetchall()[0]
    return [
        Seen(name, kind, found[0], filled, good, min(values, filled), example or "")
        for name, kind, filled, good, values, example in zip(
            table.columns, table.types, *(found[1 + each :: 4] for each in range(4)), strict=True
        )
    ]


def _words(connection: duckdb.DuckDBPyConnection, table: Table) -> set[int]:
    """Texts that begin with few numbers: to try each cell as one would take most of the time."""
    texts = [n for n, kind in enumerate(table.types) if kind == "VARCHAR"]
    few = [f"count({number_of(f'c{n}')}) < {_MOST} * count(nullif(c{n}, ''))" for n in texts]
    first = f"(SELECT * FROM ({table.scan(PASS_OVER)}) LIMIT {_FIRST})"
    found = connection.execute(f"SELECT {', '.join(['0', *few])} FROM {first}").fetchall()[0]
    return {n for n, are_words in zip(texts, found[1:], strict=True) if are_words}


def _asked(n: int, type_: str, are_words: bool) -> str:
    """SQL for what ``Seen`` has from ``filled`` on."""
    kind, cell, numbers = base(type_), f"c{n}", "0"
    if kind == "VARCHAR":
        cell = f"nullif(c{n}, '')"
        numbers = "0" if are_words else f"count({number_of(cell)})"
    elif kind in FRACTIONS:
        cell = f"if(isnan(c{n}::DOUBLE), NULL, c{n})"
    elif not kind:
        cell = f"c{n}::VARCHAR"
    if kind in (*INTEGERS, *FRACTIONS):
        numbers = f"count({cell})"
    differ = f"approx_count_distinct({cell})"
    return f"count({cell}), {numbers}, {differ}, min({cell})::VARCHAR"


def base(type_: str) -> str:
    """DuckDB's name of a type without its parameters; none for what holds several values."""
    holds_several = type_.endswith("]") or type_.startswith(("STRUCT", "MAP", "UNION"))
    return "" if holds_several else type_.split("(")[0]


def infer(reading: Reading, seen: Sequence[Seen], path: str) -> Schema:
    """Say what each column is. Raises BadInteractions when nothing is left to learn from.

    That a column which an option names is there is checked where the cells are read.
    """
    label, time = reading.label or LABEL, reading.time_column or None
    if not any(each.rows for each in seen):
        raise BadInteractions(f"{path}: expected rows, found none below the header")
    kinds = _preset_kinds(reading.layout)
    columns, ignored = [], []
    for each in seen:
        if each.name in (label, time):
            continue
        kind, why = _kind(each, reading, kinds)
        if kind is None:
            ignored.append((each.name, why))
        else:
            columns.append(Column(each.name, kind))
    if not columns or len(columns) > MAX_COLUMNS:
        left = "; ".join(f"{name!r}: {why}" for name, why in ignored[:5])
        raise BadInteractions(
            f"{path}: expected 1 to {MAX_COLUMNS:,} columns to learn from beside the label "
            f"{label!r}, found {len(columns):,}" + (f" (left out are {left})" if left else "")
        )
    return Schema(label, time, tuple(columns), tuple(ignored))


def _preset_kinds(layout: Layout) -> dict[str, Kind]:
    """Of a preset whose columns are known, what they are."""
    if layout.names != (LABEL, *NUMBERS, *CATEGORIES):
        return {}
    kinds: dict[str, Kind] = {name: "number" for name in NUMBERS}
    return kinds | {name: "category" for name in CATEGORIES}


def _kind(each: Seen, reading: Reading, kinds: dict[str, Kind]) -> tuple[Kind | None, str]:
    """What a column is; None, and why, where it is left out."""
    if each.name in reading.ignore:
        return None, "--ignore"
    if each.name in reading.numeric:
        return "number", ""
    if each.name in reading.categorical:
        return "category", ""
    if each.name in reading.no_features:
        return None, "examples.json says that it is no feature (--categorical takes it in)"
    if each.name in kinds:
        return kinds[each.name], ""
    looks, why = _looks(each)
    live = next((known.kind for known in reading.live if known.name == each.name), None)
    if live and base(each.type) in _READABLE:
        if live != looks:
            _tell_of_live(each.name, live, looks, why)
        return live, ""
    if looks == "category":
        _tell_of_numbers(each)
    return looks, why


def _looks(each: Seen) -> tuple[Kind | None, str]:
    """What a column is by its name, its type and its cells."""
    type_ = base(each.type)
    if not each.name.strip():
        return None, "it has no name"
    if type_.startswith(TIMES):
        return None, "it is a time (--time-column)"
    if type_ not in _READABLE:
        return None, f"it is of type {each.type}"
    if not each.filled:
        return None, "all its cells are missing"
    if _ID_NAME.fullmatch(each.name):
        return None, "by its name it is an id (--categorical takes it in)"
    if each.numbers == each.filled:
        return "number", ""
    if each.rows < _ID_ROWS or each.values <= _ID_SHARE * each.rows:
        return "category", ""
    if _is_time(each.example):
        return None, f"it looks like a time (--time-column {each.name})"
    return None, "nearly every row has another value (--categorical takes it in)"


def _tell_of_live(name: str, live: Kind, looks: Kind | None, why: str) -> None:
    """Warn of a column that is what it is in the live model, and does not look like that."""
    options = {"number": "--numeric %s makes it one", "category": "--categorical %s makes it one"}
    told = f"it looks like a {looks}" if looks else why.split(" (")[0]
    change = options.get(looks or "", "--ignore %s leaves it out") % name
    log.warning("%r is a %s, as in the live model, though %s: %s", name, live, told, change)


def _tell_of_numbers(each: Seen) -> None:
    """Warn of a category most of whose cells are numbers."""
    if each.numbers > _MOST * each.filled:
        log.warning(
            "%r is a category for %s of its %s cells, which are no numbers: --numeric %s makes it "
            "a number, and rejects those rows",
            each.name,
            f"{each.filled - each.numbers:,}",
            f"{each.filled:,}",
            each.name,
        )


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
