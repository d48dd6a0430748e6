"""Load the documents of items: what an answer shows beside each id, such as a title.

A document is one JSON object in a text, made by DuckDB from a row of the items file: from text
files every value is a string, unless its column is said to hold numbers or booleans; from Parquet
numbers, booleans, nulls, lists and structs stay what they are, dates and times become ISO 8601
texts, and NaN and infinity, which JSON lacks, become null. The id itself is not in the document.

Several rows with one id: the last one counts, files being read in the order of their names.
Columns that requests may filter by are read beside the documents, see ``filters``.
"""

import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb

from app.contracts.filtering.columns import Type
from batch.errors import BadInteractions
from batch.interactions.columns import Checks
from batch.interactions.filters import FilterCells, FilterColumn
from batch.interactions.rejects import settle
from batch.interactions.sources.layout import PRESETS, Layout
from batch.interactions.sources.table import Table, literal, reading

log = logging.getLogger("larder.items")

RESERVED = ("item", "score")
"""What the answer itself says of an item; a document cannot say it again."""

FILMS = ("item", "title", "released", "released on video", "url")

ITEM_PRESETS: Mapping[str, Layout] = MappingProxyType(
    {
        name: replace(layout, options="--items-")
        for name, layout in {
            **PRESETS,
            "ml-100k": Layout(
                delimiter="|",
                encoding="latin-1",
                header=False,
                names=(*FILMS, *(f"genre {number}" for number in range(19))),
                quote="",
                document_columns=("title",),
            ),
            "ml-1m": replace(PRESETS["ml-1m"], names=("item", "title", "genres")),
        }.items()
    }
)
"""The items files of the public sets; most are laid out as the interactions beside them."""


@dataclass(frozen=True, slots=True)
class ItemsReport:
    """What was read, and what became of it."""

    files: int
    rows: int
    rejected: Mapping[str, int]
    """Rejected rows by reason."""
    replaced: int
    """Rows whose id a later row has again."""


@dataclass(frozen=True, slots=True)
class Items:
    """The documents by item id, each a JSON object in a text."""

    path: Path
    texts: Mapping[str, str]
    report: ItemsReport
    columns: tuple[FilterColumn, ...] = ()
    """What requests may filter by."""

    def json_objects(self, ids: Iterable[str]) -> Iterator[str]:
        """Yield the document of each id as JSON text, `{}` where there is none."""
        return (self.texts.get(text, "{}") for text in ids)

    def check(self, known: Sequence[str]) -> None:
        """Raise BadInteractions when no known id has a document; warn when most have none."""
        lacking = [item for item in known if item not in self.texts]
        if 2 * len(lacking) <= len(known):
            return
        strange = self.texts.keys() - set(known) or self.texts.keys()
        sentence = (
            f"{self.path}: expected documents for the {len(known):,} items of the interactions, "
            f"found them for {len(known) - len(lacking):,}; without one are {_few(lacking)}, this "
            f"file has {_few(strange)}: are the ids in another column (--items-id-column), or have "
            "they lost leading zeros?"
        )
        if len(lacking) == len(known):
            raise BadInteractions(sentence)
        log.warning("%s", sentence)


def _few(ids: Iterable[str]) -> str:
    return ", ".join(map(repr, islice(sorted(ids), 3)))


def load_items(
    path: str | Path,
    layout: Layout = ITEM_PRESETS["larder"],
    columns: Iterable[str] | None = None,
    *,
    types: Mapping[str, str] = MappingProxyType({}),
    filters: Mapping[str, Type | None] = MappingProxyType({}),
    rejects: Path | None = None,
    max_rejects: float = 0.01,
) -> Items:
    """Load the documents of a file or folder: the given columns, or those that the layout says.

    The id is in the layout's item column. `types` says which columns of texts hold a `number` or
    a `boolean`, `filters` what requests may filter by, with its type where it is not to be found.
    Rejected rows (no id, an id too long, a cell not of its type, not cut into columns) are treated
    as those of interactions are.
    Raises BadInteractions when the file cannot be read, lacks a column, has too many rejects, or
    has a column that the answer needs for itself.
    """
    path = Path(path)
    shown = layout.document_columns if columns is None else tuple(columns)
    return reading(
        path,
        layout,
        lambda connection, table: _load(
            connection, table, path, shown, types, filters, rejects, max_rejects
        ),
    )


def _load(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    path: Path,
    shown: tuple[str, ...] | None,
    types: Mapping[str, str],
    filters: Mapping[str, Type | None],
    rejects: Path | None,
    max_rejects: float,
) -> Items:
    checks = Checks(table, path)
    item = checks.id(table.layout.item_column, f"{table.layout.options}id-column", "missing item")
    document = _document(connection, checks, shown, types)
    cells = FilterCells(checks, filters)
    good, rejected = settle(
        connection,
        checks,
        "items",
        lambda rows: f"CREATE OR REPLACE TEMP TABLE items AS SELECT {item}::VARCHAR AS id, "
        f"{checks.reason} AS reason, 1 AS n, ({document})::VARCHAR AS text{cells.raw} "
        f"FROM ({rows})",
        rejects,
        max_rejects,
    )
    total = good + rejected.total()
    rows = connection.execute("SELECT id, text FROM items WHERE reason = 0").fetchnumpy()
    found = rows["text"].tolist()
    if any("JSON" in kind for kind in table.types):
        found = [_ATOM.sub(_finite, text) for text in found]
    texts = dict(zip(rows["id"].tolist(), found, strict=True))
    if not texts:
        raise BadInteractions(f"{path}: expected items, found none in {total} rows")
    report = ItemsReport(len(table.files), total, dict(rejected), good - len(texts))
    return Items(path, texts, report, cells.load(connection, "items"))


def _document(
    connection: duckdb.DuckDBPyConnection,
    checks: Checks,
    shown: tuple[str, ...] | None,
    types: Mapping[str, str],
) -> str:
    """Return SQL for the JSON object of a row."""
    table = checks.table
    if shown is None:
        shown = tuple(column for column in table.columns if column != table.layout.item_column)
    for column in shown:
        checks.required(column, "--document-columns")
        if column in RESERVED:
            raise BadInteractions(
                f"{checks.path}: expected no column {column!r} in the documents, because an "
                f"answer has its own {' and '.join(RESERVED)}: rename it, or choose columns with "
                "--document-columns"
            )
    if table.is_text:
        values = {c: f"coalesce({table.identifier(c)}, '')" for c in shown}
    else:
        kinds = dict(zip(table.columns, connection.sql(table.scan()).types, strict=True))
        values = {c: _json(table.identifier(c), kinds[c]) for c in shown}
    for column, kind in types.items():
        if checks.required(column, "--document-types") not in values:
            raise BadInteractions(
                f"{checks.path}: expected columns of the documents in --document-types, found "
                f"{column!r}: leave it out there, or add it to --document-columns"
            )
        values[column] = checks.typed(column, kind)
    return f"json_object({', '.join(f'{literal(c)}, {sql}' for c, sql in values.items())})"


_ATOM = re.compile(r'"(?:[^"\\]|\\.)*"|[-+.\w]+')
"""A string, number or name in a JSON text."""


def _finite(atom: re.Match[str]) -> str:
    """Make null of NaN and infinity, which DuckDB passes through in columns of JSON."""
    text = atom[0]
    if text.startswith('"') or text in ("true", "false", "null") or math.isfinite(float(text)):
        return text
    return "null"


def _json(sql: str, kind: Any, depth: int = 0) -> str:
    """Return SQL for a value of this DuckDB type as something that JSON can hold."""
    name = kind.id
    if name in ("float", "double"):  # by way of the shortest text: 0.1, not 0.10000000149011612
        return f"CASE WHEN isfinite({sql}) THEN {sql}::VARCHAR::DOUBLE END"
    if name in ("list", "array"):
        inner = _json(f"x{depth}", kind.children[0][1], depth + 1)
        return f"list_transform({sql}, lambda x{depth}: to_json({inner}))"
    if name == "map":
        inner = _json(f"x{depth}.value", kind.children[1][1], depth + 1)
        pair = f"{{'k': x{depth}.key::VARCHAR, 'v': to_json({inner})}}"
        return f"map_from_entries(list_transform(map_entries({sql}), lambda x{depth}: {pair}))"
    if name == "struct":
        fields = (
            f"{literal(field)}, {_json(f'struct_extract({sql}, {literal(field)})', type_, depth)}"
            for field, type_ in kind.children
        )
        return f"CASE WHEN {sql} IS NOT NULL THEN json_object({', '.join(fields)}) END"
    if name == "timestamp with time zone":  # the connection's time zone is UTC
        return f"replace({sql}::TIMESTAMP::VARCHAR, ' ', 'T') || 'Z'"
    if name.startswith("timestamp"):
        return f"replace({sql}::VARCHAR, ' ', 'T')"
    if name in ("boolean", "decimal") or name.endswith(("int", "integer")) or str(kind) == "JSON":
        return sql
    return f"{sql}::VARCHAR"
