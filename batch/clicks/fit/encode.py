"""How rows get their parts and categories become numbers: SQL over the table ``rows``.

The same text runs on DuckDB and on Spark, so it keeps to what both understand alike::

    rows      row, label, moment, n0.., c0.., part     what was read, see ``part_sql``
    values    value, value_key, code, n,               one table for each category: its values that
              mean, share, mean_0, share_0, ..         were seen often enough, see ``values_sql``
    encoded   row, mean, share, code                   a column of rows as trees see it

A value's mean is smoothed: (clicks + smoothing * prior) / (n + smoothing). A row that is trained on
must not see its own label in it, for trees would believe it. So the rows of a *fold* get the means
of all others; with a column of time, those of earlier rows alone, which is what serving sees, and
the first fold trains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batch.clicks.terms import EVERYTHING, Fit, Split

_PRIME = 2_147_483_647
"""The largest product of two numbers below it is a BIGINT, which Spark refuses to exceed."""

MILLION = 1_000_000
"""Shares of rows are taken by ``hashed_sql`` below it."""

_NO_FOLD = -1


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows that are trained on. of: how many rows their means and shares are made of.

    By time these are the earlier ones: of all rows, shares would grow with time, and trees would
    take them for a clock, which stands still when the model serves.
    """

    number: int
    of: int


@dataclass(frozen=True, slots=True)
class Folds:
    """What means are made of. sql: the fold of a row; ordered: by time."""

    sql: str
    rows: int
    clicks: int
    each: Sequence[Fold]
    ordered: bool

    @classmethod
    def of(cls, sql: str, sizes: Mapping[int, tuple[int, int]], ordered: bool) -> "Folds":
        """sizes: rows and clicks by fold, as ``sizes_sql`` has them."""
        rows = sum(size for size, _ in sizes.values())
        clicks = sum(size for _, size in sizes.values())
        each, earlier = [], 0
        for number, (size, _) in sorted(sizes.items()):
            each.append(Fold(number, earlier if ordered else rows - size))
            earlier += size
        return cls(sql, rows, clicks, each, ordered)

    @property
    def prior(self) -> float:
        return self.clicks / self.rows

    @property
    def trains(self) -> str:
        """SQL: whether a row is trained on."""
        first = f" AND ({self.sql}) > {self.each[0].number}" if self.ordered else ""
        return f"({self.sql}) >= 0{first}"


def hashed_sql(seed: int, below: int) -> str:
    """A whole number from 0, evenly spread, for a row and a seed."""
    value = f"((row % {_PRIME}) * 48271 + {seed % _PRIME}) % {_PRIME}"
    for shift in (12_345, 6_789):
        value = f"(({value}) * (({value}) + {shift}) % {_PRIME})"
    return f"({value} % {below})"


def moments_sql(shares: Sequence[float], where: str = "1 = 1") -> str:
    """One row: up to which moment these shares of the rows, the oldest, go."""
    each = (f"percentile_disc({share!r}) WITHIN GROUP (ORDER BY moment)" for share in shares)
    return f"SELECT {', '.join(each)} FROM rows WHERE {where}"


def part_sql(split: Split, moments: Sequence[int] | None) -> str:
    """The part of a row. moments: at ``shares_of`` of the split, where rows have a time."""
    parts = list(map(repr, EVERYTHING))
    if moments is not None:
        return _cases("moment <=", moments, parts)
    bounds = [round(share * MILLION) - 1 for share in shares_of(split)]
    return _cases(f"{hashed_sql(split.seed, MILLION)} <=", bounds, parts)


def shares_of(split: Split) -> list[float]:
    """Which share of the rows is before validation, and before test."""
    return [round(1 - split.test - split.validation, 9), round(1 - split.test, 9)]


def fold_sql(fit: Fit, moments: Sequence[int] | None) -> str:
    """The fold of a row. moments: at ``fold_shares``, where rows have a time."""
    if moments is None:
        return hashed_sql(fit.seed + 1, fit.folds)
    return _cases("moment <=", moments, [str(number) for number in range(len(moments) + 1)])


def fold_shares(fit: Fit) -> list[float]:
    """Which shares of the rows that are trained on are before each fold of time but the first.

    There are twice as many as of others, for all rows of the first are lost.
    """
    count = 2 * fit.folds
    return [round(number / count, 9) for number in range(1, count)]


def parts_sql(parts: Sequence[str]) -> str:
    """Whether a row is of one of these parts."""
    return f"part IN ({', '.join(map(repr, parts))})"


def sizes_sql(fold: str, where: str) -> str:
    """Fold, rows and clicks of each."""
    return (
        f"SELECT {fold} AS fold, count(*) AS n, sum(CAST(label AS INT)) AS clicks FROM rows "
        f"WHERE {where} GROUP BY {fold}"
    )


def values_sql(column: str, folds: Folds, fit: Fit, where: str) -> str:
    """The values of a category that were seen often enough, with their means for each fold."""
    counted = [
        f"sum(CASE WHEN fold = {each.number} THEN {what} ELSE 0 END) AS {name}_{each.number}"
        for each in folds.each
        for name, what in (("n", "1"), ("clicks", "label"))
    ]
    means = [_mean("n", "clicks", folds.rows, folds.prior, fit, "")]
    for position, each in enumerate(folds.each):
        n, clicks = (_others(name, folds, position) for name in ("n", "clicks"))
        means.append(_mean(n, clicks, each.of, folds.prior, fit, f"_{each.number}"))
    return (
        "SELECT value, substr(md5(value), 1, 16) AS value_key, "
        "row_number() OVER (ORDER BY md5(value)) AS code, n, "
        f"{', '.join(means)} FROM (SELECT value, count(*) AS n, sum(label) AS clicks, "
        f"{', '.join(counted)} FROM (SELECT {column} AS value, CAST(label AS INT) AS label, "
        f"{folds.sql} AS fold FROM rows WHERE {where}) GROUP BY value "
        f"HAVING count(*) >= {fit.min_count})"
    )


def known_sql(column: str, table: str, where: str) -> str:
    """The values of a category that a model knows. table: value_key, code, mean, share."""
    return (
        f"SELECT value, code, mean, share FROM (SELECT DISTINCT {column} AS value FROM rows "
        f"WHERE {where}) JOIN {table} ON value_key = substr(md5(value), 1, 16)"
    )


def encoded_sql(column: str, values: str, prior: float, where: str, folds: Folds | None) -> str:
    """A category of rows as trees see it.

    code: the place of its value in the table, the first being 1, or 0 for one that is in none;
    folds: of the rows, when the model that ``values`` are of is trained on them.
    """
    mean, share, code = cells_sql(prior, folds)
    fold = folds.sql if folds else _NO_FOLD
    return (
        f"SELECT row, {mean} AS mean, {share} AS share, {code} AS code "
        f"FROM (SELECT row, {column} AS value_of_row, {fold} AS fold FROM rows WHERE {where}) "
        f"LEFT JOIN {values} ON value = value_of_row"
    )


def cells_sql(prior: float, folds: Folds | None) -> tuple[str, str, str]:
    """Mean, share and code of a row's value, where it is joined to ``values``."""
    mean, share = (_of_fold(name, folds) for name in ("mean", "share"))
    return (
        f"coalesce({mean}, CAST({prior!r} AS FLOAT))",
        f"coalesce({share}, CAST(0 AS FLOAT))",
        "CAST(coalesce(code, 0) AS INT)",
    )


def number_sql(source: str | None) -> str:
    """A number as trees see it; source: None for a column that rows have not."""
    missing = "CAST('NaN' AS FLOAT)"
    return f"coalesce({source}, {missing})" if source else missing


def _cases(test: str, bounds: Sequence[int], results: Sequence[str]) -> str:
    cases = (f"WHEN {test} {bound} THEN {result}" for bound, result in zip(bounds, results))
    return f"CASE {' '.join(cases)} ELSE {results[-1]} END"


def _others(name: str, folds: Folds, position: int) -> str:
    if not folds.ordered:
        return f"({name} - {name}_{folds.each[position].number})"
    earlier = (f"{name}_{each.number}" for each in folds.each[:position])
    return f"({' + '.join(['0', *earlier])})"


def _mean(n: str, clicks: str, of: int, prior: float, fit: Fit, suffix: str) -> str:
    begun, smoothing = (
        f"CAST({each!r} AS DOUBLE)" for each in (fit.smoothing * prior, fit.smoothing)
    )
    return (
        f"CAST(({clicks} + {begun}) / ({n} + {smoothing}) AS FLOAT) AS mean{suffix}, "
        f"CAST(CAST({n} AS DOUBLE) / {max(of, 1)} AS FLOAT) AS share{suffix}"
    )


def _of_fold(name: str, folds: Folds | None) -> str:
    if folds is None:
        return name
    cases = (f"WHEN {each.number} THEN {name}_{each.number}" for each in folds.each)
    return f"CASE fold {' '.join(cases)} ELSE {name} END"
