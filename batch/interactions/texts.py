"""Texts read by pieces: the rows that can be used, and for each of the others its line.

A row is rejected for its values, or because DuckDB cannot cut it into columns ("uncut"). Of an
uncut row DuckDB tells where it begins (the byte), of one with wrong values only which row it is.
`_locate` works the line out, and only a text that has rejects pays for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from batch.interactions.columns import Checks
from batch.interactions.sources.pieces import LONGEST, NEWLINE, PIECE, Text

UNCLOSED, TOO_LONG = "broken quotes", "line too long"
UNCUT = {
    "UNQUOTED VALUE": UNCLOSED,
    "INVALID ENCODING": "wrong encoding",
    "LINE SIZE OVER MAXIMUM": TOO_LONG,
    "MISSING COLUMNS": "too few columns",
    "TOO MANY COLUMNS": "too many columns",
    "INVALID STATE": "unreadable",
    "CAST": "unreadable",
}
RUNAWAY = (UNCLOSED, "line break in", TOO_LONG)
"""How reasons begin that an open quote may be behind."""
RIGHT = "right_rows"
"""The table of rows that are not rejected."""
CONTENT = 1000
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


@dataclass(frozen=True, slots=True)
class Wrong:
    """A rejected row of a piece: the line (from 0) and the byte where it begins, its lines."""

    line: int
    byte: int
    reason: str
    lines: int


def read_by_pieces(connection: duckdb.DuckDBPyConnection, checks: Checks) -> Iterator[Reject]:
    """Yield the rejects of all texts, in order; the right rows go to the table `RIGHT`."""
    table = checks.table
    cells = ", ".join(f"c{n} VARCHAR" for n in range(len(table.columns)))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {RIGHT} ({cells})")
    for number, header in enumerate(table.headers):
        with one_thread(connection), open(table.plain[number], "rb") as stream:
            text = Text(stream)
            for _ in range(header.lines):
                text.take_line()
            while not text.is_over():
                yield from _of_next(connection, checks, number, text)


@contextmanager
def one_thread(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let DuckDB work in one thread, and so keep the order of rows."""
    threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
    connection.execute("SET threads = 1")
    yield
    connection.execute(f"SET threads = {threads}")


def _of_next(
    connection: duckdb.DuckDBPyConnection, checks: Checks, number: int, text: Text
) -> Iterator[Reject]:
    """Read the next piece, or go on behind a row that fits in none."""
    file, first = checks.table.files[number], text.line
    for size in (PIECE, LONGEST):
        piece = text.look(size)
        wrong, last = _judge(connection, checks, number, piece)
        if text.is_last(piece):
            last = None
        end = len(piece) if last is None else last.byte
        if end:
            break
    text.take(end)
    for row in wrong[: len(wrong) - (last is not None)]:  # the next piece begins with the last
        yield Reject(file, first + row.line, row.reason, _shown(piece, row.byte), row.lines)
    if not end:
        yield _too_long(checks.table.layout.quote, file, text, piece)


def _too_long(quote: str, file: Path, text: Text, piece: bytes) -> Reject:
    """Go on behind a line that is longer than a piece, or a quote that is open all through it."""
    first = text.line
    if not piece:
        return Reject(file, first, TOO_LONG, _shown(text.take_line()))
    reason = TOO_LONG if text.take_quoted(len(piece), quote.encode()) else UNCLOSED
    return Reject(file, first, reason, _shown(piece), text.line - first)


def _shown(text: bytes, start: int = 0) -> str:
    line = NEWLINE.split(text[start : start + 4 * CONTENT], 1)[0]
    return line.decode(errors="backslashreplace")[:CONTENT]


def _judge(
    connection: duckdb.DuckDBPyConnection, checks: Checks, number: int, piece: bytes
) -> tuple[list[Wrong], Wrong | None]:
    """Return the rejected rows of a piece, in order, and which of them leaves a quote open."""
    if not piece.strip(b"\r\n"):
        return [], None
    plain = checks.table.plain[number].with_name("piece.csv")
    plain.write_bytes(piece)
    cells = ", ".join(f"c{n}" for n in range(len(checks.table.columns)))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE cut AS SELECT {cells}, row_number() OVER () - 1 AS row, "
        f"{checks.reason} AS reason, len(regexp_extract_all(concat_ws(' ', {cells}), {NEWLINES})) "
        f"+ 1 AS lines FROM ({checks.table.scan_piece(plain, 'piece')}); "
        f"INSERT INTO {RIGHT} SELECT {cells} FROM cut WHERE reason = 0"
    )
    uncut = uncut_rows(connection, "piece")
    connection.execute("DROP TABLE piece; DROP TABLE piece_files")
    plain.unlink()
    wrong, is_open = _wrong(connection, checks, piece, uncut)
    last = wrong[-1] if wrong else None
    return wrong, last if last and is_open and (last.byte or last.lines > 1) else None


def _wrong(
    connection: duckdb.DuckDBPyConnection, checks: Checks, piece: bytes, uncut: list[Uncut]
) -> tuple[list[Wrong], bool]:
    """Return the rejected rows, in order, and whether the last leaves a quote open to the end."""
    cut = connection.execute("SELECT count(*) FROM cut").fetchall()[0][0]
    tall = connection.execute("SELECT row, lines FROM cut WHERE lines > 1 ORDER BY row").fetchall()
    rejected = connection.execute("SELECT row, reason, lines FROM cut WHERE reason > 0").fetchall()
    starts, uncut_lines, cut_lines, rest = _locate(piece, uncut, tall, cut)
    why = {line: (row.reason, row.lines) for line, row in zip(uncut_lines, uncut, strict=True)}
    for row, code, lines in rejected:
        reason = checks.reasons[code]
        why[int(cut_lines[row])] = (reason, lines if reason.startswith(RUNAWAY) else 1)
    if len(rest):  # to the end of the text, by an open quote that DuckDB kept silent about
        why[int(rest[0])] = (UNCLOSED, len(rest))
    wrong = [Wrong(line, int(starts[line]), *why[line]) for line in sorted(why)]
    if not wrong or wrong[-1].reason != UNCLOSED:
        return wrong, False
    behind = starts[wrong[-1].line + wrong[-1].lines :]
    return wrong, bool(len(rest)) or not (len(behind) and piece[behind[0] :].strip(b"\r\n"))


def uncut_rows(connection: duckdb.DuckDBPyConnection, scan: str) -> list[Uncut]:
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


def _locate(
    piece: bytes, uncut: list[Uncut], tall: list[tuple[int, int]], cut: int
) -> tuple[NDArray[np.int64], list[int], NDArray[np.int64], NDArray[np.int64]]:
    """Work out on which lines, counted from 0, the rows of a piece begin.

    Given: the uncut rows; (row from 0, lines) of the rows that were cut and span several lines, in
    order; how many rows were cut. Returns where each line starts, the lines of the uncut rows,
    those of the cut rows, and those that belong to neither.

    Every line begins a row, but blank ones, and those that an uncut or a tall row runs over. What
    remains is in the order of the cut rows.
    """
    text = np.frombuffer(piece, dtype=np.uint8)
    starts, begins = _lines(text)
    uncut_lines = []
    for row in uncut:
        line = int(np.searchsorted(starts, _past_newlines(text, row.byte - 1), "right")) - 1
        begins[line : line + row.lines] = False
        uncut_lines.append(line)
    lines = np.flatnonzero(begins)
    keep = np.ones(len(lines), dtype=bool)
    hidden = 0
    for number, height in tall:
        at = number + hidden
        end = int(np.searchsorted(lines, lines[at] + height))
        keep[at + 1 : end] = False
        hidden += end - at - 1
    lines = lines[keep]
    return starts, uncut_lines, lines[:cut], lines[cut:]


def _past_newlines(text: NDArray[np.uint8], byte: int) -> int:
    while byte < len(text) - 1 and text[byte] in (10, 13):
        byte += 1
    return byte


def _lines(text: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where each line starts, and whether it holds anything."""
    following = np.append(text[1:], np.uint8(0))
    ends = np.append(np.flatnonzero((text == 10) | ((text == 13) & (following != 10))), len(text))
    starts = np.append(0, ends[:-1] + 1)
    empty = ends == starts
    single = np.flatnonzero((ends == starts + 1) & (starts < len(text)))
    empty[single] = text[starts[single]] == 13
    return starts, ~empty
