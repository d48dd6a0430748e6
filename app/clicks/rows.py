"""What a caller knows of a user and of items, as the rows that a model was trained on.

A request is encoded into one flat array of f32, a row an item, as LightGBM takes it. What a table
says of a category's value is remembered, for the same values come again and again.
"""

import math
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.contracts.clicks import MAX_NUMBER, Column, Linear, Table, category_text, value_key

MAX_REMEMBERED = 10_000
"""Values of a column, of those that are in its table; then it begins anew."""

_MAX_REMEMBERED_LENGTH = 100
_TOLD = 10
_NUMBER = re.compile("-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?")

Features = Mapping[str, Any]
"""Values by the names of columns; None is missing, as is a column that is not there."""


class UnknownColumns(ValueError):
    """Names of no column of the model, of which the first are told."""

    def __init__(self, names: Collection[str]) -> None:
        told = [repr(name[:40]) for name in sorted(names)[:_TOLD]]
        more = [f"{len(names) - _TOLD} more"] if len(names) > _TOLD else []
        super().__init__(", ".join(told + more))


class WrongType(ValueError):
    """A value that a column of its kind cannot have."""


class Rows:
    """The rows of one request, which all begin as copies of the first.

    values: f32, row after row, as ``row_names`` of the contract has them; weights: f64, likewise
    what the linear member says of each column, in order; empty without one. unknown: how many
    values were in no table.
    """

    def __init__(self, values: "array[float]", weights: "array[float]", count: int = 1) -> None:
        self.width, self.columns, self.count = len(values), len(weights), count
        self.values, self.weights = values * count, weights * count
        self.unknown = 0


@dataclass(frozen=True, slots=True)
class Encoded:
    """What is known of one item, for any row: numbers at their places, as ``Rows`` has them."""

    values: Sequence[tuple[int, float]]
    weights: Sequence[tuple[int, float]]
    unknown: int


class _Number:
    """A column of numbers; bins: edges, weights and that of what is missing, see ``Linear``."""

    def __init__(
        self,
        name: str,
        place: int,
        position: int,
        bins: tuple[Sequence[float], Sequence[float], float] | None,
    ) -> None:
        self._name, self._place, self._bins = name, place, bins
        self.position, self.places = position, (place,)

    def put(self, rows: Rows, row: int, value: Any) -> None:
        """Set it in a row. Raises WrongType."""
        at, values = row * rows.width + self._place, rows.values
        if value is None:
            values[at] = math.nan
        elif type(value) in (float, int) and -MAX_NUMBER <= value <= MAX_NUMBER:  # so no NaN
            values[at] = value
        else:
            raise WrongType(f"{self._name!r} must be a number up to 3.4e38, not {_shown(value)}")
        if self._bins is not None:
            edges, weights, missing = self._bins
            found = missing if value is None else weights[bisect_right(edges, values[at])]
            rows.weights[row * rows.columns + self.position] = found


class _Category:
    """A column of categories; prior: of values that are in no table."""

    def __init__(self, name: str, place: int, position: int, table: Table, prior: float) -> None:
        self._name, self._place = name, place
        self.position, self.places = position, (place, place + 1)
        self._table, self._prior = table, prior
        self._remembered: dict[str, tuple[float, float, float, int]] = {}

    def put(self, rows: Rows, row: int, value: Any) -> None:
        """Set it in a row. Raises WrongType."""
        if type(value) is not str:
            value = self._text(value)
        at, values = row * rows.width + self._place, rows.values
        mean, share, weight, unknown = self._remembered.get(value) or self._look_up(value)
        values[at], values[at + 1] = mean, share
        rows.unknown += unknown
        if rows.columns:
            rows.weights[row * rows.columns + self.position] = weight

    def _text(self, value: Any) -> str:
        if value is None or type(value) in (int, bool):
            return category_text(value)
        if type(value) is float and math.isfinite(value):
            return category_text(value)
        raise WrongType(f"{self._name!r} must be a text or a number, not {_shown(value)}")

    def _look_up(self, value: str) -> tuple[float, float, float, int]:
        table, key = self._table, value_key(category_text(value))
        place = bisect_left(table.keys, key)
        if place < len(table.keys) and table.keys[place] == key:
            found = table.means[place], table.shares[place], table.weights[place], 0
        else:
            found = self._prior, 0.0, 0.0, int(value != "")
        if not found[3] and len(value) <= _MAX_REMEMBERED_LENGTH:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[value] = found
        return found


class Encoder:
    """Makes rows for one model."""

    def __init__(
        self,
        columns: Sequence[Column],
        prior: float,
        tables: Iterable[Table],
        linear: Linear | None,
    ) -> None:
        numbers = sum(each.kind == "number" for each in columns)
        bins = iter(linear.numbers if linear else [None] * numbers)
        self._columns: dict[str, _Number | _Category] = {}
        number, category, table_of = 0, numbers, iter(tables)
        for position, column in enumerate(columns):
            name = column.name
            if column.kind == "number":
                self._columns[name] = _Number(name, number, position, next(bins))
                number += 1
            else:
                table = next(table_of)
                self._columns[name] = _Category(name, category, position, table, prior)
                category += 2
        weights = array("d", bytes(8 * len(columns) if linear else 0))
        self._empty = Rows(array("f", bytes(4 * category)), weights)
        self.fill(self._empty, 0, dict.fromkeys(self._columns))

    def rows(self, context: Features, count: int) -> Rows:
        """So many rows that know the same. Raises UnknownColumns and WrongType."""
        first = Rows(self._empty.values, self._empty.weights)
        self.fill(first, 0, context)
        found = Rows(first.values, first.weights, count)
        found.unknown = first.unknown
        return found

    @property
    def names(self) -> Collection[str]:
        """Those of the columns that the model has."""
        return self._columns.keys()

    def fill(self, rows: Rows, row: int, features: Features) -> None:
        """Set what is known in one row. Raises UnknownColumns and WrongType."""
        columns = self._columns
        try:
            for name, value in features.items():
                columns[name].put(rows, row, value)
        except KeyError:
            raise UnknownColumns(features.keys() - columns.keys()) from None

    def encoded(self, features: Features) -> Encoded:
        """What of these this model has a column for, of its kind: see ``set``."""
        known = self.usable(features)
        row = Rows(self._empty.values, self._empty.weights)
        self.fill(row, 0, known)
        columns = [self._columns[name] for name in known]
        places = [place for each in columns for place in each.places]
        positions = [each.position for each in columns] if row.columns else []
        return Encoded(
            [(place, row.values[place]) for place in places],
            [(position, row.weights[position]) for position in positions],
            row.unknown,
        )

    def set(self, rows: Rows, row: int, item: Encoded) -> None:
        """As ``fill``, for what was encoded before."""
        values, at = rows.values, row * rows.width
        for place, value in item.values:
            values[at + place] = value
        for position, weight in item.weights:
            rows.weights[row * rows.columns + position] = weight
        rows.unknown += item.unknown

    def usable(self, features: Features) -> dict[str, Any]:
        """What of these this model has a column for, of its kind.

        A text that says a number is one in a column of numbers: documents are often all texts.
        """
        found, scratch = {}, Rows(self._empty.values, self._empty.weights)
        for name in features.keys() & self._columns.keys():
            column, value = self._columns[name], features[name]
            if type(column) is _Number and type(value) is str and _NUMBER.fullmatch(value):
                value = float(value)
            try:
                column.put(scratch, 0, value)
            except WrongType:
                continue
            found[name] = value
        return found


def _shown(value: Any) -> str:
    kinds = {str: "the text", float: "the number", int: "the number"}
    return f"{kinds.get(type(value), type(value).__name__)} {str(value)[:40]!r}"
