"""What a filter asks of a generation's columns: which items may be shown.

Beside ``model`` the only module of the API that imports numpy. The arrays lie in the machine's file
as ``app.contracts.filtering.columns`` has them; a mask has one place for each item, or for each of
those that were asked for. What an item has no value for is outside of every range and no value of a
category, so that only a negated clause lets it through.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence, Set
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contracts.filtering.columns import (
    AVAILABLE_FROM,
    AVAILABLE_UNTIL,
    NO_DATE,
    UNKNOWN,
    Column,
    Type,
)
from app.contracts.filtering.filters import Clause
from app.contracts.generations import BrokenRecord

Mask = NDArray[np.bool_]
Items = NDArray[np.integer[Any]]
"""Indices of items."""

_LAST_DATE = 2**63 - 1
_FEW = 8


class Columns:
    """The columns of a generation, made once for all requests.

    Raises BrokenRecord when the bytes are not those of such columns of so many items.
    """

    def __init__(self, columns: Sequence[Column], items: int, data: memoryview | bytes) -> None:
        view, at = memoryview(data), 0
        self._types: dict[str, Type] = {each.name: each.type for each in columns}
        self._values: dict[str, _Column] = {}
        for column in columns:
            part, at = view[at : at + column.size], at + column.size
            try:
                self._values[column.name] = _READERS[column.type](part, items)
            except (ValueError, TypeError, IndexError, RecursionError) as error:
                raise BrokenRecord(f"column {column.name!r} cannot be read: {error}") from error
        self._start, self._until = self._dates(AVAILABLE_FROM), self._dates(AVAILABLE_UNTIL)
        dates = np.concatenate((self._start, self._until))
        self._boundaries: list[int] = np.unique(dates[dates != NO_DATE]).tolist()
        self._available: tuple[int, Mask | None] = -1, None

    def types(self) -> Mapping[str, Type]:
        """The name and the type of each."""
        return self._types

    def mask(self, clause: Clause, items: Items | None = None) -> Mask:
        """Where a clause holds: of these items, or of all. Raises BadFilter."""
        clause.check(self._types)
        found = self._values[clause.column].mask(clause, items)
        return ~found if clause.is_negated else found

    def epoch(self, now: float) -> int:
        """A number that changes when the availability of any item does; now: seconds since 1970."""
        return bisect_right(self._boundaries, now)

    def available(self, now: float) -> Mask | None:
        """Which of all items may be shown at this moment; None where every one may.

        The answer of an epoch is kept.
        """
        epoch = self.epoch(now)
        known, mask = self._available
        if known != epoch:
            mask = self._shown(math.floor(now))
            self._available = epoch, mask
        return mask

    def values(self, name: str, items: Sequence[int]) -> list[tuple[str, ...]]:
        """The values that each of these items has of a category; KeyError where it is none."""
        found = self._values[name]
        if not isinstance(found, _Category):
            raise KeyError(name)
        return found.texts(np.array(items, np.int64))

    def lacking(self, name: str, values: Collection[str]) -> bytes:
        """A byte an item: 1 where it has none of these values of a category."""
        return self.mask(Clause(name, tuple(values), is_negated=True)).tobytes()

    def _dates(self, name: str) -> NDArray[np.int64]:
        """Those of a column that says when items may be shown; none where there is no such one."""
        found = self._values.get(name)
        return found.seconds if isinstance(found, _Dates) else np.empty(0, np.int64)

    def _shown(self, now: int) -> Mask | None:
        shown: Any = True
        if len(self._start):
            shown = self._start <= now
        if len(self._until):
            shown &= (self._until > now) | (self._until == NO_DATE)
        return None if np.all(shown) else np.asarray(shown)


class _Numbers:
    def __init__(self, part: memoryview, items: int) -> None:
        self._numbers = np.frombuffer(part, "<f4", items)

    def mask(self, clause: Clause, items: Items | None) -> Mask:
        numbers = self._numbers if items is None else self._numbers[items]
        found = np.zeros(len(numbers), np.bool_)
        with np.errstate(over="ignore"):  # beyond all that a column can hold: infinite
            for low, high in np.array(clause.bounds("number")).astype(np.float32):
                found |= (numbers >= low) & (numbers <= high)
        return found


class _Dates:
    def __init__(self, part: memoryview, items: int) -> None:
        self.seconds = np.frombuffer(part, "<i8", items)

    def mask(self, clause: Clause, items: Items | None) -> Mask:
        seconds = self.seconds if items is None else self.seconds[items]
        found = np.zeros(len(seconds), np.bool_)
        for low, high in clause.bounds("date"):
            least = NO_DATE + 1 if low == -math.inf else math.ceil(low)
            most = _LAST_DATE if high == math.inf else math.floor(high)
            found |= (seconds >= least) & (seconds <= most)
        return found


class _Flags:
    def __init__(self, part: memoryview, items: int) -> None:
        self._flags = np.frombuffer(part, np.uint8, items)

    def mask(self, clause: Clause, items: Items | None) -> Mask:
        flags, wanted = self._flags if items is None else self._flags[items], clause.flags()
        return np.asarray(flags != UNKNOWN if len(wanted) > 1 else flags == int(*wanted))


class _Category:
    def __init__(self, part: memoryview, items: int) -> None:
        length = int.from_bytes(part[:4], "little")
        self._values: list[str] = json.loads(bytes(part[4 : 4 + length]))
        self._codes_of = {value: code for code, value in enumerate(self._values)}
        start = -(-(4 + length) // 8) * 8
        self._bounds = np.frombuffer(part, "<u4", items + 1, start)
        count = int(self._bounds[-1])
        self._codes = np.frombuffer(part, "<u2", count, start + 4 * (items + 1))
        if self._bounds[0] or (self._bounds[:-1] > self._bounds[1:]).any():
            raise ValueError("where the values of items begin does not rise")
        if self._codes.max(initial=0) >= max(len(self._values), 1):
            raise ValueError("an item has a value that is not there")
        self._is_single = np.array_equal(self._bounds, np.arange(items + 1))

    def mask(self, clause: Clause, items: Items | None) -> Mask:
        known = {self._codes_of[value] for value in clause.values if value in self._codes_of}
        if self._is_single:
            return self._hits(known, self._codes if items is None else self._codes[items])
        if items is not None:
            return np.array([not known.isdisjoint(codes) for codes in self._of(items)], np.bool_)
        found = np.zeros(len(self._bounds) - 1, np.bool_)
        found[self._owners[np.flatnonzero(self._hits(known, self._codes))]] = True
        return found

    def _hits(self, known: Set[int], codes: NDArray[np.uint16]) -> Mask:
        """Which of the codes are known; a few are compared ten times as fast as looked up."""
        if len(known) > _FEW:
            wanted = np.zeros(len(self._values), np.bool_)
            wanted[list(known)] = True
            return wanted.take(codes)
        found = np.zeros(len(codes), np.bool_)
        for code in known:
            found |= codes == code
        return found

    @cached_property
    def _owners(self) -> NDArray[np.uint32]:
        """The item of each code."""
        items = np.arange(len(self._bounds) - 1, dtype=np.uint32)
        return np.repeat(items, np.diff(self._bounds))

    def texts(self, items: Items) -> list[tuple[str, ...]]:
        return [tuple(self._values[code] for code in codes) for codes in self._of(items)]

    def _of(self, items: Items) -> list[list[int]]:
        """The codes of each of these items."""
        starts, ends = self._bounds[items].tolist(), self._bounds[items + 1].tolist()
        return [self._codes[start:end].tolist() for start, end in zip(starts, ends, strict=True)]


_Column = _Numbers | _Dates | _Flags | _Category
"""``mask`` says where a clause holds, were it not negated. It raises BadFilter."""

_READERS: Mapping[Type, type[_Column]] = {
    "number": _Numbers,
    "flag": _Flags,
    "date": _Dates,
    "category": _Category,
}
