"""Which click model is live: asked a few times a second, in a thread, never in a request."""

import logging
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from app.cache.connect import no_answer
from app.cache.link import Link
from app.cache.rounds import Rounds
from app.contracts.clicks import Clicks
from app.contracts.generations import BrokenRecord
from app.errors import CacheUnavailable, NothingPublished
from app.settings import Settings

if TYPE_CHECKING:
    from app.clicks.scorer import Scorer

LOAD_TIMEOUT_MS = 20_000
"""In place of ``cache_timeout_ms`` for a load, which no request waits for."""

_TRY_AGAIN_SECONDS = 10.0
"""After a model that cannot be read: it may be one of which a part is on its way to a replica."""

log = logging.getLogger("larder.clicks")


class Listener(Protocol):
    """Who wants to know how a worker fares."""

    def followed(self, published_at: str | None) -> None:
        """The follower has looked: when was the model published that it has, if it has one?"""


class Follower:
    """Holds the live model of one namespace, or the last one while no other can be had.

    Make it in the process that will answer: it loads the library, which must not be forked.
    """

    def __init__(self, settings: Settings, link: Link, listener: Listener | None = None) -> None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")  # read once, when the library is loaded
        from app.clicks.loading import load  # here, for the plain API is without it

        self.space = Clicks(settings.namespace)
        self._load, self._link, self._listener = load, link, listener
        self._live: "Scorer | None" = None
        self._problem = "nobody has looked yet"
        self._refused, self._lost = ("", 0.0), False
        interval_seconds = settings.watch_interval_ms / 1000
        self._rounds = Rounds("larder-clicks", self.poll, lambda: interval_seconds)

    def start(self) -> None:
        """Look, then follow in a thread."""
        self.poll()
        self._rounds.start()

    def stop(self) -> None:
        """End the following."""
        self._rounds.stop()

    @property
    def degraded(self) -> bool:
        """Whether the model of this worker is not the live one, or nobody can tell."""
        return self._lost or not self._link.reachable or bool(self._live and self._problem)

    @property
    def name(self) -> str | None:
        """The generation of the model that this worker has."""
        return self._live.manifest.generation if self._live else None

    def live(self) -> "Scorer":
        """The model that this worker answers from.

        Raises NothingPublished when there is none, CacheUnavailable when nobody can tell.
        """
        if self._live is not None:
            return self._live
        if self._problem:
            raise CacheUnavailable(f"there is no click model to answer from: {self._problem}")
        raise NothingPublished(
            f"namespace {self.space.name!r} holds no click model: run 'larder clicks train "
            f"<examples> --namespace {self.space.name}'"
        )

    def poll(self) -> None:
        """Ask which model is live, and load it when it is another one. Never raises."""
        try:
            self._follow()
            self._problem = ""
        except CacheUnavailable as error:
            self._problem = str(error)  # whose watcher has told it
        except Exception as error:
            self._tell(error)
        if self._listener:
            self._listener.followed(self._live.manifest.published_at if self._live else None)

    def _follow(self) -> None:
        found = self._link.client().get(self.space.live)
        name = None if found is None else found.decode(errors="replace")
        self._lost = name is None and self._live is not None
        if name is None or name == self.name:
            return
        refused, at = self._refused
        if name == refused and time.monotonic() < at + _TRY_AGAIN_SECONDS:
            raise BrokenRecord(self._problem)
        try:
            with closing(self._link.open(LOAD_TIMEOUT_MS)) as client:
                self._live = self._load(client, self.space, name)
        except BrokenRecord:
            self._refused = name, time.monotonic()
            raise
        log.info("answering from click model %s", name)

    def _tell(self, error: Exception) -> None:
        problem = str(error) if isinstance(error, BrokenRecord) else no_answer(error)
        if problem != self._problem:
            kept = f"; answering from {self.name} still" if self._live else ""
            log.error("the live click model cannot be had: %s%s", problem, kept)
        self._problem = problem
