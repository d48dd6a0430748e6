"""The rejects of an input: which line, what for, and when they are too many.

A row is rejected for its values, or because DuckDB cannot cut it into columns ("uncut"). Of an
uncut row DuckDB tells where it begins (the byte), of one with wrong values only which row it is.
`_locate` works the line out, and only a file that has rejects pays for it.
"""

import csv
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from batch.errors import BadInteractions
from batch.interactions import files
from batch.interactions.columns import Checks
from batch.interactions.table import Table, read_parquet

log = logging.getLogger("larder.interactions")

UNCUT = {
    "UNQUOTED VALUE": "broken quotes",
    "INVALID ENCODING": "wrong encoding",
    "LINE SIZE OVER MAXIMUM": "line too long",
    "MISSING COLUMNS": "too few columns",
    "TOO MANY COLUMNS": "too many columns",
    "INVALID STATE": "unreadable",
    "CAST": "unreadable",
}
RUNAWAY = ("broken quotes", "line break in id", "line too long")
"""How reasons begin that an open quote may be behind."""
ADVICE = {
    "wrong encoding": "Try {options}encoding latin-1 (or cp1252)",
    "comma in number": "Numbers need a decimal point, as in 1.5",
    "bad timestamp": "Times are epoch seconds or ISO 8601; --timestamp-column '' leaves them out",
}
"""What to do when nearly all rejects have the reason that begins so."""
CONTENT = 1000
NEARLY_ALL = 0.9
NEWLINES = "'\\r\\n|\\r|\\n'"


@dataclass(frozen=True, slots=True)
class Reject:
    """One rejected row, at a line of a text or a row of a Parquet file, both counted from 1."""

    file: Path
    line: int
    reason: str
    content: str
    rows: int = 1
    """How many it counts for: where quotes may be to blame, every line that it runs over."""


@dataclass(frozen=True, slots=True)
class Uncut:
    """A row that could not be cut into columns: the byte (from 1) where it begins, its lines."""

    byte: int
    lines: int
    reason: str


def settle(
    connection: duckdb.DuckDBPyConnection,
    checks: Checks,
    name: str,
    select: Callable[[str], str],
    rejects: Path | None,
    max_rejects: float,
) -> tuple[int, Counter[str]]:
    """Make a table of all rows, list the rejects in the file `rejects`, and count both sides.

    `select` turns the SQL for all rows into that for the table, in which `reason` is a position in
    the reasons of the checks (0 is right) and `n` how many rows one stands for. Returns the number
    of right rows and the rejects by reason. Raises BadInteractions when these are more than the
    share `max_rejects`.
    """
    good, found = judge_rows(connection, checks, name, select)
    is_listed = rejects is not None and _list(found, rejects)
    counts: Counter[str] = Counter()
    for reject in found:
        counts[reject.reason] += reject.rows
    if counts.total() > max_rejects * (good + counts.total()):
        where = str(rejects) if is_listed else None
        first = [f"line {row.line}: {row.reason}: {row.content[:60]!r}" for row in found[:3]]
        options = checks.table.layout.options
        raise too_many(checks.path, counts, good, max_rejects, where, first, options)
    return good, counts


def judge_rows(
    connection: duckdb.DuckDBPyConnection,
    checks: Checks,
    name: str,
    select: Callable[[str], str],
) -> tuple[int, list[Reject]]:
    """Make the table of all rows that `settle` tells of; return how many are right, the rejects."""
    has_uncut = _fill(connection, checks.table, name, select)
    good, has_rejects = connection.execute(
        f"SELECT coalesce(sum(n) FILTER (reason = 0), 0)::BIGINT, bool_or(reason > 0) FROM {name}"
    ).fetchall()[0]
    look = has_uncut or has_rejects or not good
    return good, _gather(connection, checks) if look else []


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


def _list(found: list[Reject], path: Path) -> bool:
    """Write the rejects to their file, or when there are none remove that of an earlier run.

    Return whether it could be done; a run that may go on in spite of its rejects does so anyway.
    """
    try:
        if found:
            _write(found, path)
        elif _is_ours(path):
            path.unlink(missing_ok=True)
    except OSError as error:
        state = "cannot be written" if found else "of an earlier run cannot be removed"
        reason = error.strerror
        log.warning("%s: the rejects file %s (%s): give another --rejects", path, state, reason)
        return False
    return True


def _write(found: list[Reject], path: Path) -> None:
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    # A file's own name may be no text.
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(files.REJECTS_HEAD)
        writer.writerows((row.file, row.line, row.reason, row.content) for row in found)


def _is_ours(path: Path) -> bool:
    """Say whether a run wrote this file: nobody wants /dev/null or the input itself removed."""
    return not path.is_symlink() and files.is_rejects(path)


def _fill(
    connection: duckdb.DuckDBPyConnection, table: Table, name: str, select: Callable[[str], str]
) -> bool:
    """Make the table of this name; return whether some rows were uncut.

    DuckDB cuts a text into parts for its threads. How far an open quote runs then depends on
    where its part ends, and not every uncut row is told. Only a scan in one piece, which is
    slower, reads the same rows every time.
    """
    create = f"CREATE OR REPLACE TEMP TABLE {name} AS "
    connection.execute(create + select(table.scan("in_parts", parallel=True)))
    uncut = _uncut(connection, "in_parts") if table.is_text else []
    if any(row.reason in RUNAWAY or row.lines > 1 for row in uncut):
        connection.execute(create + select(table.scan("in_one_piece", parallel=False)))
    return bool(uncut)


def _uncut(connection: duckdb.DuckDBPyConnection, scan: str) -> list[Uncut]:
    """Return the rows of texts that the scan of this name could not cut, each once, in order."""
    found = connection.execute(
        f"SELECT file_path, line_byte_position, error_type::VARCHAR, "
        f"len(regexp_extract_all(trim(csv_line, chr(10) || chr(13)), {NEWLINES})) + 1 "
        f"FROM {scan} JOIN {scan}_files USING (scan_id, file_id)"
    ).fetchall()
    order = list(UNCUT)
    found.sort(key=lambda row: (row[0], row[1], order.index(row[2])))
    rows: dict[tuple[str, int], Uncut] = {}
    for path, byte, error, lines in found:
        rows.setdefault((path, byte), Uncut(byte, lines or 1, UNCUT[error]))
    return list(rows.values())


def _gather(connection: duckdb.DuckDBPyConnection, checks: Checks) -> list[Reject]:
    """Find all rejects, in order."""
    table = checks.table
    threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
    connection.execute("SET threads = 1")
    if table.is_text:
        found = [
            reject
            for number in range(len(table.files))
            for reject in _of_text(connection, checks, number)
        ]
    else:
        found = _of_parquet(connection, checks)
    connection.execute(f"SET threads = {threads}")
    return found


def _of_parquet(connection: duckdb.DuckDBPyConnection, checks: Checks) -> list[Reject]:
    table = checks.table
    cells = ", ".join(f"c{n}::VARCHAR" for n in range(len(table.columns)))
    rows = connection.execute(
        f"SELECT * FROM (SELECT row_number() OVER () AS row, {checks.reason} AS reason, "
        f"array_to_string([coalesce(cell, '') FOR cell IN [{cells}]], ',') "
        f"FROM ({table.scan('', parallel=False)})) WHERE reason > 0 ORDER BY row"
    ).fetchall()
    sizes = [
        connection.execute(f"SELECT count(*) FROM {read_parquet([file])}").fetchall()[0][0]
        for file in table.plain
    ]
    before = np.cumsum([0, *sizes])
    found = []
    for row, why, text in rows:
        number = int(np.searchsorted(before, row)) - 1
        line = row - int(before[number])
        found.append(Reject(table.files[number], line, checks.reasons[why], text[:CONTENT]))
    return found


def _of_text(connection: duckdb.DuckDBPyConnection, checks: Checks, number: int) -> list[Reject]:
    table = checks.table
    scan = f"scan_{number}"
    cells = ", ".join(f"c{n}" for n in range(len(table.columns)))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE cut AS SELECT row_number() OVER () - 1 AS row, "
        f"{checks.reason} AS reason, "
        f"len(regexp_extract_all(concat_ws(' ', {cells}), {NEWLINES})) + 1 AS lines "
        f"FROM ({table.scan_one(number, scan)})"
    )
    cut = connection.execute("SELECT count(*) FROM cut").fetchall()[0][0]
    rejected = connection.execute(
        "SELECT row, reason, lines FROM cut WHERE reason > 0 ORDER BY row"
    ).fetchall()
    tall = connection.execute("SELECT row, lines FROM cut WHERE lines > 1 ORDER BY row").fetchall()
    uncut = _uncut(connection, scan)
    uncut_lines, cut_lines, rest = _locate(
        table.plain[number], table.headers[number].lines, uncut, tall, cut
    )
    why = {line: (row.reason, row.lines) for line, row in zip(uncut_lines, uncut, strict=True)}
    why |= {
        int(cut_lines[row]): (
            checks.reasons[code],
            height if checks.reasons[code].startswith(RUNAWAY) else 1,
        )
        for row, code, height in rejected
    }
    if len(rest):  # to the end of the text, by an open quote that DuckDB kept silent about
        why[int(rest[0])] = (UNCUT["UNQUOTED VALUE"], len(rest))
    return _with_content(table, number, why)


def _locate(
    plain: Path, skipped: int, uncut: list[Uncut], tall: list[tuple[int, int]], cut: int
) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64]]:
    """Work out on which lines, counted from 1, the rows of a plain text begin.

    Given: how many lines come before the first row; the uncut rows; (row from 0, lines) of
    the rows that were cut and span several lines, in order; how many rows were cut. Returns the
    lines of the uncut rows, those of the cut rows, and those that belong to neither.

    Every line begins a row, but blank ones, those before the first row, and those that an uncut
    or a tall row runs over. What remains is in the order of the cut rows.
    """
    text = np.memmap(plain, dtype=np.uint8, mode="r")
    starts, begins = _lines(text)
    begins[:skipped] = False
    uncut_lines = []
    for row in uncut:
        line = int(np.searchsorted(starts, _past_newlines(text, row.byte - 1), "right")) - 1
        begins[line : line + row.lines] = False
        uncut_lines.append(line + 1)
    lines = np.flatnonzero(begins)
    keep = np.ones(len(lines), dtype=bool)
    hidden = 0
    for number, height in tall:
        at = number + hidden
        end = int(np.searchsorted(lines, lines[at] + height))
        keep[at + 1 : end] = False
        hidden += end - at - 1
    lines = lines[keep] + 1
    return uncut_lines, lines[:cut], lines[cut:]


def _past_newlines(text: NDArray[np.uint8], byte: int) -> int:
    while byte < len(text) - 1 and text[byte] in (10, 13):
        byte += 1
    return byte


def _lines(text: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where each line starts, and whether it holds anything."""
    found = [np.zeros(0, dtype=np.int64)]
    for at in range(0, len(text), files.BLOCK_BYTES):
        block = np.append(text[at : at + files.BLOCK_BYTES + 1], np.uint8(0))[
            : files.BLOCK_BYTES + 1
        ]
        here, following = block[:-1], block[1:]
        found.append(np.flatnonzero((here == 10) | ((here == 13) & (following != 10))) + at)
    ends = np.concatenate([*found, [len(text)]])
    starts = np.concatenate([[0], ends[:-1] + 1])
    empty = ends == starts
    single = np.flatnonzero((ends == starts + 1) & (starts < len(text)))
    empty[single] = text[starts[single]] == 13
    return starts, ~empty


def _with_content(table: Table, number: int, why: Mapping[int, tuple[str, int]]) -> list[Reject]:
    """Read the lines as they stand in the file, bytes that are no text as \\x.. ."""
    file, encoding = table.files[number], table.layout.encoding
    found = []
    with files.opened(file, encoding, newline=None) as stream:
        for line, text in enumerate(stream, start=1):
            if line in why:
                raw = text.rstrip("\n")[:CONTENT].encode(encoding, "surrogateescape")
                shown = raw.decode(encoding, "backslashreplace")
                found.append(Reject(file, line, why[line][0], shown, why[line][1]))
    return found
