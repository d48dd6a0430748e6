"""What becomes of rejects: they are counted, listed in a file, and stop the run when too many."""

import csv
import errno
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TextIO

import duckdb
import numpy as np

from batch.errors import BadInteractions
from batch.interactions.columns import Checks
from batch.interactions.sources import files
from batch.interactions.sources.pieces import is_odd
from batch.interactions.sources.table import read_parquet
from batch.interactions.texts import CONTENT, RIGHT, Reject, one_thread, read_by_pieces

log = logging.getLogger("larder.interactions")

ADVICE = {
    "wrong encoding": "Try {options}encoding latin-1 (or cp1252)",
    "comma in number": "Numbers need a decimal point, as in 1.5",
    "bad timestamp": "Times are epoch seconds or ISO 8601; --timestamp-column '' leaves them out",
    "bad time": "Times are epoch seconds or ISO 8601",
    "label not 0 or 1": "Write 1 for a click and 0 for none (or true and false), or name the "
    "column of the label with {options}label",
}
"""What to do when nearly all rejects have the reason that begins so."""
NEARLY_ALL = 0.9
SHOWN = 3
"""How many rejects an error shows."""
MANY = 10_000


def settle(
    connection: duckdb.DuckDBPyConnection,
    checks: Checks,
    name: str,
    make: Callable[[str], str],
    rejects: Path | None,
    max_rejects: float,
) -> tuple[int, Counter[str]]:
    """Make a table of all rows, list the rejects in the file `rejects`, and count both sides.

    `make` turns the SQL for all rows into that which makes the table, perhaps not for the first
    time. There `reason` is a position in the reasons of the checks (0 is right), and `n` how many
    rows one stands for. Returns the number of right rows and the rejects by reason. Raises
    BadInteractions when these are more than the share `max_rejects`.
    """
    with closing(Listing(rejects)) as found:
        good = judge_rows(connection, checks, name, make, found.add)
    counts, total = found.counts, found.counts.total()
    if total > max_rejects * (good + total):
        first = [f"line {row.line}: {row.reason}: {row.content[:60]!r}" for row in found.first]
        options = checks.table.layout.options
        raise too_many(checks.path, counts, good, max_rejects, found.where, first, options)
    if total and rejects is not None and found.where:
        log.info("%s: the rejected rows are listed in %s", checks.path, found.where)
    return good, counts


def judge_rows(
    connection: duckdb.DuckDBPyConnection,
    checks: Checks,
    name: str,
    make: Callable[[str], str],
    note: Callable[[Reject], None],
) -> int:
    """Make the table that `settle` tells of; note each reject, return how many rows are right.

    DuckDB reads texts on all cores. But what it remembers of rows that it cannot cut has no bound,
    and which these are depends on how it shares a text out: so a text with rejects is read again.
    """
    table = checks.table
    if not (table.is_text and any(map(is_odd, table.plain))):
        good, is_whole = _read_at_once(connection, name, make(table.scan()))
        if is_whole:
            return good
        if not table.is_text:
            _each(_of_parquet(connection, checks), note)
            return good
    _each(read_by_pieces(connection, checks), note)
    connection.execute(make(f"SELECT * FROM {RIGHT}"))
    connection.execute(f"DROP TABLE {RIGHT}")
    return _counted(connection, name)[0]


def _read_at_once(connection: duckdb.DuckDBPyConnection, name: str, sql: str) -> tuple[int, bool]:
    """Return how many rows are right, and whether these are some and all."""
    try:
        connection.execute(sql)
    except duckdb.InvalidInputException as error:
        if "CSV Error" not in str(error):
            raise
        return 0, False
    return _counted(connection, name)


def _counted(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[int, bool]:
    """Return how many rows are right, and whether these are some and all."""
    good, has_rejects = connection.execute(
        f"SELECT coalesce(sum(n) FILTER (reason = 0), 0)::BIGINT, bool_or(reason > 0) FROM {name}"
    ).fetchall()[0]
    return good, bool(good) and not has_rejects


def _each(found: Iterable[Reject], note: Callable[[Reject], None]) -> None:
    for reject in found:
        note(reject)


def too_many(
    path: str | Path,
    counts: Counter[str],
    good: int,
    limit: float,
    where: str | None,
    first: Sequence[str],
    options: str,
) -> BadInteractions:
    """Say by how much the rejects pass the limit, where they are listed, the first of them."""
    total, rows = counts.total(), counts.total() + good
    reasons = ", ".join(f"{number} x {reason}" for reason, number in counts.most_common())
    listed = f"; {where} lists them" if where else ""
    return BadInteractions(
        f"{path}: {total} of {rows} rows are rejected ({total / rows:.2%}), more than the "
        f"{limit:.2%} allowed ({reasons}){listed}. The first: {'; '.join(first)}. "
        + _advice(counts, options)
    )


def _advice(counts: Counter[str], options: str) -> str:
    reason, number = counts.most_common(1)[0]
    usual = "Correct them, or raise --max-rejects"
    if number < NEARLY_ALL * counts.total():
        return usual
    return ADVICE.get(reason.partition(":")[0], usual).format(options=options)


class Listing:
    """Counts rejects and writes them to their file; without any, removes that of an earlier run.

    A run that may go on in spite of its rejects does so when the file cannot be written, too.
    """

    def __init__(self, path: Path | None) -> None:
        self.counts: Counter[str] = Counter()
        self.first: list[Reject] = []
        self.where: str | None = "--rejects FILE" if path is None else str(path)
        """What lists them, or would."""
        self._path = path
        self._stream: TextIO | None = None

    def add(self, reject: Reject) -> None:
        """Count and write one."""
        self.counts[reject.reason] += reject.rows
        if len(self.first) < SHOWN:
            self.first.append(reject)
        if self._path is not None:
            with self._warning("cannot be written"):
                self._write((reject.file, reject.line, reject.reason, reject.content), self._path)

    def close(self) -> None:
        """End the file."""
        if self._stream is not None:
            with self._warning("cannot be written"):
                self._stream.close()
        elif self._path is not None and _is_ours(self._path):
            with self._warning("of an earlier run cannot be removed"):
                self._path.unlink(missing_ok=True)

    def _write(self, row: Sequence[object], path: Path) -> None:
        if self._stream is None:
            if path.is_file() and path.stat().st_size and not files.is_rejects(path):
                raise FileExistsError(errno.EEXIST, "something else is there")
            # A file's own name may be no text.
            self._stream = open(path, "w", encoding="utf-8", errors="backslashreplace", newline="")
            csv.writer(self._stream).writerow(files.REJECTS_HEAD)
        csv.writer(self._stream).writerow(row)

    @contextmanager
    def _warning(self, state: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            sentence = "%s: the rejects file %s (%s): give another --rejects"
            log.warning(sentence, self._path, state, error.strerror)
            self._path = self.where = None


def _is_ours(path: Path) -> bool:
    """Say whether a run wrote this file: nobody wants /dev/null or the input itself removed."""
    return not path.is_symlink() and files.is_rejects(path)


def _of_parquet(connection: duckdb.DuckDBPyConnection, checks: Checks) -> Iterator[Reject]:
    table = checks.table
    cells = ", ".join(f"c{n}::VARCHAR" for n in range(len(table.columns)))
    sizes = [
        connection.execute(f"SELECT count(*) FROM {read_parquet([file])}").fetchall()[0][0]
        for file in table.plain
    ]
    before = np.cumsum([0, *sizes])
    with one_thread(connection):  # so that rows come in the order of the files
        found = connection.execute(
            f"SELECT * FROM (SELECT row_number() OVER () AS row, {checks.reason} AS reason, "
            f"array_to_string([coalesce(cell, '') FOR cell IN [{cells}]], ',')[:{CONTENT}] "
            f"FROM ({table.scan()})) WHERE reason > 0 ORDER BY row"
        )
        while rows := found.fetchmany(MANY):
            for row, why, text in rows:
                number = int(np.searchsorted(before, row)) - 1
                line = row - int(before[number])
                yield Reject(table.files[number], line, checks.reasons[why], text)
