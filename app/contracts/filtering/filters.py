"""What callers and rules say of items that may be shown: no expressions, nothing is evaluated.

A filter is a list of clauses that all must hold. A clause as text is ``category:film,series`` (any
of the values), ``-category:horror`` (none of them), ``price:10..50`` (both ends belong to it, and
either may be left out), ``in_stock:true``, or ``available_from:2026-01-01..``. As JSON the same is
``{"category": ["film", "series"], "-category": "horror", "price": "10..50", "in_stock": true}``,
where values may hold commas. A text without a colon names a filter of the namespace's rules.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.contracts.filtering.columns import Type

MAX_CLAUSES = 16
MAX_CLAUSE_VALUES = 100

Bounds = tuple[float, float]
"""The least and the greatest value, both inside; infinite where there is none."""


class BadFilter(ValueError):
    """A filter that nobody can mean: the message says what would do."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on a column; values: texts as they came."""

    column: str
    values: tuple[str, ...]
    is_negated: bool = False

    @classmethod
    def parse(cls, text: str) -> "Clause":
        """Read ``-column:value,value``. Raises BadFilter."""
        name, colon, values = text.partition(":")
        if not colon:
            raise BadFilter(
                f"expected column:value, such as category:film, and no name of a filter here, "
                f"found {text!r:.80}"
            )
        return cls.of(name, values.split(","))

    @classmethod
    def of(cls, name: str, values: Sequence[str]) -> "Clause":
        """Of a name that may begin with ``-``. Raises BadFilter."""
        column = name.removeprefix("-")
        if not column or not values or not all(values):
            raise BadFilter(f"a filter of {name!r:.80} needs a column and values, such as film")
        if len(values) > MAX_CLAUSE_VALUES:
            raise BadFilter(f"{name} has {len(values)} values, more than {MAX_CLAUSE_VALUES}")
        return cls(column, tuple(values), name != column)

    def check(self, columns: Mapping[str, Type]) -> None:
        """Raise BadFilter, which names the columns, where this one or its type will not do."""
        if self.column not in columns:
            there = ", ".join(f"{name} ({kind})" for name, kind in columns.items())
            there = there or "none, see larder refresh --filter-columns"
            raise BadFilter(f"no column {self.column!r:.80} to filter by; there are: {there}")
        kind = columns[self.column]
        if kind == "flag":
            self.flags()
        elif kind != "category":
            self.bounds(kind)

    def flags(self) -> set[bool]:
        """The values of a clause on a flag. Raises BadFilter."""
        if not set(self.values) <= {"true", "false"}:
            raise BadFilter(f"{self.column} is true or false, not {','.join(self.values)!r:.80}")
        return {value == "true" for value in self.values}

    def bounds(self, kind: Type) -> list[Bounds]:
        """The ranges of a clause on numbers or dates (seconds since 1970). Raises BadFilter."""
        read, such = (
            (seconds_of, "2026-01-01..2026-12-31") if kind == "date" else (_number, "10..50")
        )
        return [_range(self.column, value, read, such) for value in self.values]


def parse(asked: Any, named: Mapping[str, Sequence[Clause]] | None = None) -> tuple[Clause, ...]:
    """All clauses of a filter: texts, or objects, or a list of them.

    named: filters of the rules; None where their names cannot stand. Raises BadFilter.
    """
    clauses: list[Clause] = []
    for each in asked if isinstance(asked, list) else [asked]:
        if isinstance(each, str) and ":" not in each and named is not None:
            clauses += _named(each, named)
        elif isinstance(each, str):
            clauses.append(Clause.parse(each))
        elif isinstance(each, dict):
            clauses += [Clause.of(name, _texts(name, values)) for name, values in each.items()]
        else:
            raise BadFilter(f"expected category:film or an object, found {each!r:.80}")
    if len(clauses) > MAX_CLAUSES:
        raise BadFilter(f"a filter has at most {MAX_CLAUSES} clauses, not {len(clauses)}")
    return tuple(clauses)


def _named(name: str, named: Mapping[str, Sequence[Clause]]) -> Sequence[Clause]:
    if name not in named:
        there = ", ".join(named) or "none"
        raise BadFilter(
            f"expected column:value, or a filter of the rules (there are: {there}), "
            f"found {name!r:.80}"
        )
    return named[name]


def _texts(name: str, values: Any) -> list[str]:
    found = values if isinstance(values, list) else [values]
    return [_text(name, value) for value in found]


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    raise BadFilter(f"the values of {name!r:.80} are texts, numbers, true or false")


def _range(column: str, text: str, read: Any, such: str) -> Bounds:
    low, dots, high = text.partition("..")
    try:
        least = read(low) if low else -math.inf
        most = (read(high) if high else math.inf) if dots else least
    except (ValueError, OverflowError) as error:
        raise BadFilter(
            f"{column} takes a value or a range such as {such}, not {text!r:.80}"
        ) from error
    if not (low or high) or least > most:
        raise BadFilter(f"{column} takes a range from low to high such as {such}, not {text!r:.80}")
    return least, most


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def seconds_of(text: str) -> float:
    """ISO 8601 as seconds since 1970; what says no zone is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
