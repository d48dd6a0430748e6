"""Read examples into a table of DuckDB, ``rows``::

row      BIGINT    from 0, in the order of reading; rejects of Parquet leave a gap, of text none
label    TINYINT   1: there was a click
moment   BIGINT    when, in microseconds since 1970; 0 where there is no time column
n0 ..    FLOAT     number columns, in order; NULL: missing
c0 ..    VARCHAR   category columns, in order; '': missing
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import duckdb

from app.contracts.clicks import Column
from batch.clicks.examples.cells import Cells
from batch.clicks.examples.infer import infer, look
from batch.clicks.examples.layout import LABEL, Reading
from batch.clicks.fit.matrix import named
from batch.clicks.one_machine import LocalExamples
from batch.clicks.rows import Report, Schema
from batch.errors import BadInteractions, BadSettings
from batch.interactions.columns import Checks
from batch.interactions.rejects import settle
from batch.interactions.sources.table import Table, database, literal, open_table, reading_errors

log = logging.getLogger("larder.clicks")

LEAK = 0.95
"""A column whose own AUC is more tells of the label what is not known when it counts."""
_LEAK_ROWS, _LEAK_SURE = 200_000, 20
"""How many rows are looked at; how many clicks, and others, there must be to tell it from luck."""


@contextmanager
def read(
    paths: Sequence[Path], reading: Reading, rejects: Path | None = None
) -> Iterator[LocalExamples]:
    """Read files and folders that have a label; the rows are there as long as this is open.

    Rejected rows are counted, and listed in the file ``rejects``. Raises BadSettings and
    BadInteractions: when files cannot be read, lack a column, have too many rejects, no column to
    learn from, or labels that are all the same.
    """
    reading = reading.beside(tuple(paths))
    reading.check()
    shown = _shown(paths)
    with sampled(paths, reading, shown, rejects) as rows:
        check_labels(rows.rows, rows.clicks, rows.schema, shown)
        yield rows


def sampled(
    paths: Sequence[Path], reading: Reading, shown: str, rejects: Path | None = None
) -> AbstractContextManager[LocalExamples]:
    """Read what may be a part of an input that people call ``shown``: all labels may be the same.

    Raises as ``read`` does.
    """

    def work(connection: duckdb.DuckDBPyConnection, table: Table) -> LocalExamples:
        _check_named(table, reading, shown)
        seen = look(connection, table)
        schema = infer(reading, seen, shown)
        found = _fill(connection, Cells(table, shown, schema), reading, rejects)
        clicks = connection.execute("SELECT count_if(label = 1) FROM rows").fetchall()[0][0]
        leaks = _leaks(connection, schema.columns)
        report = Report(len(table.files), *found, leaks)
        kept = reading.negatives_kept or 1.0
        return LocalExamples(report, schema, seen, clicks, kept, connection)

    return _worked(paths, reading, work)


def read_for(
    paths: Sequence[Path],
    reading: Reading,
    columns: Sequence[Column],
    rejects: Path | None = None,
    keep: Sequence[str] = (),
) -> AbstractContextManager[LocalExamples]:
    """Read the columns of a model from files that need no label: it is 0 in every row.

    A column that is not there is missing in every row. keep: columns of the files that ``rows`` has
    beside, as they are, called k0, k1 and so on. Raises as ``read`` does, and where a text has
    rejects and there is nothing to keep: nobody could say which row is which.
    """
    shown = _shown(paths)

    def work(connection: duckdb.DuckDBPyConnection, table: Table) -> LocalExamples:
        absent = absent_of(table.columns, columns, keep, shown)
        if absent:
            log.warning("%s: missing in every row: %s", shown, ", ".join(sorted(absent)))
        schema = Schema(None, None, tuple(columns))
        cells = Cells(table, shown, schema, absent)
        found = _fill(connection, cells, reading, rejects, [table.identifier(n) for n in keep])
        report = Report(len(table.files), *found)
        numbered = not (table.is_text and report.rejected)
        if not numbered:
            expect_kept(keep, shown, "rows of a text were rejected")
        return LocalExamples(report, schema, (), 0, 1.0, connection, numbered)

    return _worked(paths, reading, work)


def absent_of(
    found: Sequence[str], columns: Sequence[Column], keep: Sequence[str], shown: str
) -> frozenset[str]:
    """The columns of a model that an input has not.

    Raises BadInteractions when it has none of them, BadSettings when one to keep is not there.
    """
    absent = frozenset(each.name for each in columns) - set(found)
    if len(absent) == len(columns):
        raise BadInteractions(f"{shown}: has none of the {len(columns)} columns of the model")
    if unknown := [name for name in keep if name not in found]:
        raise BadSettings(f"{shown}: has no column {unknown[0]!r} to keep")
    return absent


def expect_kept(keep: Sequence[str], shown: str, unnumbered: str) -> None:
    """Raise BadInteractions when nothing tells rows apart. unnumbered: why no number does."""
    if not keep:
        raise BadInteractions(
            f"{shown}: {unnumbered}, so nobody could say which row a score is of: name the "
            "columns that do (--keep-columns)"
        )


def _shown(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


@contextmanager
def _worked(
    paths: Sequence[Path],
    reading: Reading,
    work: Callable[[duckdb.DuckDBPyConnection, Table], LocalExamples],
) -> Iterator[LocalExamples]:
    """Do it with the files as one table, whatever newlines their text mixes, see ``reading``.

    The database is one in a file, where rows lie compressed: a fifth of what they take in memory.
    """
    with database() as (connection, folder):
        connection.execute(f"ATTACH {literal(str(folder / 'rows.duckdb'))} AS file; USE file")

        def opened(one_newline: bool) -> Table:
            more = paths[1:]
            return open_table(connection, folder, paths[0], reading.layout, one_newline, more)

        with reading_errors(_shown(paths)):
            try:
                rows = work(connection, opened(False))
            except duckdb.InvalidInputException as error:
                if "invalid state" not in str(error):
                    raise
                rows = work(connection, opened(True))
        yield rows


def _check_named(table: Table, reading: Reading, shown: str) -> None:
    checks = Checks(table, shown)
    checks.required(reading.label or LABEL, "--label")
    if reading.time_column:
        checks.required(reading.time_column, "--time-column")
    for option in ("categorical", "numeric", "ignore"):
        for name in getattr(reading, option):
            if name not in table.columns:
                raise BadInteractions(
                    f"{shown}: expected a column {name!r}, found "
                    f"{', '.join(map(repr, table.columns))}: correct --{option}"
                )


def _fill(
    connection: duckdb.DuckDBPyConnection,
    cells: Cells,
    reading: Reading,
    rejects: Path | None,
    keep: Sequence[str] = (),
) -> tuple[int, Mapping[str, int]]:
    """Make ``rows``; returns how many the input has, and its rejects by reason."""
    kept = "".join(f", {cell} AS k{n}" for n, cell in enumerate(keep))
    judged = f"{cells.columns}{kept}, {cells.checks.reason} AS reason, 1 AS n"
    good, rejected = settle(
        connection,
        cells.checks,
        "rows",
        lambda rows: "CREATE OR REPLACE TABLE rows AS SELECT row_number() OVER () - 1 AS row, "
        f"{judged} FROM ({rows})",
        rejects,
        reading.texts.max_rejects,
    )
    if rejected:
        connection.execute("DELETE FROM rows WHERE reason > 0")
    connection.execute("ALTER TABLE rows DROP COLUMN reason; ALTER TABLE rows DROP COLUMN n")
    return good + rejected.total(), dict(rejected)


def check_labels(rows: int, clicks: int, schema: Schema, shown: str) -> None:
    """Raise BadInteractions when there are not both clicks and rows without one."""
    if 0 < clicks < rows:
        return
    if not rows:
        raise BadInteractions(f"{shown}: expected rows, found none")
    raise BadInteractions(
        f"{shown}: all {rows:,} rows have the label {min(clicks, 1)}: a model learns from rows "
        f"with a click and rows without; is {schema.label!r} the column of the label (--label)?"
    )


def _leaks(connection: duckdb.DuckDBPyConnection, columns: Sequence[Column]) -> dict[str, float]:
    """The columns that alone say nearly all of the label, with their own AUC."""
    sql = "SELECT count(*), least(sum(label), sum(1 - label)) FROM rows"
    rows, rarer = connection.execute(sql).fetchall()[0]
    if rarer < _LEAK_SURE:
        return {}
    step = -(-rows // _LEAK_ROWS)
    found = {}
    for column, name in named(columns).items():
        sql = (_AUC_OF_NUMBER if column.kind == "number" else _AUC_OF_CATEGORY).format(name, step)
        area = connection.execute(sql).fetchall()[0][0]
        if area is not None and area > LEAK:
            found[column.name] = round(area, 4)
    return found


_AUC_OF_NUMBER = """
SELECT greatest(low, high, 1 - low, 1 - high) FROM (
  SELECT (won + clicks * q + p * q / 2) / ((clicks + p) * (others + q)) AS low,
    (won + p * others + p * q / 2) / ((clicks + p) * (others + q)) AS high
  FROM (
    SELECT coalesce(sum(clicks * (below + others / 2)) FILTER (value IS NOT NULL), 0) AS won,
      coalesce(sum(clicks) FILTER (value IS NOT NULL), 0) AS clicks,
      coalesce(sum(others) FILTER (value IS NOT NULL), 0) AS others,
      coalesce(sum(clicks) FILTER (value IS NULL), 0) AS p,
      coalesce(sum(others) FILTER (value IS NULL), 0) AS q
    FROM (
      SELECT *, coalesce(sum(others) OVER (ORDER BY value NULLS LAST
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS below
      FROM (SELECT {0} AS value, count_if(label = 1) AS clicks, count_if(label = 0) AS others
        FROM rows WHERE hash(row) % {1} = 0 GROUP BY value))))
"""
"""Of the order of values, missing ones being the least or the largest of all."""

_AUC_OF_CATEGORY = """
WITH halves AS (
  SELECT {0} AS value, hash(row, 1) % 2 AS half, count_if(label = 1) AS clicks,
    count_if(label = 0) AS others
  FROM rows WHERE hash(row) % {1} = 0 GROUP BY value, half),
scored AS (
  SELECT round((coalesce(other.clicks, 0) + 1) /
      (coalesce(other.clicks + other.others, 0) + 2 + 0.0), 6) AS score,
    sum(halves.clicks) AS clicks, sum(halves.others) AS others
  FROM halves LEFT JOIN halves AS other
    ON halves.value = other.value AND halves.half != other.half GROUP BY score)
SELECT sum(clicks * (below + others / 2)) / nullif(sum(clicks) * sum(others), 0)
FROM (SELECT *, coalesce(sum(others) OVER (ORDER BY score
  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS below FROM scored)
"""
"""Of the mean of the label in the other half of rows, so that rare values do not flatter."""
