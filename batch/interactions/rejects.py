"""The wrong rows of an input: which line, what for, and when they are too many.

DuckDB tells where a row begins that it cannot cut into columns (the byte), but not where one
begins whose values are wrong: of that it only knows which row it is. `locate` works the line out,
and only a file that has such rows pays for it.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from batch.errors import BadInteractions
from batch.interactions import files
from batch.interactions.table import Table

UNCUT = {
    "UNQUOTED VALUE": "broken quotes",
    "INVALID ENCODING": "wrong encoding",
    "LINE SIZE OVER MAXIMUM": "line too long",
    "MISSING COLUMNS": "too few columns",
    "TOO MANY COLUMNS": "too many columns",
    "INVALID STATE": "unreadable",
    "CAST": "unreadable",
}
CONTENT = 1000
NEWLINES = "'\\r\\n|\\r|\\n'"


@dataclass(frozen=True, slots=True)
class Wrong:
    """One wrong row, at a line of a text or a row of a Parquet file, both counted from 1."""

    file: Path
    line: int
    reason: str
    content: str


@dataclass(frozen=True, slots=True)
class Uncut:
    """A row that DuckDB could not cut into columns."""

    file: int
    byte: int
    lines: int
    reason: str


def uncut(connection: duckdb.DuckDBPyConnection, table: Table, rejects: str) -> list[Uncut]:
    """Return the rows that the scan of this name could not cut, each once."""
    if not table.is_text:
        return []
    found = connection.execute(
        f"SELECT file_path, line_byte_position, error_type::VARCHAR, "
        f"len(regexp_extract_all(trim(csv_line, chr(10) || chr(13)), {NEWLINES})) + 1 "
        f"FROM {rejects} JOIN {rejects}_scan USING (scan_id, file_id)"
    ).fetchall()
    number = {str(path): position for position, path in enumerate(table.plain)}
    order = list(UNCUT)
    found.sort(key=lambda row: (number[row[0]], row[1], order.index(row[2])))
    rows: dict[tuple[int, int], Uncut] = {}
    for path, byte, error, lines in found:
        key = (number[path], byte)
        rows.setdefault(key, Uncut(*key, lines or 1, UNCUT[error]))
    return list(rows.values())


def swallowed(rows: Iterable[Uncut]) -> bool:
    """Say whether an open quote ran on over several lines, so that rows were not seen as rows."""
    return any(row.reason == "broken quotes" and row.lines > 1 for row in rows)


def count(rows: Iterable[Uncut]) -> Counter[str]:
    """Count rows by reason; a row of broken quotes counts for every line that it ran over."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.reason] += row.lines if row.reason == "broken quotes" else 1
    return counts


def gather(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    uncut_rows: list[Uncut],
    reason: str,
    reasons: tuple[str, ...],
) -> list[Wrong]:
    """Find all wrong rows again, in order. `reason` is SQL: a position in `reasons`, 0 is right."""
    threads = connection.execute("SELECT current_setting('threads')").fetchone()
    connection.execute("SET threads = 1")
    wrong: list[Wrong] = []
    for number in range(len(table.files)):
        if table.is_text:
            own = [row for row in uncut_rows if row.file == number]
            wrong += _of_text(connection, table, number, own, reason, reasons)
        else:
            wrong += _of_parquet(connection, table, number, reason, reasons)
    connection.execute(f"SET threads = {threads[0] if threads else 1}")
    return wrong


def _of_parquet(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    number: int,
    reason: str,
    reasons: tuple[str, ...],
) -> list[Wrong]:
    cells = ", ".join(f"{table.identifier(column)}::VARCHAR" for column in table.columns)
    rows = connection.execute(
        f"SELECT file_row_number + 1, {reason} AS reason, "
        f"array_to_string([coalesce(cell, '') FOR cell IN [{cells}]], ',') "
        f"FROM ({table.scan_one(number, '')}) WHERE reason > 0 ORDER BY 1"
    ).fetchall()
    file = table.files[number]
    return [Wrong(file, line, reasons[why], text[:CONTENT]) for line, why, text in rows]


def _of_text(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    number: int,
    own: list[Uncut],
    reason: str,
    reasons: tuple[str, ...],
) -> list[Wrong]:
    cells = ", ".join(f"c{n}" for n in range(len(table.columns)))
    special = connection.execute(
        f"SELECT * FROM (SELECT row_number() OVER () - 1 AS row, {reason} AS reason, "
        f"len(regexp_extract_all(concat_ws(' ', {cells}), {NEWLINES})) + 1 AS lines "
        f"FROM ({table.scan_one(number, f'again_{number}')})) WHERE reason > 0 OR lines > 1"
    ).fetchall()
    tall = [(row, lines) for row, _, lines in special if lines > 1]
    bad = [(row, reasons[why]) for row, why, _ in special if why]
    uncut_lines, bad_lines = locate(
        table.plain[number],
        table.headers[number].lines,
        [(row.byte, row.lines) for row in own],
        tall,
        [row for row, _ in bad],
    )
    why = {line: row.reason for line, row in zip(uncut_lines, own, strict=True)}
    why |= {line: text for line, (_, text) in zip(bad_lines, bad, strict=True)}
    return _with_content(table, number, dict(sorted(why.items())))


def locate(
    plain: Path,
    skipped: int,
    uncut_rows: list[tuple[int, int]],
    tall: list[tuple[int, int]],
    wanted: list[int],
) -> tuple[list[int], list[int]]:
    """Work out on which lines, counted from 1, rows of a plain text begin.

    Given: the lines before the first row; (byte from 1, lines) of the rows that were not cut;
    (row from 0, lines) of the rows that were cut and span several lines; the rows (from 0) to
    find among those that were cut. Returns the lines of the uncut and of the wanted rows.

    Every line begins a row, but blank ones, those before the first row, and those that an uncut
    or a tall row runs over. What is left is in the order of the rows.
    """
    text = np.memmap(plain, dtype=np.uint8, mode="r")
    starts, begins = _lines(text)
    begins[:skipped] = False
    uncut_lines = []
    for byte, lines in uncut_rows:
        byte -= 1
        while byte < len(text) - 1 and text[byte] in (10, 13):
            byte += 1
        line = int(np.searchsorted(starts, byte, side="right")) - 1
        begins[line : line + lines] = False
        uncut_lines.append(line + 1)
    rows = np.flatnonzero(begins)
    after, shifts, shift = [-1], [0], 0
    for row, lines in tall:
        line = rows[row + shift]
        shift += int(np.searchsorted(rows, line + lines)) - (row + shift) - 1
        after.append(row)
        shifts.append(shift)
    place = np.searchsorted(after, wanted, side="left") - 1
    found = rows[np.asarray(wanted, dtype=np.int64) + np.asarray(shifts)[place]]
    return uncut_lines, (found + 1).tolist()


def _lines(text: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where each line starts, and whether it holds anything."""
    ends = [np.zeros(0, dtype=np.int64)]
    for at in range(0, len(text), files.BLOCK):
        block = np.append(text[at : at + files.BLOCK + 1], np.uint8(0))[: files.BLOCK + 1]
        here, following = block[:-1], block[1:]
        ends.append(np.flatnonzero((here == 10) | ((here == 13) & (following != 10))) + at)
    last = np.concatenate([*ends, [len(text)]])
    starts = np.concatenate([[0], last[:-1] + 1])
    empty = last == starts
    crlf = np.flatnonzero(last == starts + 1)
    crlf = crlf[starts[crlf] < len(text)]
    empty[crlf] = text[starts[crlf]] == 13
    return starts, ~empty


def _with_content(table: Table, number: int, why: Mapping[int, str]) -> list[Wrong]:
    """Read the lines as they stand in the file, bytes that are no text as \\x.. ."""
    file, encoding = table.files[number], table.layout.encoding
    wrong = []
    with files.opened(file, encoding, newline=None) as stream:
        for line, text in enumerate(stream, start=1):
            if line in why:
                raw = text.rstrip("\n")[:CONTENT].encode(encoding, "surrogateescape")
                shown = raw.decode(encoding, "backslashreplace")
                wrong.append(Wrong(file, line, why[line], shown))
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
    source: Path,
    wrong: list[Wrong],
    counts: Mapping[str, int],
    rows: int,
    written: Path | None,
    limit: float,
) -> None:
    """Raise BadInteractions when the share of wrong rows is over the limit."""
    total = sum(counts.values())
    if total <= limit * rows:
        return
    reasons = ", ".join(f"{reason}: {count}" for reason, count in counts.items())
    first = "; ".join(f"line {row.line}: {row.reason}: {row.content[:60]!r}" for row in wrong[:3])
    where = f"; {written} lists them" if written else ""
    raise BadInteractions(
        f"{source}: {total} of {rows} rows are wrong ({total / rows:.2%}), more than the "
        f"{limit:.2%} allowed ({reasons}){where}. The first: {first}. Correct them, or raise "
        "--max-rejects"
    )
