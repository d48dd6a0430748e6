"""What executors do: some of the input through the checks of a single machine, in DuckDB.

Memory stays in bounds: a task works on `CHUNK` bytes at a time. It yields rows of Arrow: what a
row says, as the `Meaning` has it, null in a rejected one; then reason, file and content, strings:
which row was rejected for what; null in a right one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext

from batch.errors import BadInteractions
from batch.interactions.columns import Checks
from batch.interactions.rejects import judge_rows
from batch.interactions.sources import files
from batch.interactions.sources.files import Header
from batch.interactions.sources.layout import Layout
from batch.interactions.sources.table import Table, database, literal, reading_errors
from batch.interactions.texts import CONTENT, Reject
from batch.spark.read.quotes import take_unclosed

CHUNK = 1 << 26
ROOM = "1GB"
"""What DuckDB may take of a task's memory; more goes to the disk."""
ABOUT = ("reason", "file", "content")

Data = TypeVar("Data", pa.Array, pa.RecordBatch)


@dataclass(frozen=True, slots=True)
class Said:
    """SQL for what a row says. used: the columns that have a role; sql: by name, with its type."""

    checks: Checks
    used: tuple[str, ...]
    sql: Mapping[str, tuple[str, pa.DataType]]


class Meaning(Protocol):
    """What rows are read for. It goes to executors."""

    def roles(self, layout: Layout) -> set[str]:
        """The columns that may have one."""

    def said(self, table: Table, name: str) -> Said:
        """What rows of a table say; name: for messages. Raises BadInteractions."""

    def lay(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the tables that the SQL needs beside that of the rows."""


@dataclass(frozen=True, slots=True)
class Input:
    """What tasks know of the input."""

    name: str
    """What people call it."""
    layout: Layout
    columns: tuple[str, ...]
    types: tuple[str, ...]
    """DuckDB's."""
    delimiter: str
    """Of text; empty for Parquet."""
    files: Mapping[str, tuple[str, int]]
    """By the URI in Spark's metadata: what people call the file, the lines before its rows."""
    meaning: Meaning

    def table(self, found: Sequence[Path] = (), plain: Sequence[Path] = ()) -> Table:
        """These texts, or what comes in Arrow."""
        headers = [Header(self.columns, 0, 0)] * max(1, len(plain)) if self.delimiter else []
        texts = list(found), list(plain), headers
        return Table(*texts, self.columns, self.types, self.delimiter, self.layout)

    def said(self, found: Sequence[Path] = (), plain: Sequence[Path] = ()) -> Said:
        """Find the columns and what their values are checked for."""
        return self.meaning.said(self.table(found, plain), self.name)


def schema(said: Said) -> pa.Schema:
    """Return what rows are yielded as."""
    kinds = [(name, kind) for name, (_, kind) in said.sql.items()]
    return pa.schema([*kinds, *((name, pa.string()) for name in ABOUT)])


def _select(said: Said) -> str:
    """Return SQL for it; there is nothing to compute in a rejected row."""
    each = said.sql.items()
    return ", ".join(f"CASE WHEN reason = 0 THEN {sql} END AS {name}" for name, (sql, _) in each)


def of_text(plan: Input, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Check lines: their bytes (`value`), their file, and where in it their block starts."""
    for lines in chunks(_lines(plan, batches)):
        with _database(plan) as (connection, folder):
            yield from _lines_checked(connection, folder, plan, lines)


def of_parquet(plan: Input, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Check rows: the plan's columns, by position called c0, c1 and so on, and their file."""
    said = plan.said()
    for rows in chunks(("", batch) for batch in batches):
        with _database(plan) as (connection, _):
            connection.register("lines", pa.Table.from_batches([batch for _, batch in rows]))
            yield from _rows_checked(connection, plan, said)


def chunks(pieces: Iterable[tuple[str, Data]]) -> Iterator[list[tuple[str, Data]]]:
    chunk, size = [], 0
    for piece in pieces:
        chunk.append(piece)
        size += piece[1].nbytes
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


@contextmanager
def _database(plan: Input) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    task = TaskContext.get()
    with reading_errors(plan.name), database() as (connection, folder):
        connection.execute(f"SET threads = {task.cpus() if task else 1}")
        connection.execute(f"SET memory_limit = '{ROOM}'")
        plan.meaning.lay(connection)
        yield connection, folder


def _lines(plan: Input, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.Array]]:
    """Yield consecutive lines of one block of a file, its header left out."""
    before = None
    for batch in batches:
        for block, lines in _runs(batch):
            file, start = block
            first = plan.files[file][1] if start == 0 and block != before else 0
            before = block
            if first < len(lines):
                yield file, lines.slice(first)


def _runs(batch: pa.RecordBatch) -> Iterator[tuple[tuple[str, int], pa.Array]]:
    """Spark packs blocks of several files into one partition, one after the other."""
    file, start = batch["file"], batch["start"]
    changes = pc.or_(
        pc.not_equal(file.slice(1), file.slice(0, len(file) - 1)),
        pc.not_equal(start.slice(1), start.slice(0, len(start) - 1)),
    )
    begins = [0, *(np.flatnonzero(changes.to_numpy(zero_copy_only=False)) + 1).tolist()]
    for begin, end in zip(begins, [*begins[1:], len(file)], strict=True):
        block = file[begin].as_py(), start[begin].as_py()
        yield block, batch["value"].slice(begin, end - begin)


def _lines_checked(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    plan: Input,
    lines: list[tuple[str, pa.Array]],
) -> Iterator[pa.RecordBatch]:
    names = _lay(folder, plan, lines)
    found = list(names)
    plain = [file.with_suffix(".csv") for file in found]
    for file, target in zip(found, plain, strict=True):
        files.make_plain(file, target, plan.layout, one_newline=False)
    said = plan.said(found, plain)
    rejects = _judged(connection, said, sum(_full(values) for _, values in lines))
    yield from _batches(
        connection, said, "SELECT * EXCLUDE (reason, n), NULL, NULL, NULL FROM good"
    )
    if rejects:
        yield _rejected(schema(said), rejects, names)


def _lay(folder: Path, plan: Input, lines: list[tuple[str, pa.Array]]) -> dict[Path, str]:
    """Write the lines of each file into one; return what people call it."""
    names = {}
    for number, (file, values) in enumerate(groupby(lines, key=itemgetter(0))):
        path = folder / f"{number:06}.raw"
        names[path] = plan.files[file][0]
        with open(path, "wb") as stream:
            for _, some in values:
                stream.write(_joined(some))
                stream.write(b"\n")
    return names


def _joined(lines: pa.Array) -> pa.Buffer:
    return pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), b"\n")[0].as_buffer()


def _full(lines: pa.Array) -> int:
    return int(pc.sum(pc.greater(pc.binary_length(lines), 0)).as_py() or 0)


def _judged(connection: duckdb.DuckDBPyConnection, said: Said, lines: int) -> list[Reject]:
    """Make the table `good` of right rows; return the rejects, together one of each full line.

    How far a quote runs that is not closed in its line would depend on where Spark cuts the file;
    so no such line is a row.
    """
    good, rejects = _good(connection, said)
    if good + len(rejects) == lines:
        return rejects
    unclosed = take_unclosed(said.checks.table)
    _forget(connection)
    good, rejects = _good(connection, said)
    if good + len(rejects) + len(unclosed) != lines:
        raise BadInteractions(
            f"{said.checks.path}: its quotes run over lines in a way that cannot be told: "
            "correct them, or read the text on one machine"
        )
    return rejects + unclosed


def _good(connection: duckdb.DuckDBPyConnection, said: Said) -> tuple[int, list[Reject]]:
    reason = said.checks.reason
    rejects: list[Reject] = []
    good = judge_rows(
        connection,
        said.checks,
        "rows",
        lambda rows: f"CREATE OR REPLACE TEMP TABLE rows AS SELECT {_select(said)}, reason, "
        "1 AS n FROM "
        f"(SELECT *, {reason} AS reason FROM ({rows}))",
        rejects.append,
    )
    connection.execute("CREATE OR REPLACE TEMP VIEW good AS SELECT * FROM rows WHERE reason = 0")
    return good, rejects


def _forget(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop what was read: rejects of scans would pile up in tables of one name."""
    tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE temporary")
    for (name,) in tables.fetchall():
        connection.execute(f"DROP TABLE {literal(name, chr(34))} CASCADE")


def _rejected(kinds: pa.Schema, rejects: list[Reject], names: Mapping[Path, str]) -> pa.RecordBatch:
    about = {
        "reason": [row.reason for row in rejects],
        "file": [names[row.file] for row in rejects],
        "content": [row.content for row in rejects],
    }
    nothing = [None] * len(rejects)
    return pa.record_batch({name: about.get(name, nothing) for name in kinds.names}, schema=kinds)


def _rows_checked(
    connection: duckdb.DuckDBPyConnection, plan: Input, said: Said
) -> Iterator[pa.RecordBatch]:
    cells = ", ".join(f"coalesce(c{n}::VARCHAR, '')" for n in range(len(plan.columns)))
    reasons = ", ".join(map(literal, said.checks.reasons))
    about = (f"[{reasons}][reason + 1]", "file", f"array_to_string([{cells}], ',')[:{CONTENT}]")
    where = ", ".join(f"CASE WHEN reason > 0 THEN {sql} END" for sql in about)
    rows = f"(SELECT *, {said.checks.reason} AS reason FROM lines)"
    sql = f"SELECT {_select(said)}, {where} FROM {rows}"
    yield from (_named(batch, plan) for batch in _batches(connection, said, sql))


def _batches(
    connection: duckdb.DuckDBPyConnection, said: Said, sql: str
) -> Iterator[pa.RecordBatch]:
    kinds = schema(said)
    reader: Any = connection.sql(sql).to_arrow_reader(1 << 16)
    for batch in reader:
        arrays = [array.cast(kind) for array, kind in zip(batch.columns, kinds.types, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=kinds)


def _named(batch: pa.RecordBatch, plan: Input) -> pa.RecordBatch:
    """Call the files of rejects what people do."""
    at = batch.schema.get_field_index("file")
    uris = batch.column(at)
    if uris.null_count == len(uris):
        return batch
    names = [None if uri is None else plan.files[uri][0] for uri in uris.to_pylist()]
    return batch.set_column(at, "file", pa.array(names, pa.string()))
