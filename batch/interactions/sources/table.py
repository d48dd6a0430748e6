"""The files of one input as one table in DuckDB, whatever their kind.

DuckDB was chosen after measuring: it reads CSV on all cores, keeps the rows that it cannot parse,
groups more rows than fit in memory, and hands over NumPy arrays. Its exceptions, and those of
Python's file reading, end here: `reading_errors` turns them into ours.
"""

import csv
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb

from batch.errors import DISK_TROUBLE, BadInteractions, DiskUnavailable, LarderError, Terminal
from batch.interactions.sources import files
from batch.interactions.sources.files import Header
from batch.interactions.sources.folder import private_folder
from batch.interactions.sources.layout import Layout

T = TypeVar("T")
N = TypeVar("N", str, Path)
PASS_OVER = ", ignore_errors = true"
ERRORS = (duckdb.Error, OSError, EOFError, zlib.error, UnicodeError, csv.Error, MemoryError)


@dataclass(frozen=True, slots=True)
class Table:
    """What to read: `plain[n]` holds the rows of `files[n]`, which is the name for messages."""

    files: list[Path]
    plain: list[Path]
    headers: list[Header]
    """One for each text file; none for Parquet, whose rows are numbered."""
    columns: tuple[str, ...]
    types: tuple[str, ...]
    """DuckDB's names of the columns' types; all VARCHAR in text."""
    delimiter: str
    layout: Layout
    doubled: frozenset[str] = frozenset()
    """Names, in small letters, that several columns of one Parquet file have: DuckDB reads one."""

    @property
    def is_text(self) -> bool:
        """Say whether the files are text: CSV, TSV and the like, not Parquet."""
        return bool(self.headers)

    def identifier(self, column: str) -> str:
        """Return what a column is called in SQL: by its position, so that no name can clash."""
        return f"c{self.columns.index(column)}"

    def type_of(self, column: str) -> str:
        """Return DuckDB's name of the column's type."""
        return self.types[self.columns.index(column)]

    def scan(self, errors: str = "") -> str:
        """Return the SQL that reads all files; of text it raises when it cannot cut a row.

        errors: PASS_OVER passes such rows over instead.
        """
        if not self.is_text:
            cells = (f"{self._cell(n)} AS c{n}" for n in range(len(self.columns)))
            return f"SELECT {', '.join(cells)} FROM {read_parquet(self.plain)}"
        skips = [header.blanks + bool(header.lines) for header in self.headers]
        return " UNION ALL ".join(
            "SELECT * FROM "
            + self._text([file for file, own in zip(self.plain, skips, strict=True) if own == skip])
            + f", skip = {skip}, parallel = true{errors})"
            for skip in sorted(set(skips))
        )

    def scan_piece(self, piece: Path, rejects: str) -> str:
        """Return the SQL that reads some rows, in order; what is none goes to table `rejects`."""
        return (
            f"SELECT * FROM {self._text([piece])}, parallel = false, store_rejects = true, "
            f"rejects_limit = 0, rejects_line_size_limit = {2**40}, "
            f"rejects_table = '{rejects}', rejects_scan = '{rejects}_files')"
        )

    def _cell(self, number: int) -> str:
        """Return SQL for a column of Parquet.

        Arrow leaves NaN out of a column's least and greatest value, and DuckDB drops checks that
        no value between them can meet; TRY hides the two from it.
        """
        name = literal(self.columns[number], '"')
        return f"TRY({name})" if self.types[number] in ("FLOAT", "DOUBLE") else name

    def _text(self, plain: list[Path]) -> str:
        columns = ", ".join(f"c{n}: 'VARCHAR'" for n in range(len(self.columns)))
        return (
            f"read_csv({literals(plain)}, columns = {{{columns}}}, auto_detect = false, "
            f"header = false, compression = 'none', delim = {literal(self.delimiter)}, "
            f"quote = {literal(self.layout.quote)}, escape = {literal(self.layout.quote)}"
        )


def read_parquet(plain: list[Path]) -> str:
    """Return SQL that reads these files by the names of their columns."""
    options = "union_by_name = true, hive_partitioning = false, binary_as_string = true"
    return f"read_parquet({literals(plain)}, {options})"


def literal(text: str, mark: str = "'") -> str:
    """Quote a string, or with `"` a name, for SQL."""
    return mark + text.replace(mark, mark * 2) + mark


def literals(paths: Iterable[Path]) -> str:
    """Quote paths as a list, for SQL."""
    return "[" + ", ".join(literal(str(path)) for path in paths) + "]"


@contextmanager
def database() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Give a database in memory that may spill into a private folder, gone at the end."""
    with private_folder() as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": str(folder / "spill"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(":memory:", config=settings) as connection:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            yield connection, folder


def open_table(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    path: Path,
    layout: Layout,
    one_newline: bool = False,
    more: Sequence[Path] = (),
) -> Table:
    """Find the files under a path, and under more, and make them readable as one table.

    The folder takes what that needs.
    """
    found = [file for each in (path, *more) for file in files.find(each)]
    if are_parquet(path, found, layout):
        return _open_parquet(connection, folder, found, layout)
    return _open_text(folder, path, found, layout, one_newline)


def are_parquet(path: str | Path, found: Iterable[Path], layout: Layout) -> bool:
    """Say whether files are Parquet, not text; raise BadInteractions when they are mixed."""
    kinds = {_kind(file, layout) for file in found}
    if len(kinds) > 1:
        raise BadInteractions(
            f"{path}: this folder mixes {' and '.join(sorted(kinds))} files: keep one kind in it"
        )
    return kinds == {"Parquet"}


def _kind(path: Path, layout: Layout) -> str:
    if files.kind(path) in files.PARQUET:
        return "Parquet"
    return f"text (columns cut by {files.delimiter(path, layout)!r})"


def _open_parquet(
    connection: duckdb.DuckDBPyConnection, folder: Path, found: list[Path], layout: Layout
) -> Table:
    plain = [folder / f"{number:06}.parquet" for number in range(len(found))]
    for file, link in zip(found, plain, strict=True):
        with open(file, "rb"):
            link.symlink_to(file.resolve())
    described = connection.execute(f"DESCRIBE FROM {read_parquet(plain)}").fetchall()
    columns, types = zip(*((row[0], row[1]) for row in described), strict=True)
    return Table(found, plain, [], columns, types, "", layout, _doubled(connection, plain))


def _doubled(connection: duckdb.DuckDBPyConnection, plain: list[Path]) -> frozenset[str]:
    sql = f"SELECT name, coalesce(num_children, 0) FROM parquet_schema({literals(plain)})"
    nodes = iter(connection.execute(sql).fetchall())  # depth first
    doubled: set[str] = set()
    for _, children in nodes:  # the root of each file
        names = Counter(_own_name(nodes) for _ in range(children))
        doubled.update(name for name, times in names.items() if times > 1)
    return frozenset(doubled)


def _own_name(nodes: Iterator[tuple[str, int]]) -> str:
    name, children = next(nodes)
    for _ in range(children):
        _own_name(nodes)
    return name.lower()


def _open_text(
    folder: Path, path: Path, found: list[Path], layout: Layout, one_newline: bool
) -> Table:
    full = of_same_columns(path, [(file, files.header(file, layout)) for file in found])
    first, columns = full[0][0], full[0][1].columns
    plain = [folder / f"{number:06}.csv" for number in range(len(full))]
    for (file, _), target in zip(full, plain, strict=True):
        target.unlink(missing_ok=True)
        files.make_plain(file, target, layout, one_newline)
    return Table(
        [file for file, _ in full],
        plain,
        [header for _, header in full],
        columns,
        ("VARCHAR",) * len(columns),
        files.delimiter(first, layout),
        layout,
    )


def of_same_columns(
    path: str | Path, headers: Iterable[tuple[N, Header | None]]
) -> list[tuple[N, Header]]:
    """Leave out empty files; raise BadInteractions when all are, or when their columns differ."""
    full = [(file, header) for file, header in headers if header is not None]
    if not full:
        raise BadInteractions(f"{path}: expected rows, found an empty file")
    first, columns = full[0][0], full[0][1].columns
    for file, header in full:
        if header.columns != columns:
            raise BadInteractions(
                f"{file}: expected the columns of {Path(first).name} ({', '.join(columns)}), found "
                f"{', '.join(header.columns)}"
            )
    return full


def reading(path: Path, layout: Layout, work: Callable[[duckdb.DuckDBPyConnection, Table], T]) -> T:
    """Do some work on the table under a path, whatever newlines its text mixes.

    DuckDB gives up on a text that mixes kinds of newlines; then it gets a copy with one kind.
    """
    with reading_errors(path), database() as (connection, folder):
        table = open_table(connection, folder, path, layout)
        try:
            return work(connection, table)
        except duckdb.InvalidInputException as error:
            if not table.is_text or "invalid state" not in str(error):
                raise
    with reading_errors(path), database() as (connection, folder):
        return work(connection, open_table(connection, folder, path, layout, one_newline=True))


@contextmanager
def reading_errors(path: str | Path) -> Iterator[None]:
    """Turn what DuckDB and the file system raise into our errors."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except ERRORS as error:
        raise _ours(path, error) from error


def _ours(path: str | Path, error: BaseException) -> LarderError:
    if is_disk_trouble(error):
        return DiskUnavailable(
            f"{path}: a disk is full or fails ({sentence(error)}): see that there is room for "
            "temporary files, or set TMPDIR to a larger disk"
        )
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)):
        return Terminal(
            f"{path}: not enough memory to read it ({sentence(error)}): give the job more"
        )
    return BadInteractions(
        f"{path}: cannot be read ({sentence(error)}): check that it is whole, readable and of the "
        "kind that its name says"
    )


def is_disk_trouble(error: BaseException) -> bool:
    """DuckDB has what the system says, or its own limit of 90 % of the disk, in its sentence."""
    if isinstance(error, OSError):
        return error.errno in DISK_TROUBLE
    said = [os.strerror(number) for number in DISK_TROUBLE] + ["max_temp_directory_size"]
    return isinstance(error, duckdb.Error) and any(each in str(error) for each in said)


def sentence(error: BaseException) -> str:
    """The first line of what an error says."""
    return str(error).strip().split("\n")[0] or type(error).__name__
