"""A text in pieces of whole lines that fit in memory, and the number of the line that is next.

DuckDB reads whole texts at once, and well; but a line longer than its buffer vanishes, blank lines
by the million cost it memory, and so does every row that it cannot cut. A text of which that may be
so is read piece by piece.
"""

import os
import re
from pathlib import Path
from typing import IO

PIECE = 1 << 19
"""Bytes of a piece: so much that reading it is worth the call, so little that all may be wrong."""
LONGEST = 1 << 21
"""Bytes of a row."""
PATCH = 1 << 19
"""How far apart a text is looked at for long lines and many blank ones."""
NEWLINE = re.compile(rb"\r\n?|\n")


def is_odd(plain: Path) -> bool:
    """Say whether a text may hold a row that is too long, or blank lines without end.

    Every run of PATCH bytes or more without, or of nothing but, newlines is found.
    """
    with open(plain, "rb") as stream:
        return any(_is_odd(stream.fileno(), at) for at in range(0, os.stat(plain).st_size, PATCH))


def _is_odd(file: int, at: int) -> bool:
    start = os.pread(file, 1 << 12, at)
    if NEWLINE.search(start):
        return not start[:64].strip(b"\r\n")
    patch = os.pread(file, PATCH, at)
    return len(patch) == PATCH and not NEWLINE.search(patch)


class Text:
    """A text that is read on, never back."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._held = b""
        self.line = 1
        """The number of the line that comes next."""

    def is_over(self) -> bool:
        """Say whether nothing comes any more."""
        return not self._fill()

    def is_last(self, piece: bytes) -> bool:
        """Say whether nothing comes behind this piece, which is next."""
        return len(piece) == len(self._held)

    def look(self, size: int) -> bytes:
        """Return what comes next: whole lines of at most so many bytes; none if one is longer."""
        held = self._fill()
        if len(held) <= size:
            return held
        newline = held.rfind(b"\n", 0, size)
        return held[: 1 + (newline if newline >= 0 else held.rfind(b"\r", 0, size - 1))]

    def take(self, size: int) -> None:
        """Go on by so many bytes, at most LONGEST; no newline of two bytes is cut."""
        size += self._held[size - 1 : size + 1] == b"\r\n"
        taken, self._held = self._held[:size], self._held[size:]
        is_end = not self._held and not taken.endswith((b"\n", b"\r"))
        self.line += count_lines(taken) + is_end

    def take_line(self) -> bytes:
        """Go on behind the next newline; return how the line begins."""
        start = self._fill()[:LONGEST]
        while (held := self._fill()[:LONGEST]) and not (found := NEWLINE.search(held)):
            self.take(len(held))
        self.take(found.end() if held and found else 0)
        return start

    def take_quoted(self, size: int, quote: bytes) -> bool:
        """Go on by so many bytes, behind which a quote is open, and then behind the line that
        closes it; say whether one does.
        """
        self.take(size)
        run = re.compile(re.escape(quote) + b"+")
        while held := self._fill()[:LONGEST]:
            found = run.search(held)
            if found and found.start() and found.end() == LONGEST:  # it may go on
                self.take(found.start())
                continue
            self.take(found.end() if found else len(held))
            if found and len(found[0]) % 2:  # two of them are one within the quotes
                self.take_line()
                return True
        return False

    def _fill(self) -> bytes:
        self._held += self._stream.read(LONGEST + 1 - len(self._held))
        return self._held


def count_lines(text: bytes) -> int:
    """Count newlines of every kind."""
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")
