"""How much a row of interactions counts, and which rows make no pair though they are right.

Both are SQL over the columns of a row, so that one machine, Spark and events count alike.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from batch.errors import BadInteractions
from batch.interactions.sources import files
from batch.interactions.sources.layout import Layout
from batch.interactions.sources.table import Table, literal, reading, reading_errors

LEFT_OUT = {
    "type": "of types without a weight",
    "since": "from before --since",
    "items_allow": "of items not in --items-allow",
    "items_deny": "of items in --items-deny",
}
"""Why rows are left out; the first that holds is the one reason of a row."""
TYPE, SINCE, ALLOW, DENY = LEFT_OUT


@dataclass(frozen=True, slots=True)
class Counting:
    """type_column: "" when rows have no types; weights: of the types that count.

    half_life: seconds after which a row counts half, back from `newest`; since: older rows are left
    out; both are seconds since 1970. allow, deny: ids of items; None when there is no such list.
    """

    type_column: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    half_life: float | None = None
    newest: float = 0.0
    since: float | None = None
    allow: frozenset[str] | None = None
    deny: frozenset[str] | None = None

    def of_type(self, kind: str) -> str:
        """Return SQL for what a row of a type counts; null when it makes no pair."""
        said = {kind: weight for kind, weight in self.weights.items() if weight > 0}
        cases = " ".join(f"WHEN {literal(kind)} THEN {weight!r}" for kind, weight in said.items())
        return f"(CASE {kind} {cases or 'WHEN NULL THEN 0'} END)::DOUBLE"

    def faded(self, weight: str, seconds: str) -> str:
        """Return SQL for a weight that halves with each half-life."""
        if self.half_life is None:
            return weight
        return f"{weight} * pow(2, least(0, ({seconds} - {self.newest!r}) / {self.half_life!r}))"

    def left_out(self, item: str, kind: str | None, seconds: str | None) -> str | None:
        """Return SQL for the position in `LEFT_OUT`, from 1; 0 when it counts. None: all do.

        Where there are lists of items, `lay` has to come before.
        """
        cases = {}
        if kind is not None:
            cases[TYPE] = f"{self.of_type(kind)} IS NULL"
        if self.since is not None and seconds is not None:
            cases[SINCE] = f"{seconds} < {self.since!r}"
        if self.allow is not None:
            cases[ALLOW] = f"{item} NOT IN (FROM {ALLOW})"
        if self.deny is not None:
            cases[DENY] = f"{item} IN (FROM {DENY})"
        at = [*LEFT_OUT].index
        sql = " ".join(f"WHEN {holds} THEN {at(why) + 1}" for why, holds in cases.items())
        return f"(CASE {sql} ELSE 0 END)::UTINYINT" if cases else None

    def lay(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the tables of the lists."""
        for name, ids in self.lists.items():
            connection.execute(f"CREATE TABLE {name} AS SELECT unnest($1::VARCHAR[])", [list(ids)])

    def unknown(self, items: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return the ids of each list that are none of these items."""
        known = frozenset(items)
        return {name: ids - known for name, ids in self.lists.items()}

    @property
    def lists(self) -> dict[str, frozenset[str]]:
        """The lists of items that there are."""
        both = {ALLOW: self.allow, DENY: self.deny}
        return {name: ids for name, ids in both.items() if ids is not None}


ALL = Counting()
"""Every row counts as it is."""


def reasons(counts: Iterable[tuple[int, int]]) -> dict[str, int]:
    """Turn positions in `LEFT_OUT`, from 1, and how many rows have each into reasons and rows."""
    names = [*LEFT_OUT]
    return {names[position - 1]: rows for position, rows in sorted(counts)}


def load_ids(path: Path, item_column: str) -> frozenset[str]:
    """Load ids of items: of CSV, TSV and Parquet the item column, else one of each line.

    The column may also be called `item`. Raises BadInteractions.
    """
    found: set[str] = set()
    for file in files.find(path):
        found |= _ids(file, item_column)
    return frozenset(found - {""})


def _ids(path: Path, item_column: str) -> set[str]:
    def column(connection: duckdb.DuckDBPyConnection, table: Table) -> set[str]:
        name = next((each for each in names if each in table.columns), None)
        if name is None:
            raise BadInteractions(f"{path}: expected a column {item_column!r} of ids, found none")
        sql = f"SELECT DISTINCT {table.identifier(name)}::VARCHAR FROM ({table.scan()})"
        return {row[0] or "" for row in connection.execute(sql).fetchall()}

    names = (item_column, "item")
    if files.kind(path) in files.PARQUET:
        return reading(path, Layout(), column)
    with reading_errors(path), files.opened(path, "utf-8", None) as stream:
        text = stream.read()
        text.encode()  # or it is not UTF-8
    head = files.header(path, Layout())
    if head is not None and set(names) & set(head.columns):
        return reading(path, Layout(), column)
    return set(text.split("\n"))
