"""Following a pointer in the cache: which model is live, asked a few times a second in a thread."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from typing import Generic, Protocol, TypeVar

from app.cache.connect import Client, no_answer
from app.cache.link import Link
from app.cache.rounds import Rounds
from app.contracts.generations import BrokenRecord, Manifest
from app.errors import CacheUnavailable
from app.settings import Settings

LOAD_TIMEOUT_MS = 20_000
"""In place of ``cache_timeout_ms`` for a load, which no request waits for."""

_TRY_AGAIN_SECONDS = 10.0
"""After a model that cannot be read: it may be one of which a part is on its way to a replica."""


class Held(Protocol):
    """What is answered from; manifest: of its model, None while there is none."""

    @property
    def manifest(self) -> Manifest | None: ...


T = TypeVar("T", bound=Held)


class Listener(Protocol):
    """Who wants to know how a worker fares."""

    def followed(self, published_at: str | None) -> None:
        """It has looked: when was the model published that it has, if it has one?"""


class Following(ABC, Generic[T]):
    """Holds what one namespace answers from, or the last of it while nothing else can be had.

    noun: what is followed, in the names of its thread and its log.
    """

    def __init__(self, noun: str, settings: Settings, link: Link, listener: Listener | None):
        self._log, self._link = logging.getLogger(f"larder.{noun}"), link
        self._listener = listener
        self._held: T | None = None
        self._problem = "nobody has looked yet"
        self._refused, self._lost = ("", 0.0), False
        interval_seconds = settings.watch_interval_ms / 1000
        self._rounds = Rounds(f"larder-{noun}", self.poll, lambda: interval_seconds)

    @abstractmethod
    def _follow(self) -> None:
        """Look, and hold what is new. Raises BrokenRecord and the errors of the client."""

    def start(self) -> None:
        """Look, then follow in a thread."""
        self.poll()
        self._rounds.start()

    def stop(self) -> None:
        """End the following."""
        self._rounds.stop()

    @property
    def degraded(self) -> bool:
        """Whether this worker answers from what is not live any more, or nobody can tell."""
        return self._lost or not self._link.reachable or bool(self._held and self._problem)

    @property
    def name(self) -> str | None:
        """The generation of the model that this worker has."""
        return self._manifest.generation if self._manifest else None

    @property
    def _manifest(self) -> Manifest | None:
        return self._held.manifest if self._held else None

    def poll(self) -> None:
        """Look once. Never raises."""
        try:
            self._follow()
            self._problem = ""
        except CacheUnavailable as error:
            self._problem = str(error)  # whose watcher has told it
        except Exception as error:
            self._tell(error)
        self._report()

    def _report(self) -> None:
        if self._listener:
            self._listener.followed(self._manifest.published_at if self._manifest else None)

    def _pointed(self, found: bytes | None) -> str | None:
        """The generation that a pointer names; notes whether one was lost."""
        self._lost = found is None and self.name is not None
        return None if found is None else found.decode(errors="replace")

    def _loaded(self, name: str, load: Callable[[Client], T]) -> T:
        """Load a model, unless it could not be read a moment ago. Raises as ``_follow``."""
        refused, at = self._refused
        if name == refused and time.monotonic() < at + _TRY_AGAIN_SECONDS:
            raise BrokenRecord(self._problem)
        try:
            with closing(self._link.open(LOAD_TIMEOUT_MS)) as client:
                found = load(client)
        except BrokenRecord:
            self._refused = name, time.monotonic()
            raise
        self._log.info("answering from model %s", name)
        return found

    def _tell(self, error: Exception) -> None:
        problem = str(error) if isinstance(error, BrokenRecord) else no_answer(error)
        if problem != self._problem:
            kept = f"; answering from {self.name} still" if self.name else ""
            self._log.error("what is live cannot be had: %s%s", problem, kept)
        self._problem = problem
