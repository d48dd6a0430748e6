"""Columns of items that requests may filter by: what is in a file, and the bytes it is packed into.

``app.contracts.filtering.columns`` says what the bytes are. Where nobody says what a column of
texts is, it is what all its cells can be: flags, numbers, dates, or else a category. Cells that are
empty, and NaN, are no value.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import duckdb
import numpy as np

from app.contracts.filtering.columns import (
    AVAILABLE_FROM,
    AVAILABLE_UNTIL,
    COLUMN_PART_BYTES,
    MAX_VALUES,
    NO_DATE,
    UNKNOWN,
    Column,
    Type,
    column_part,
)
from batch.errors import BadInteractions
from batch.interactions.columns import (
    FRACTIONS,
    INTEGERS,
    TEXTS,
    TIMES,
    Checks,
    number_of,
)

_LARGEST = float(np.finfo(np.float32).max)
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}.*"
_FLAGS = "CASE WHEN {0} IN ('true', 'yes', '1') THEN true WHEN {0} IN ('false', 'no', '0') " + (
    "THEN false END"
)


@dataclass(frozen=True, slots=True)
class FilterColumn:
    """What the items have in one column.

    values: by item id, without those that have none: a float, a bool, whole seconds since 1970, or
    the distinct texts of a category.
    """

    name: str
    type: Type
    values: Mapping[str, Any]

    def packed(self, items: Sequence[str]) -> bytes:
        """The column of these items, in their order. Raises BadInteractions."""
        found = self._category(items) if self.type == "category" else self._plain(items)
        return found + bytes(-len(found) % 8)

    def _plain(self, items: Sequence[str]) -> bytes:
        nothing, kind = _PLAIN[self.type]
        return np.array([self.values.get(item, nothing) for item in items], kind).tobytes()

    def _category(self, items: Sequence[str]) -> bytes:
        found = [self.values.get(item, ()) for item in items]
        values = sorted(set(chain.from_iterable(found)))
        if len(values) > MAX_VALUES:
            raise BadInteractions(
                f"the column {self.name!r} has {len(values):,} values and a category has at most "
                f"{MAX_VALUES:,}: leave it out of --filter-columns, or is it another type, such as "
                f"{self.name}:number?"
            )
        code_of = {value: code for code, value in enumerate(values)}
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
        head = len(text).to_bytes(4, "little") + text
        bounds = np.cumsum([0, *map(len, found)], dtype="<u4")
        codes = np.array([code_of[value] for each in found for value in each], "<u2")
        return head + bytes(-len(head) % 8) + bounds.tobytes() + codes.tobytes()


_PLAIN: Mapping[Type, tuple[Any, str]] = {
    "number": (np.nan, "<f4"),
    "flag": (UNKNOWN, "u1"),
    "date": (NO_DATE, "<i8"),
}
"""What an item has that has no value, and the type of numbers."""


@dataclass(frozen=True, slots=True)
class Packed:
    """All columns of a generation; without arguments those of one that has none."""

    columns: tuple[Column, ...] = ()
    data: bytes = b""

    @classmethod
    def of(cls, columns: Sequence[FilterColumn], items: Sequence[str]) -> "Packed":
        """Those of these items, in their order. Raises BadInteractions."""
        packed = [each.packed(items) for each in columns]
        named = zip(columns, packed, strict=True)
        return cls(
            tuple(Column(column.name, column.type, len(part)) for column, part in named),
            b"".join(packed),
        )

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """The name and the bytes of each part."""
        for number, first in enumerate(range(0, len(self.data), COLUMN_PART_BYTES)):
            yield column_part(number), self.data[first : first + COLUMN_PART_BYTES]


class FilterCells:
    """SQL for the cells of some columns of an items file.

    types: of the columns by name; None where the cells say it. Raises BadInteractions for a column
    that is not there or cannot be filtered by. A cell that is not of the type that was asked for is
    what its row is rejected for.
    """

    def __init__(self, checks: Checks, types: Mapping[str, Type | None]) -> None:
        self._checks = checks
        self._types: dict[str, Type | None] = {}
        for name, kind in types.items():
            checks.required(name, "--filter-columns")
            if kind is None and name in (AVAILABLE_FROM, AVAILABLE_UNTIL):
                kind = "date"
            self._types[name] = kind or self._native(name)
            if kind is not None:
                self._check(name, kind)

    @property
    def raw(self) -> str:
        """What ``load`` must find in the table beside ``id`` and ``reason``."""
        return "".join(f", {self._checks.table.identifier(name)}" for name in self._types)

    def load(self, connection: duckdb.DuckDBPyConnection, table: str) -> tuple[FilterColumn, ...]:
        """The columns of the rows that were not rejected; of several of one id the last counts."""
        found = {
            name: kind or self._guess(connection, table, name) for name, kind in self._types.items()
        }
        return tuple(
            FilterColumn(name, kind, self._values(connection, table, name, kind))
            for name, kind in found.items()
        )

    def _native(self, name: str) -> Type | None:
        """What the column's type in a Parquet file says; None for texts."""
        kind = self._checks.table.type_of(name)
        if kind.startswith(TEXTS) and not kind.endswith("]"):
            return None
        if kind == "BOOLEAN":
            return "flag"
        if kind.startswith(TIMES) and not kind.endswith("]"):
            return "date"
        return "category" if kind.endswith("]") else "number"

    def _check(self, name: str, kind: Type) -> None:
        sql = self._checks.table.identifier(name)
        is_wrong = f"{sql}::VARCHAR NOT IN ('', 'nan') AND ({self._value(name, kind)}) IS NULL"
        self._checks.refuse(is_wrong, f"not a {kind}", name)

    def _value(self, name: str, kind: Type) -> str:
        """SQL for a cell as a value of a type, null where it is none."""
        sql, checks = self._checks.table.identifier(name), self._checks
        if kind == "date":
            return f"CASE WHEN abs({checks.seconds(name)}) < 1e11 THEN " + (
                f"floor({checks.seconds(name)})::BIGINT END"
            )
        if kind == "number":
            is_text = checks.kind(name, "VARCHAR", *INTEGERS, *FRACTIONS) == "VARCHAR"
            number = number_of(sql) if is_text else f"{sql}::DOUBLE"
            return f"CASE WHEN abs({number}) <= {_LARGEST!r} THEN {number} END"
        if kind == "flag":
            checks.kind(name, "VARCHAR", "BOOLEAN", *INTEGERS)
            return _FLAGS.format(f"lower({sql}::VARCHAR)")
        return self._texts(name)

    def _texts(self, name: str) -> str:
        sql = self._checks.table.identifier(name)
        if self._checks.table.type_of(name).endswith("[]"):
            cells = f"list_transform({sql}, lambda x: x::VARCHAR)"
        else:
            self._checks.kind(name, *TEXTS, *INTEGERS, *FRACTIONS, "BOOLEAN", *TIMES)
            cells = f"list_transform(string_split({sql}::VARCHAR, '|'), lambda x: trim(x))"
        return f"list_sort(list_distinct(list_filter({cells}, lambda x: x != '')))"

    def _guess(self, connection: duckdb.DuckDBPyConnection, table: str, name: str) -> Type:
        """The type that all cells of a column of texts can be of."""
        sql = self._checks.table.identifier(name)
        kinds: tuple[Type, ...] = ("flag", "number", "date")
        if not self._checks.table.type_of(name).startswith("VARCHAR"):
            return "category"
        is_day = f"regexp_full_match({sql}, '{_DAY}')"
        tests = {kind: f"({self._value(name, kind)}) IS NOT NULL" for kind in kinds}
        tests["flag"] += f" AND {sql} NOT IN ('0', '1')"
        tests["date"] += f" AND {is_day}"
        (found,) = connection.execute(
            f"SELECT {', '.join(f'bool_and({test})' for test in tests.values())} FROM {table} "
            f"WHERE reason = 0 AND {sql} != ''"
        ).fetchall()
        return next((kind for kind, fits in zip(kinds, found) if fits), "category")

    def _values(
        self, connection: duckdb.DuckDBPyConnection, table: str, name: str, kind: Type
    ) -> dict[str, Any]:
        rows = connection.execute(
            f"SELECT id, {self._value(name, kind)} FROM {table} WHERE reason = 0"
        ).fetchall()
        return {item: value for item, value in dict(rows).items() if value not in (None, [])}
