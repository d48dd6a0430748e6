"""Which rows are trained and judged on: asked in SQL, of DuckDB or of Spark."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batch.clicks.fit.encode import (
    Folds,
    fold_shares,
    fold_sql,
    moments_sql,
    parts_sql,
    shares_of,
    sizes_sql,
)
from batch.clicks.terms import EVERYTHING, Fit, Part, Split
from batch.errors import BadSettings

_USE: Mapping[Part, str] = {
    "train": "train on",
    "validation": "validate on (--validation-share)",
    "test": "test on (--test-share)",
}

Query = Callable[[str], Sequence[Sequence[Any]]]
"""Returns the rows of SQL over the table ``rows``."""


def bounds(query: Query, split: Split) -> Sequence[int]:
    """The moments between the parts of ``split``.

    Where many rows are of one moment, such as a day, a bound may leave no row above it: then the
    moment before is the bound.
    """
    first, second, newest = query(moments_sql([*shares_of(split), 1.0]))[0]
    second = _below(query, newest, second)
    return _below(query, second, first), second


def _below(query: Query, moment: int, bound: int) -> int:
    """The bound, or the last moment before another where that is earlier."""
    ((last,),) = query(f"SELECT max(moment) FROM rows WHERE moment < {moment}")
    return bound if last is None else min(bound, int(last))


def sizes(query: Query) -> Mapping[Part, int]:
    """How many rows each part has. Raises BadSettings, see ``Examples.split``."""
    counted = query("SELECT part, count(*), min(label), max(label) FROM rows GROUP BY part")
    found: dict[Part, int] = {part: 0 for part in EVERYTHING}
    found.update({part: size for part, size, _, _ in counted})
    one_kind = {part for part, _, low, high in counted if low == high}
    for part, size in found.items():
        if not size or part in one_kind:
            raise BadSettings(
                f"the part to {_USE[part]} has {size:,} of {sum(found.values()):,} rows, and "
                "not both clicks and rows without one: give more rows, or make that part larger"
            )
    return found


def folds(query: Query, fit: Fit, parts: Sequence[Part], has_time: bool) -> Folds:
    """What the means of these parts are made of. Raises BadSettings."""
    where = parts_sql(parts)
    moments = query(moments_sql(fold_shares(fit), where))[0] if has_time else None
    sql = fold_sql(fit, moments)
    counted = {fold: (size, clicks) for fold, size, clicks in query(sizes_sql(sql, where))}
    found = Folds.of(sql, counted, has_time)
    if not 0 < found.clicks < found.rows:
        raise BadSettings("there must be rows with a click and rows without one to train on")
    if has_time and len(counted) < 2:
        raise BadSettings(
            "all rows to train on are of one moment: leave --time-column away, or give more"
        )
    return found
