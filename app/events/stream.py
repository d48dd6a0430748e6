"""The server that keeps the events, until they are exported.

One round trip writes a request's events and what follows from them for the lists. An event is
acknowledged when that server has answered to all of it; whatever else happens is EventsUnavailable,
and the client sends the same ids again. Nothing is dropped to make room.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Lock
from typing import Any, Protocol

from redis.cluster import RedisCluster

from app.cache.connect import CACHE_ERRORS, Client, connect, host_of
from app.cache.pipeline import Command, exchange
from app.cache.resolver import Resolver
from app.contracts.events import IMPRESSION, Event, Streams, ms_of
from app.errors import EventsUnavailable
from app.events import recent
from app.settings import Settings

log = logging.getLogger("larder.events")


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
        self._resolver = Resolver(told=lambda: None)
        if host := host_of(settings.url_of_events):
            self._resolver.expect([host])
        self._client: Client | None = None
        self._length = 0
        self._problem = ""
        self._asking = Lock()
        self._opening = Lock()

    def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            self._client.close()

    def add(self, events: Sequence[Event], now_ms: int) -> None:
        """Write events that were taken now. Raises EventsUnavailable; then none is acknowledged."""
        self._expect_room(len(events))
        self._ask([*self._commands(events, now_ms), ("XLEN", self._key)])
        self._listener.taken(events)

    def backlog(self) -> Backlog:
        """What waits for an export now. Raises EventsUnavailable."""
        until, _ = self._ask([("HGET", self._streams.exported, "until"), ("XLEN", self._key)])
        start = b"(" + until if until else "-"
        oldest, length = self._ask(
            [("XRANGE", self._key, start, "+", "COUNT", 1), ("XLEN", self._key)]
        )
        since_ms = ms_of(oldest[0][0].decode()) if oldest else None
        return Backlog(length, self._settings.events_max, since_ms)

    def _expect_room(self, more: int) -> None:
        """The length is that of the last answer, so it is asked again only when it is too much."""
        most = self._settings.events_max
        if self._length + more > most:
            self._ask([("XLEN", self._key)])
        if self._length + more > most:
            raise EventsUnavailable(
                f"the stream holds {self._length} events of at most {most}: run 'larder events "
                f"export', which clears what is over a minute old, then send these again"
            )

    def _commands(self, events: Sequence[Event], now_ms: int) -> Iterator[Command]:
        """The entries last: who reads one may then ask for the recents at once."""
        counting = {type for type in {event.type for event in events} if self._counts(type)}
        counted = [event for event in events if event.type in counting]
        yield from recent.commands(self._streams, counted, now_ms, self._settings.recent_seconds)
        for event in events:
            yield ("XADD", self._key, "*", *chain.from_iterable(event.encode().items()))

    def _counts(self, type: str) -> bool:
        return type != IMPRESSION and self._listener.counts(type)

    def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, the last of them for the length, and return the answers.

        While the server is away only one request at a time waits for it, lest they hold all
        threads.
        """
        if not self._problem:
            return self._send(commands)
        if not self._asking.acquire(blocking=False):
            raise EventsUnavailable(self._problem)
        try:
            return self._send(commands)
        finally:
            self._asking.release()

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        try:
            answers = exchange(self._open(), self._key, commands)
        except CACHE_ERRORS as error:
            self._lost(error)
            raise EventsUnavailable(self._problem) from error
        if self._problem:
            log.info("the server of the events takes them again")
        self._problem = ""
        self._length = answers[-1]
        return answers

    def _open(self) -> Client:
        settings = self._settings
        with self._opening:
            client = self._client or connect(
                settings.url_of_events, settings.cache_timeout_ms, self._resolver
            )
            self._client = client
        return client

    def _lost(self, error: Exception) -> None:
        """Look again where the server is: another may have its name by now, or a cluster's slot.

        No connection is closed here, for other requests may wait for answers on theirs.
        """
        what = f"the server of the events did not take these ({type(error).__name__})"
        problem = f"{what}: see that it runs and has room, then send these again"
        if problem != self._problem:
            log.warning("%s: %s", what, error)
        self._problem = problem
        self._resolver.ask_again()
        if isinstance(self._client, RedisCluster):
            self._client = _with_new_map(self._client)


def _with_new_map(cluster: RedisCluster) -> RedisCluster | None:
    """The client, when a node that it knows could tell where the slots are now."""
    try:
        cluster.nodes_manager.initialize()
    except CACHE_ERRORS:
        return None  # the URL may lead to others
    return cluster
