"""The stream of events as batch sees it: read on from an entry, look at its ends, trim it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from app.contracts.events import CLEAR, Entry, Streams
from batch.generations.connect import Client, errors_of_keys
from batch.generations.server import if_allowed

AT_A_TIME = 5_000
"""Entries of one answer of the server, which does nothing else meanwhile."""
COUNTED = 100_000
"""Of so many entries it is looked at each, which takes half a second."""
_RATED_SECONDS = 60
_BLOCK_MS = 1_000


@dataclass(frozen=True, slots=True)
class State:
    """How many events the stream holds, and how far it is in files.

    pending: events that are in no file yet; oldest, newest: ids of entries, empty where there are
    none; rate: events a second, over the last minute; until: the last id in files.
    """

    length: int
    pending: int
    oldest: str
    newest: str
    rate: float
    until: str


@dataclass(frozen=True, slots=True)
class Stream:
    """Raises CacheUnavailable, or BrokenRecord where a key is of another type."""

    client: Client
    keys: Streams

    def between(self, after: str, last: str = "+") -> Iterator[list[Entry]]:
        """Entries behind an id (all for ""), up to the last one, oldest first, some at a time."""
        while batch := self._range(f"({after}" if after else "-", last):
            yield batch
            after = batch[-1][0].decode()

    def newest(self, count: int = 1) -> list[Entry]:
        """The last entries, oldest first."""
        with self._errors():
            found: list[Entry] = self.client.xrevrange(self.keys.events, count=count)
        return found[::-1]

    def last(self) -> str:
        """The id of the last entry that there ever was; "" where none was, or nobody may ask."""
        found = if_allowed(lambda: self.client.xinfo_stream(self.keys.events))
        return found["last-generated-id"].decode() if found else ""

    def follow(self, after: str) -> Iterator[Entry]:
        """Entries behind an id as they come, without end."""
        while True:
            with self._errors():
                answer = self.client.xread({self.keys.events: after or "0"}, 1000, _BLOCK_MS)
            for entry in _entries(answer):
                after = entry[0].decode()
                yield entry

    def state(self) -> State:
        """What there is; in a long stream a note to the API counts as an event."""
        since = int((time.time() - _RATED_SECONDS) * 1000)
        with self._errors():
            entries: int = self.client.xlen(self.keys.events)
            oldest: list[Entry] = self.client.xrange(self.keys.events, count=1)
            until: bytes = self.client.hget(self.keys.exported, "until") or b""
        length = self._count("") if entries <= COUNTED else entries
        done = self._count("", until.decode()) if until else 0
        newest = self.newest()
        return State(
            length,
            max(0, length - done),
            _id(oldest),
            _id(newest),
            self._count(f"{since}-0") / _RATED_SECONDS,
            until.decode(),
        )

    def trim(self, until: str, before_ms: int) -> None:
        """Delete the entries up to an id, but none that were written at that moment or later.

        A call deletes a bounded number, so that the server is never busy with it for long.
        """
        ms, _, number = until.partition("-")
        keep = f"{ms}-{int(number) + 1}" if int(ms) < before_ms else f"{before_ms}-0"
        with self._errors():
            while self.client.xtrim(self.keys.events, minid=keep, approximate=True):
                pass
            self.client.xtrim(self.keys.events, minid=keep, approximate=False)

    def drop(self, names: Sequence[bytes]) -> None:
        """Delete entries."""
        with self._errors():
            for first in range(0, len(names), AT_A_TIME):
                self.client.xdel(self.keys.events, *names[first : first + AT_A_TIME])

    def _range(self, first: str, last: str) -> list[Entry]:
        with self._errors():
            found: list[Entry] = self.client.xrange(self.keys.events, first, last, AT_A_TIME)
        return found

    def _count(self, after: str, last: str = "+") -> int:
        batches = self.between(after, last)
        return sum(CLEAR not in told for batch in batches for _, told in batch)

    def _errors(self) -> AbstractContextManager[None]:
        return errors_of_keys("the events' server", self.keys.events, self.keys.exported)


def _id(entries: list[Entry]) -> str:
    return entries[0][0].decode() if entries else ""


def _entries(answer: object) -> list[Entry]:
    """The entries of the one stream in an answer to XREAD, whichever protocol it came by."""
    if isinstance(answer, dict):
        return [entry for batches in answer.values() for batch in batches for entry in batch]
    return [entry for _, batch in answer or [] for entry in batch]  # type: ignore[attr-defined]
