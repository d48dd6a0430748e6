"""The wrong rows of an input: which line, what for, and when they are too many.

DuckDB tells where a row begins that it cannot cut into columns (the byte), but not where one
begins whose values are wrong: of that it only knows which row it is. `locate` works the line out,
and only a file that has such rows pays for it.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from batch.errors import BadInteractions
from batch.interactions import files
from batch.interactions.table import Table, read_parquet

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
"""Wrong values that an open quote may be to blame for."""
CONTENT = 1000
NEWLINES = "'\\r\\n|\\r|\\n'"


@dataclass(frozen=True, slots=True)
class Wrong:
    """One wrong row, at a line of a text or a row of a Parquet file, both counted from 1."""

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


def uncut(connection: duckdb.DuckDBPyConnection, scan: str) -> list[Uncut]:
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


def fill(
    connection: duckdb.DuckDBPyConnection, table: Table, statement: Callable[[str], str]
) -> bool:
    """Execute a statement, given the SQL for all rows; return whether some were left uncut.

    DuckDB cuts a text into parts for its threads. How far an open quote runs then depends on
    where its part ends, and not all that is lost is told. Only a scan in one piece, which is
    slower, reads the same rows every time.
    """
    connection.execute(statement(table.scan("in_parts", parallel=True)))
    left = uncut(connection, "in_parts") if table.is_text else []
    if any(row.reason in RUNAWAY or row.lines > 1 for row in left):
        connection.execute(statement(table.scan("in_one_piece", parallel=False)))
    return bool(left)


def gather(
    connection: duckdb.DuckDBPyConnection, table: Table, reason: str, reasons: tuple[str, ...]
) -> list[Wrong]:
    """Find all wrong rows, in order. `reason` is SQL: a position in `reasons`, 0 is right."""
    threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
    connection.execute("SET threads = 1")
    if table.is_text:
        wrong = [
            row
            for number in range(len(table.files))
            for row in _of_text(connection, table, number, reason, reasons)
        ]
    else:
        wrong = _of_parquet(connection, table, reason, reasons)
    connection.execute(f"SET threads = {threads}")
    return wrong


def count(wrong: Iterable[Wrong]) -> Counter[str]:
    """Count rows by reason."""
    counts: Counter[str] = Counter()
    for row in wrong:
        counts[row.reason] += row.rows
    return counts


def _of_parquet(
    connection: duckdb.DuckDBPyConnection, table: Table, reason: str, reasons: tuple[str, ...]
) -> list[Wrong]:
    cells = ", ".join(f"c{n}::VARCHAR" for n in range(len(table.columns)))
    rows = connection.execute(
        f"SELECT * FROM (SELECT row_number() OVER () AS row, {reason} AS reason, "
        f"array_to_string([coalesce(cell, '') FOR cell IN [{cells}]], ',') "
        f"FROM ({table.scan('', parallel=False)})) WHERE reason > 0 ORDER BY row"
    ).fetchall()
    sizes = [
        connection.execute(f"SELECT count(*) FROM {read_parquet([file])}").fetchall()[0][0]
        for file in table.plain
    ]
    before = np.cumsum([0, *sizes])
    wrong = []
    for row, why, text in rows:
        number = int(np.searchsorted(before, row)) - 1
        line = row - int(before[number])
        wrong.append(Wrong(table.files[number], line, reasons[why], text[:CONTENT]))
    return wrong


def _of_text(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    number: int,
    reason: str,
    reasons: tuple[str, ...],
) -> list[Wrong]:
    scan = f"scan_{number}"
    cells = ", ".join(f"c{n}" for n in range(len(table.columns)))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE cut AS SELECT row_number() OVER () - 1 AS row, "
        f"{reason} AS reason, "
        f"len(regexp_extract_all(concat_ws(' ', {cells}), {NEWLINES})) + 1 AS lines "
        f"FROM ({table.scan_one(number, scan)})"
    )
    cut = connection.execute("SELECT count(*) FROM cut").fetchall()[0][0]
    bad = connection.execute(
        "SELECT row, reason, lines FROM cut WHERE reason > 0 ORDER BY row"
    ).fetchall()
    tall = connection.execute("SELECT row, lines FROM cut WHERE lines > 1 ORDER BY row").fetchall()
    left = uncut(connection, scan)
    uncut_lines, cut_lines, rest = locate(
        table.plain[number], table.headers[number].lines, left, tall, cut
    )
    why = {line: (row.reason, row.lines) for line, row in zip(uncut_lines, left, strict=True)}
    why |= {
        int(cut_lines[row]): (reasons[code], height if reasons[code] in RUNAWAY else 1)
        for row, code, height in bad
    }
    if len(rest):  # to the end of the text, by an open quote that DuckDB kept silent about
        why[int(rest[0])] = (UNCUT["UNQUOTED VALUE"], len(rest))
    return _with_content(table, number, why)


def locate(
    plain: Path, skipped: int, left: list[Uncut], tall: list[tuple[int, int]], cut: int
) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64]]:
    """Work out on which lines, counted from 1, the rows of a plain text begin.

    Given: how many lines come before the first row; the rows left uncut; (row from 0, lines) of
    the rows that were cut and span several lines, in order; how many rows were cut. Returns the
    lines of the uncut rows, those of the cut rows, and those that belong to neither.

    Every line begins a row, but blank ones, those before the first row, and those that an uncut
    or a tall row runs over. What remains is in the order of the cut rows.
    """
    text = np.memmap(plain, dtype=np.uint8, mode="r")
    starts, begins = _lines(text)
    begins[:skipped] = False
    uncut_lines = []
    for row in left:
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
    for at in range(0, len(text), files.BLOCK):
        block = np.append(text[at : at + files.BLOCK + 1], np.uint8(0))[: files.BLOCK + 1]
        here, following = block[:-1], block[1:]
        found.append(np.flatnonzero((here == 10) | ((here == 13) & (following != 10))) + at)
    ends = np.concatenate([*found, [len(text)]])
    starts = np.concatenate([[0], ends[:-1] + 1])
    empty = ends == starts
    single = np.flatnonzero((ends == starts + 1) & (starts < len(text)))
    empty[single] = text[starts[single]] == 13
    return starts, ~empty


def _with_content(table: Table, number: int, why: Mapping[int, tuple[str, int]]) -> list[Wrong]:
    """Read the lines as they stand in the file, bytes that are no text as \\x.. ."""
    file, encoding = table.files[number], table.layout.encoding
    wrong = []
    with files.opened(file, encoding, newline=None) as stream:
        for line, text in enumerate(stream, start=1):
            if line in why:
                raw = text.rstrip("\n")[:CONTENT].encode(encoding, "surrogateescape")
                shown = raw.decode(encoding, "backslashreplace")
                wrong.append(Wrong(file, line, why[line][0], shown, why[line][1]))
    return wrong


def write(wrong: list[Wrong], path: Path) -> None:
    """Write the wrong rows as CSV: file, line, reason, content."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("file", "line", "reason", "content"))
            writer.writerows((row.file, row.line, row.reason, row.content) for row in wrong)
    except OSError as error:
        raise BadInteractions(f"{path}: the rejects file cannot be written ({error})") from error


def check(
    source: Path, wrong: list[Wrong], good: int, written: Path | None, limit: float
) -> Counter[str]:
    """Write the wrong rows, if there are any, and count them by reason.

    Raises BadInteractions when they are more than the limit, a share of all rows.
    """
    counts = count(wrong)
    total, rows = counts.total(), counts.total() + good
    if wrong and written:
        write(wrong, written)
    if total <= limit * rows:
        return counts
    reasons = ", ".join(f"{reason}: {number}" for reason, number in counts.most_common())
    first = "; ".join(f"line {row.line}: {row.reason}: {row.content[:60]!r}" for row in wrong[:3])
    where = f"; {written} lists them" if written else ""
    raise BadInteractions(
        f"{source}: {total} of {rows} rows are wrong ({total / rows:.2%}), more than the "
        f"{limit:.2%} allowed ({reasons}){where}. The first: {first}. Correct them, or raise "
        "--max-rejects"
    )
