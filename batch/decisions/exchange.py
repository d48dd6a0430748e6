"""Logs for others, and of others: files of dsjson, a decision a line, ``.gz`` by their names."""

import gzip
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, cast

from batch.decisions import logs
from batch.decisions.dsjson import BadLine, line, parse
from batch.decisions.terms import Joined
from batch.errors import BadInteractions
from batch.events.folder import replace, writing
from batch.interactions.rejects import SHOWN, too_many
from batch.interactions.sources.table import reading_errors

MAX_LINE_BYTES = 1 << 24
_MANY = 10_000


@dataclass(slots=True)
class Found:
    """What a file of dsjson holds: decisions, and lines that are none, by reason."""

    decisions: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    def reject(self, number: int, reason: str, text: bytes) -> None:
        """Count a line."""
        self.rejected[reason.partition(":")[0]] += 1
        if len(self.first) < SHOWN:
            self.first.append(f"line {number}: {reason}: {text[:60].decode(errors='replace')!r}")


def export(folder: Path, target: Path, start: int = 0, end: int = logs.EVER) -> int:
    """Write what was decided from ``start`` on and before ``end`` (ms since 1970); return how many.

    The file has its name once it is whole. Raises BadInteractions, DiskUnavailable or Terminal.
    """
    if logs.span(folder) is None:
        raise BadInteractions(f"{folder}: expected a folder of logs, found no decisions in it")
    count = 0

    def write(beside: Path) -> None:
        nonlocal count
        rows = logs.read(folder, start, end)
        with _open(beside, target.name, "wb") as file:
            while lines := [f"{line(each)}\n" for each in islice(rows, _MANY)]:
                file.write("".join(lines).encode())
                count += len(lines)

    with writing(target, "no file is half-written"):
        replace(target, write)
    return count


def load(path: Path, folder: Path, max_rejects: float) -> Found:
    """Put the decisions of a file into a folder of logs, beside what is there.

    max_rejects: the share of lines that are no decisions to put up with. The same file once more
    changes nothing. Raises BadInteractions, DiskUnavailable or Terminal; then nothing was added.
    """
    found = Found()
    with reading_errors(path), open(path, "rb") as file:
        source = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    logs.add(folder, _decisions(path, found, max_rejects), source)
    return found


def _decisions(path: Path, found: Found, max_rejects: float) -> Iterator[Joined]:
    with reading_errors(path):
        for number, text in _lines(path):
            try:
                yield _parsed(text)
                found.decisions += 1
            except BadLine as error:
                found.reject(number, str(error), text)
    total = found.rejected.total()
    if total > max_rejects * (found.decisions + total):
        good, first = found.decisions, found.first
        raise too_many(path, found.rejected, good, max_rejects, None, first, "--")
    if not found.decisions:
        raise BadInteractions(f"{path}: expected decisions as dsjson, found none")


def _parsed(text: bytes) -> Joined:
    if len(text) > MAX_LINE_BYTES:
        raise BadLine(f"longer than {MAX_LINE_BYTES:,} bytes")
    try:
        return parse(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadLine("no UTF-8") from error


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, by number; of one that is too long its beginning."""
    with _open(path, path.name, "rb") as file:
        number = 0
        while text := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            rest = text
            while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE_BYTES + 1)
            if text.strip():
                yield number, text


def _open(path: Path, name: str, mode: str) -> IO[bytes]:
    """Open a file that ``name`` says how to read."""
    if name.endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, mode, compresslevel=6))
    return open(path, mode)
