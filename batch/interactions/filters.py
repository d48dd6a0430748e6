"""Columns of items that requests may filter by: values by item, and the bytes they are packed into.

``app.contracts.columns`` says what the bytes are.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from app.contracts.columns import (
    COLUMN_PART_BYTES,
    MAX_VALUES,
    NO_DATE,
    UNKNOWN,
    Column,
    Type,
    column_part,
)
from batch.errors import BadInteractions


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
