"""Columns of items that requests may filter by: their types, and their bytes in a generation.

A manifest names its ``columns`` in order, each with its type and its length in bytes, a multiple of
8. Their bytes stand one behind the other in the parts ``columns:<n>`` of COLUMN_PART_BYTES each,
the last one shorter. All is little-endian, and filled up with zeros::

    number    f32 an item; NaN where it has none
    flag      a byte an item: 0 no, 1 yes, 255 where it is not known
    date      i64 an item: seconds since 1970 in UTC; -2**63 where it has none
    category  the length of what follows (u32), a JSON array of the values in order, zeros up to a
              multiple of 8 from the start; where the codes of each item begin, and where the last
              end (u32, items + 1); then the codes (u16): places in the array

An item may have several values of a category. Two columns of dates mean something by their names:
an item is shown from ``available_from`` on and not from ``available_until`` on.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from app.contracts.generations import BrokenRecord

Type = Literal["number", "flag", "date", "category"]
TYPES: tuple[Type, ...] = get_args(Type)

COLUMN_PART_BYTES = 1 << 20
MAX_COLUMNS = 32
MAX_VALUES = 65_535
"""Of one category."""

AVAILABLE_FROM, AVAILABLE_UNTIL = "available_from", "available_until"

UNKNOWN = 255
NO_DATE = -(2**63)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a generation; size: of what it takes, in bytes."""

    name: str
    type: Type
    size: int

    @classmethod
    def read(cls, entry: Any) -> Self:
        """An entry of a manifest. Raises BrokenRecord."""
        name, kind, size = entry if isinstance(entry, list) and len(entry) == 3 else (0, 0, 0)
        is_size = type(size) is int and size >= 0 and size % 8 == 0
        if not isinstance(name, str) or kind not in TYPES or not is_size:
            raise BrokenRecord(f"expected a column's name, type and size, found {entry!r:.80}")
        return cls(name, kind, size)

    def entry(self) -> list[str | int]:
        """As it stands in a manifest."""
        return [self.name, self.type, self.size]


def column_part(number: int) -> str:
    return f"columns:{number}"


def column_parts(size: int) -> int:
    """How many parts hold columns of so many bytes."""
    return math.ceil(size / COLUMN_PART_BYTES)
