"""What a worker has to forget because users did something, read from the end of the stream.

The worker that took an event forgets at once. All others find it here,
a few times a second.
"""

from collections.abc import Iterator, Mapping, Sequence

import redis

from app.cache.connect import Client
from app.cache.link import Link
from app.cache.rounds import Rounds
from app.contracts.events import LASTING, Actor, Entry, Event, Streams
from app.recommendations.memory.near_cache import NearCache, Who
from app.recommendations.watcher import Watcher
from app.settings import Settings

MOST_ENTRIES = 10_000
"""Where there are more new ones, all is forgotten: that takes less time than to read them."""

_ENTRIES_AT_A_TIME = 1000

Id = tuple[int, int]


class Tail:
    """Follows the stream of a namespace for a worker, in a thread of its own.

    Not in that of the watcher, which is busy for seconds while it loads a generation.
    """

    def __init__(self, settings: Settings, watcher: Watcher) -> None:
        self._key = Streams(settings.namespace).events
        self._settings = settings
        self._watcher = watcher
        interval_seconds = settings.watch_interval_ms / 1000
        self._rounds = Rounds("larder-tail", self.poll, lambda: interval_seconds)
        name, url = "the server of the events", settings.url_of_events
        self._link = Link(name, url, settings.cache_timeout_ms, self._rounds.wake)
        self.server: Link = watcher if url == settings.cache_url else self._link
        """Whom a request asks for recents."""
        self._position: Id | None = None

    def start(self) -> None:
        """Look, then follow in a thread."""
        self.poll()
        self._rounds.start()

    def stop(self) -> None:
        """End the following and close the connections."""
        self._rounds.stop()
        self._link.close()

    @property
    def reachable(self) -> bool:
        """Whether what is kept near is up to date, and requests may ask for what is not."""
        return self._link.reachable and self.server.reachable

    @property
    def position(self) -> Id | None:
        """The entry of the stream up to which this worker has read; None before its first look."""
        return self._position

    def counts(self, type: str) -> bool:
        """Whether an event of the type takes its item away, or moves lists."""
        weighs = self._watcher.weights().get(type, 0) > 0
        return weighs or type in LASTING or type in self._settings.excluding

    def taken(self, events: Sequence[Event]) -> None:
        """These events have been acknowledged by this worker: it forgets at once."""
        if near := self._watcher.near():
            near.evict(who for event in events for who in _names(event.user, event.session))

    def clear(self) -> None:
        """Forget the lists of all users."""
        if near := self._watcher.near():
            near.clear()

    def poll(self) -> None:
        """Forget the lists of who did something since the last time.

        Never raises: without its tail a worker would answer what was true once.
        """
        try:
            self._read(self._link.opened())
            self._link.answered()
        except Exception as error:
            self._link.failed(error)

    def _read(self, client: Client) -> None:
        """Where nobody can say who did something, all is forgotten. Raises as the client does."""
        first, last = self._ends(client)
        if self._position is None or last < self._position or first > self._position:
            self._skip(last)
        elif last != self._position:
            self._read_on(client, last)

    def _ends(self, client: Client) -> tuple[Id, Id]:
        """The ids of the oldest entry and of the last one that there ever was."""
        try:
            found = client.xinfo_stream(self._key)
        except redis.ResponseError as error:
            if "no such key" not in str(error):
                raise
            return (0, 0), (0, 0)
        oldest = found["first-entry"]
        return _id(oldest[0]) if oldest else (0, 0), _id(found["last-generated-id"])

    def _skip(self, last: Id) -> None:
        self.clear()
        self._position = last

    def _read_on(self, client: Client, last: Id) -> None:
        for _ in range(MOST_ENTRIES // _ENTRIES_AT_A_TIME):
            entries = self._next(client)
            if near := self._watcher.near():  # only now: it may be that of the next generation
                _forget(entries, near)
            if entries:
                self._position = _id(entries[-1][0])
            if len(entries) < _ENTRIES_AT_A_TIME:
                return
        self._skip(max(last, self._position or last))

    def _next(self, client: Client) -> list[Entry]:
        assert self._position is not None
        position = "%d-%d" % self._position
        found = client.xread({self._key: position}, count=_ENTRIES_AT_A_TIME)
        return [entry for _, entries in found or () for entry in entries]


def _forget(entries: list[Entry], near: NearCache) -> None:
    if any(b"clear" in told for _, told in entries):
        near.clear()
        return
    near.evict(
        who
        for _, told in entries  # of which the rest may be of a later version
        for who in _names(_text(told, b"user"), _text(told, b"session"))
    )


def _names(user: str, session: str) -> Iterator[Who]:
    """Under which the near cache holds lists that an event of theirs changes."""
    if user:
        yield user
    if session:
        yield Actor.session(session)


def _text(told: Mapping[bytes, bytes], name: bytes) -> str:
    return told.get(name, b"").decode(errors="replace")


def _id(text: bytes) -> Id:
    ms, _, number = text.partition(b"-")
    return int(ms), int(number)
