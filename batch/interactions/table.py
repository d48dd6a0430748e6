"""The files of one input as one table in DuckDB, whatever their kind.

DuckDB was chosen after measuring: it reads CSV on all cores, keeps the rows that it cannot parse,
groups more rows than fit in memory, and hands over NumPy arrays. Its exceptions, and those of
Python's file reading, end here: `reading_errors` turns them into ours.
"""

import csv
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb

from batch.errors import BadInteractions, Terminal
from batch.interactions import files
from batch.interactions.files import Header
from batch.interactions.layout import Layout

T = TypeVar("T")
N = TypeVar("N", str, Path)
READING_ERRORS = (duckdb.Error, OSError, EOFError, zlib.error, UnicodeError, csv.Error)


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

    def scan(self, rejects: str, parallel: bool) -> str:
        """Return the SQL that reads all files; unreadable rows go to the table `rejects`."""
        if not self.is_text:
            names = (f"{literal(name, chr(34))} AS c{n}" for n, name in enumerate(self.columns))
            return f"SELECT {', '.join(names)} FROM {read_parquet(self.plain)}"
        skips = [header.blanks + bool(header.lines) for header in self.headers]
        return " UNION ALL ".join(
            "SELECT * FROM "
            + self._text(
                [file for file, own in zip(self.plain, skips, strict=True) if own == skip],
                skip,
                rejects,
                parallel,
            )
            for skip in sorted(set(skips))
        )

    def scan_one(self, number: int, rejects: str) -> str:
        """Return the SQL that reads one text file, in order."""
        header = self.headers[number]
        skip = header.blanks + bool(header.lines)
        return "SELECT * FROM " + self._text([self.plain[number]], skip, rejects, False)

    def _text(self, plain: list[Path], skip: int, rejects: str, parallel: bool) -> str:
        columns = ", ".join(f"c{n}: 'VARCHAR'" for n in range(len(self.columns)))
        return (
            f"read_csv({_literals(plain)}, columns = {{{columns}}}, auto_detect = false, "
            f"header = false, skip = {skip}, compression = 'none', parallel = {parallel}, "
            f"delim = {literal(self.delimiter)}, quote = {literal(self.layout.quote)}, "
            f"escape = {literal(self.layout.quote)}, store_rejects = true, rejects_limit = 0, "
            f"rejects_line_size_limit = {2**40}, rejects_table = '{rejects}', "
            f"rejects_scan = '{rejects}_files')"
        )


def read_parquet(plain: list[Path]) -> str:
    """Return SQL that reads these files by the names of their columns."""
    options = "union_by_name = true, hive_partitioning = false, binary_as_string = true"
    return f"read_parquet({_literals(plain)}, {options})"


def literal(text: str, mark: str = "'") -> str:
    """Quote a string, or with `"` a name, for SQL."""
    return mark + text.replace(mark, mark * 2) + mark


def _literals(paths: list[Path]) -> str:
    return "[" + ", ".join(literal(str(path)) for path in paths) + "]"


@contextmanager
def database() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Give a database in memory that may spill into a private folder, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="larder-") as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": str(Path(folder) / "spill"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(":memory:", config=settings) as connection:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            yield connection, Path(folder)


def open_table(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    path: Path,
    layout: Layout,
    one_newline: bool = False,
) -> Table:
    """Find the files under a path and make them readable; the folder takes what that needs."""
    found = files.find(path)
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
    return Table(found, plain, [], columns, types, "", layout)


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
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise Terminal(
            f"{path}: not enough memory or temporary disk to read it ({_sentence(error)}): give "
            "the job more, or set TMPDIR to a larger disk"
        ) from error
    except READING_ERRORS as error:
        raise BadInteractions(
            f"{path}: cannot be read ({_sentence(error)}): check that it is whole, readable and "
            "of the kind that its name says"
        ) from error


def _sentence(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
