"""The log of decisions, as the trainer reads it: an entry after another, by its server's clock."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from app.contracts.decisions import Decisions
from app.contracts.events import Entry
from batch.generations.connect import Client, errors_of_keys

AT_A_TIME = 1_000
"""Entries of one answer: contexts are long, and the server does nothing else meanwhile."""

# Asked where the log is: each server of a cluster has a clock of its own.
_NOW = "return {redis.call('TIME'), redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)}"


@dataclass(frozen=True, slots=True)
class Log:
    """Raises CacheUnavailable, or BrokenRecord where its key is of another type."""

    client: Client
    space: Decisions

    def now(self) -> tuple[int, str]:
        """The clock in ms since 1970, and the last entry of all, "" for none."""
        with self._errors():
            (seconds, micros), last = self.client.eval(_NOW, 1, self.space.log)
        return int(seconds) * 1000 + int(micros) // 1000, (last[0][0].decode() if last else "")

    def behind(self, position: str) -> list[Entry]:
        """Some entries behind one ("" for all), oldest first."""
        with self._errors():
            found: list[Entry] = self.client.xrange(
                self.space.log, f"({position}" if position else "-", "+", AT_A_TIME
            )
        return found

    def has(self, position: str) -> bool:
        """Whether that entry is still there."""
        with self._errors():
            return bool(self.client.xrange(self.space.log, position, position))

    def trim(self, before_ms: int) -> None:
        """Delete what was written before a moment, some at a time."""
        keep = f"{before_ms}-0"
        with self._errors():
            while self.client.xtrim(self.space.log, minid=keep, approximate=True):
                pass
            self.client.xtrim(self.space.log, minid=keep, approximate=False)

    def _errors(self) -> AbstractContextManager[None]:
        return errors_of_keys("the events' server", self.space.log)
