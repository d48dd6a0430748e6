"""The server that keeps the events, until they are exported.

One round trip writes a request's events and what follows from them for the lists.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from app.cache.pipeline import Command
from app.cache.writer import Writer
from app.contracts.events import IMPRESSION, Event, Streams, ms_of
from app.events import recent
from app.events.rewards import Rewards
from app.settings import Settings


class Taken(Protocol):
    """Who wants to know at once which events were taken, and knows which count."""

    def counts(self, type: str) -> bool:
        """Whether an event of the type changes lists."""

    def taken(self, events: Sequence[Event]) -> None:
        """These have been acknowledged."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the stream holds: entries, of at most so many.

    since_ms: when the oldest entry that is in no file was written; None when all are in files.
    """

    entries: int
    most: int
    since_ms: int | None


class Stream:
    """The stream of one namespace, as a worker writes to it; requests may share it."""

    def __init__(self, settings: Settings, listener: Taken) -> None:
        self._settings = settings
        self._listener = listener
        self._streams = Streams(settings.namespace)
        self._key = self._streams.events
        export = "run 'larder events export', which clears what is over a minute old"
        self._writer = Writer(settings, self._key, "events", export)
        self._rewards = Rewards(settings) if settings.decisions == "on" else None

    def close(self) -> None:
        """End the connections."""
        self._writer.close()
        if self._rewards:
            self._rewards.close()

    def add(self, events: Sequence[Event], now_ms: int) -> None:
        """Write events that were taken now. Raises EventsUnavailable; then none is acknowledged."""
        self._writer.expect_room(len(events))
        *_, last = self._writer.ask(list(self._commands(events, now_ms)))
        if self._rewards:
            self._rewards.answered(last)
        self._listener.taken(events)

    def backlog(self) -> Backlog:
        """What waits for an export now. Raises EventsUnavailable."""
        (until,) = self._writer.ask([("HGET", self._streams.exported, "until")])
        start = b"(" + until if until else "-"
        (oldest,) = self._writer.ask([("XRANGE", self._key, start, "+", "COUNT", 1)])
        since_ms = ms_of(oldest[0][0].decode()) if oldest else None
        return Backlog(self._writer.length, self._settings.events_max, since_ms)

    def _commands(self, events: Sequence[Event], now_ms: int) -> Iterator[Command]:
        """The entries last: who reads one may then ask for the recents at once."""
        counting = {type for type in {event.type for event in events} if self._counts(type)}
        counted = [event for event in events if event.type in counting]
        yield from recent.commands(self._streams, counted, now_ms, self._settings.recent_seconds)
        for event in events:
            yield ("XADD", self._key, "*", *chain.from_iterable(event.encode().items()))
        if self._rewards:
            yield from self._rewards.commands(counted)

    def _counts(self, type: str) -> bool:
        return type != IMPRESSION and self._listener.counts(type)
