"""Which files to read, and one plain text of each: UTF-8, unzipped, quotes escaped by doubling.

DuckDB reads plain files under names of our own making, in a private folder: links to those that
are plain already, rewritten copies of the others. So a path may hold any character, a damaged
.gz is noticed, every encoding that Python knows can be read, and a position in the plain text
is a position in UTF-8.
"""

import codecs
import csv
import gzip
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from batch.errors import BadInteractions, BadSettings
from batch.interactions.sources.layout import Layout

TEXT = (".csv", ".tsv", ".txt", ".data", ".dat")
PARQUET = (".parquet",)
FOREIGN = (".json", ".jsonl", ".ndjson", ".xlsx", ".xls", ".ods", ".zip", ".avro", ".orc", ".pkl")
REJECTS_HEAD = ("file", "line", "reason", "content")
PART_HEAD = ("file", "rows", "reason", "content")
"""Of the rejects that Spark writes, to whom lines have no numbers."""
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """The names of a text file's columns, and where its rows begin."""

    columns: tuple[str, ...]
    blanks: int
    """Blank lines before it."""
    lines: int
    """Lines up to its end: the first row is on a later one."""


def find(path: Path) -> list[Path]:
    """List the files to read: this one, or in name order all in this folder and those below it.

    In a folder, names that begin with `.` or `_`, links to folders, files that are neither text
    nor Parquet by their names, and the rejects of an earlier run are left alone. Raises
    BadInteractions when nothing remains.
    """
    if not path.exists():
        raise no_such(path)
    if not path.is_dir():
        refuse_foreign(path, path.name)
        return [_regular(path)]
    within = sorted(_within(path))
    files = [file for file in within if kind(file) is not None and not is_rejects(file)]
    if not files:
        raise none_to_read(path, [file.name for file in within])
    return [_regular(file) for file in files]


def keep(inputs: Iterable[Path], outputs: Iterable[tuple[str, Path | None]]) -> None:
    """Raise BadSettings where an output, named by its option, would be written over an input."""
    there = [path for path in inputs if path.exists()]
    for name, output in outputs:
        if output is None or not output.is_file():
            continue
        if any(output.samefile(file) for path in there for file in find(path)):
            raise BadSettings(f"{name} {output} is the input itself: name another file")


def write_whole(path: Path, text: str) -> None:
    """Write a text file in one step: it has its name once it is whole. Raises OSError."""
    folder = path.parent
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, delete=False) as file:
        try:
            file.write(text)
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _regular(path: Path) -> Path:
    """Return the path of a file that can be read twice, as no pipe can: it might never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadInteractions(f"{path}: expected a file, found a pipe or device: copy it to one")
    return path


def no_such(path: str | Path) -> BadInteractions:
    """Say that an input is not there."""
    return BadInteractions(f"{path}: there is no such file or folder")


def refuse_foreign(path: str | Path, name: str) -> None:
    """Raise BadInteractions when a file's name says that it is of a kind that is not read."""
    if name.lower().removesuffix(".gz").endswith(FOREIGN):
        raise BadInteractions(f"{path}: cannot be read: CSV, TSV or Parquet only")


def none_to_read(path: str | Path, names: Sequence[str]) -> BadInteractions:
    """Say that a folder, in which files of these names were found, has none to read."""
    found = ", ".join(map(repr, names[:5])) or "nothing"
    return BadInteractions(
        f"{path}: this folder holds no {', '.join((*TEXT, *PARQUET))} file (text also .gz); "
        f"found {found}"
    )


def is_skipped(name: str) -> bool:
    """Say whether a file or folder within a folder is left alone because of its name."""
    return name.startswith((".", "_"))


def _within(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not is_skipped(name)]
        for name in names:
            if not is_skipped(name):
                yield Path(parent, name)


def _raise(error: OSError) -> None:
    raise error


def kind(path: Path) -> str | None:
    """Return the extension that says how to read a file, without .gz; None for a foreign one."""
    name = path.name.lower().removesuffix(".gz")
    return next((end for end in (*TEXT, *PARQUET) if name.endswith(end)), None)


def is_rejects(path: Path) -> bool:
    """Say whether this is a file of rejects, as runs write them."""
    if not path.is_file():
        return False
    with open(path, "rb") as stream:
        return begins_rejects(stream.readline(100))


def begins_rejects(first: bytes) -> bool:
    """Say whether a file that begins with this line is one of rejects."""
    return first.rstrip() in {",".join(head).encode() for head in (REJECTS_HEAD, PART_HEAD)}


def delimiter(path: Path, layout: Layout) -> str:
    """Return what stands between the columns of this text file."""
    return layout.delimiter or ("\t" if kind(path) == ".tsv" else ",")


@contextmanager
def opened(path: Path, encoding: str, newline: str | None = "") -> Iterator[TextIO]:
    """Open a text, zipped or not; bytes that are not the encoding come as lone surrogates."""
    unzipped: Any = gzip.open if path.name.lower().endswith(".gz") else open
    how = {"encoding": without_mark(encoding), "errors": "surrogateescape", "newline": newline}
    with unzipped(path, "rt", **how) as stream:
        yield stream


def without_mark(encoding: str) -> str:
    """Return the encoding that drops a byte order mark at the beginning of UTF-8."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def header(path: Path, layout: Layout) -> Header | None:
    """Read a text's first row, or without a header make its names; None when it is empty."""
    with opened(path, layout.encoding) as stream:
        return header_of(stream, path, layout)


def header_of(stream: TextIO, path: str | Path, layout: Layout) -> Header | None:
    """Read the first row of an open text, whose path is for its kind and for messages."""
    lines = iter(lambda: stream.readline(BLOCK_BYTES), "")
    for blanks, line in enumerate(lines):
        if line.strip("\r\n"):
            break
    else:
        return None
    columns, more = _cells(line, lines, delimiter(Path(path), layout), layout.quote)
    if not layout.header:
        by_position = tuple(str(position + 1) for position in range(len(columns)))
        return Header(layout.names or by_position, 0, 0)
    text = ", ".join(columns)
    if "\0" in text or re.search("[\ud800-\udfff]", text):
        likely = "utf-16" if "\0" in text else "latin-1 (or cp1252)"
        raise BadInteractions(
            f"{path}: the header {text[:80]!a} is no text in the encoding {layout.encoding}: try "
            f"{layout.options}encoding {likely}, or give a CSV, TSV or Parquet file"
        )
    return Header(columns, blanks, blanks + 1 + more)


def _cells(
    line: str, following: Iterator[str], cut: str, quote: str
) -> tuple[tuple[str, ...], int]:
    """Cut a row into its cells; also return how many of the following lines belong to it."""
    if len(cut) > 1 or not quote:
        cells = line.strip("\r\n").split(cut)
        return tuple(cell.strip(quote) if quote else cell for cell in cells), 0
    reader = csv.reader(chain([line], following), delimiter=cut, quotechar=quote)
    return tuple(next(reader)), reader.line_num - 1


def make_plain(path: Path, target: Path, layout: Layout, one_newline: bool) -> None:
    """Put a plain text of a file at the target: a link where the file is plain already."""
    is_utf8 = codecs.lookup(layout.encoding).name in ("utf-8", "utf-8-sig", "ascii")
    if not is_utf8 or _escapes(layout) or one_newline:
        _rewrite(path, target, layout, None if one_newline else "")
    elif path.name.lower().endswith(".gz"):
        with gzip.open(path) as source, open(target, "wb") as copy:
            shutil.copyfileobj(source, copy, BLOCK_BYTES)
    else:
        with open(path, "rb"):  # no permission: say so here, by the name that people know
            target.symlink_to(path.resolve())


def _rewrite(path: Path, target: Path, layout: Layout, newline: str | None) -> None:
    with (
        opened(path, layout.encoding, newline) as source,
        open(target, "w", encoding="utf-8", errors="surrogateescape", newline="") as copy,
    ):
        blocks: Iterator[str] = iter(lambda: source.read(BLOCK_BYTES), "")
        copy.writelines(_unescaped(blocks, layout) if _escapes(layout) else blocks)


def _escapes(layout: Layout) -> bool:
    return layout.escape not in ("", layout.quote)


def _unescaped(blocks: Iterable[str], layout: Layout) -> Iterator[str]:
    """Double the quotes that are escaped, and make of an escaped escape one."""
    mark, quote = layout.escape, layout.quote
    pattern = re.compile(f"{re.escape(mark)}([{re.escape(mark + quote)}])")
    replacement = {quote: quote * 2, mark: mark}
    held = ""
    for block in blocks:
        block, held = _before_open_escape(held + block, mark)
        yield pattern.sub(lambda match: replacement[match[1]], block)
    yield held


def _before_open_escape(block: str, mark: str) -> tuple[str, str]:
    """Cut off an escape at the very end, whose character comes with the next block."""
    marks = len(block) - len(block.rstrip(mark))
    return (block[:-1], mark) if marks % 2 else (block, "")
