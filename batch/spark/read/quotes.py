"""Which lines leave a quote open: DuckDB would read on behind them, up to where a chunk ends."""

import re
from pathlib import Path

from batch.interactions.sources.table import Table
from batch.interactions.texts import CONTENT, UNCLOSED, Reject


def take_unclosed(table: Table) -> list[Reject]:
    """Make blank lines of those that leave a quote open; return them as rejects."""
    if not table.layout.quote:
        return []
    return [
        reject
        for file, plain in zip(table.files, table.plain, strict=True)
        for reject in _taken(table, file, plain)
    ]


def _taken(table: Table, file: Path, plain: Path) -> list[Reject]:
    unclosed = re.compile(_unclosed(table.delimiter, table.layout.quote).encode(), re.DOTALL)
    quote, taken = table.layout.quote.encode(), []
    kept = plain.with_suffix(".kept")
    with open(file, "rb") as source, open(plain, "rb") as lines, open(kept, "wb") as copy:
        for number, (raw, line) in enumerate(zip(source, lines, strict=True), start=1):
            is_unclosed = quote in line and unclosed.fullmatch(line, 0, len(line) - 1)
            copy.write(b"\n" if is_unclosed else line)
            if is_unclosed:
                content = raw.rstrip(b"\n").decode(table.layout.encoding, "backslashreplace")
                taken.append(Reject(file, number, UNCLOSED, content[:CONTENT]))
    kept.replace(plain)
    return taken


def _unclosed(delimiter: str, quote: str) -> str:
    """Return a pattern of the lines at whose end DuckDB looks for the quote that closes a value.

    A quote opens a value at its very beginning or after one space; behind a closed one, spaces
    and another quote open it again, and anything else makes it wrong up to the next delimiter.
    """
    cut, mark = re.escape(delimiter), re.escape(quote)
    # Atomic groups, not possessive quantifiers: python/cpython#106052 until Python 3.11.5.
    opened = f"{mark}(?>(?:[^{mark}]|{mark}{mark})*)"
    bare = f"(?>(?:(?!{cut}).)*)"
    closed = f" ?{opened}{mark}(?>(?: *{opened}{mark})*)(?> *)(?:(?!{mark}|{cut}){bare})?"
    return f"(?>(?:(?:{closed}|(?! ?{mark}){bare}){cut})*) ?(?:{opened}{mark} *)*{opened}"
