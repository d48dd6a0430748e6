"""Which generation is live: asked a few times a second, in a thread, never in a request."""

import logging
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from threading import Event
from typing import Protocol
from zlib import crc32

from app.cache.connect import CACHE_ERRORS, Client, connect
from app.cache.link import Connect, Link
from app.cache.rounds import Rounds
from app.contracts.events import WEIGHTS
from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Namespace
from app.errors import CacheUnavailable, NothingPublished
from app.recommendations.generation import Generation
from app.recommendations.loading import Loader
from app.recommendations.memory.near_cache import NearCache
from app.recommendations.memory.shelf import BeingMade
from app.recommendations.rules.known import KnownRules
from app.settings import Settings

_SOON_SECONDS = 0.1
_FIRST_LOOK_SECONDS = 10.0
"""A server takes a worker for dead that is not up within 30."""

SPREAD_SECONDS = 1.0
"""Workers that have a generation load the next one within this time, by chance."""

log = logging.getLogger("larder.cache")


class Listener(Protocol):
    """Who wants to know how a worker fares."""

    def looked(self, reachable: bool, published_at: str | None) -> None:
        """The watcher has looked: did the cache answer, and when was what is served published?"""

    def degraded(self) -> None:
        """An answer was made without the cache."""


class Watcher(Link):
    """The link to the cache that requests share; it follows the pointer of one namespace."""

    def __init__(
        self,
        settings: Settings,
        listener: Listener | None = None,
        connect: Connect = connect,
        spread_seconds: float = SPREAD_SECONDS,
    ) -> None:
        self._rounds = Rounds("larder-watch", self._look, self._pause_seconds)
        super().__init__(
            "the cache", settings.cache_url, settings.cache_timeout_ms, self._rounds.wake, connect
        )
        self.namespace = Namespace(settings.namespace)
        self._settings = settings
        self._listener = listener
        self._spread_seconds = spread_seconds
        self._live: Generation | None = None
        self._unread = self._untold = self._next = ""
        self._due_seconds = 0.0
        self._is_waiting = False
        self._has_looked = Event()
        self._rules = KnownRules(settings.namespace)
        self._left_out: list[str] = []
        self._loader = Loader(settings, self.open, self._follow_rules_meanwhile)

    def start(self) -> None:
        """Watch in a thread. Returns when another look would find no more, or after ten seconds."""
        self._rounds.start()
        self._has_looked.wait(_FIRST_LOOK_SECONDS)

    def stop(self) -> None:
        """End the watching and close the connections."""
        self._rounds.stop()
        self.close()

    def live(self) -> Generation:
        """The generation that this worker serves.

        Raises NothingPublished when there is none, CacheUnavailable when nobody can tell.
        """
        if self._live is not None:
            return self._live
        if problem := self._problem:
            raise CacheUnavailable(f"nothing to serve yet, and {problem}")
        if self._is_waiting:
            raise CacheUnavailable("another worker is loading the generation for this machine")
        raise NothingPublished(
            f"namespace {self._settings.namespace!r} holds no generation: run "
            f"'larder refresh <interactions> --namespace {self._settings.namespace}'"
        )

    def near(self) -> NearCache | None:
        """What is kept of the lists of the generation that is served, if there is one."""
        return self._live.near if self._live else None

    def weights(self) -> Mapping[str, float]:
        """How much an event of each type says to the generation that is served."""
        return self._live.weights if self._live else WEIGHTS

    def published_at(self) -> str | None:
        """When what this worker serves was published; None while it serves nothing."""
        return self._live.manifest.published_at if self._live else None

    def look(self) -> None:
        """Have the thread look now, for what this worker has changed itself."""
        self._rounds.wake()

    def failed(self, error: Exception) -> None:
        """See ``Link``."""
        super().failed(error)
        self._rules.read_again()

    def poll(self) -> None:
        """Ask which generation is live and load it when it is another one."""
        try:
            self._follow()
        except CACHE_ERRORS as error:
            self.failed(error)
            self._serve_what_is_left()
        except BrokenRecord as error:
            self._unreadable(error)
        except BeingMade:
            self._wait_for_another_worker()

    def _pause_seconds(self) -> float:
        """Until the next look, or until the next generation may be loaded if that is sooner."""
        interval = self._settings.watch_interval_ms / 1000
        until_due = self._due_seconds - time.monotonic()
        return until_due if 0 < until_due < interval else interval

    def _look(self) -> None:
        """Poll and tell. Never raises."""
        try:
            self.poll()
        except Exception as error:
            self.failed(error)
        try:
            if self._listener:
                self._listener.looked(self.reachable, self.published_at())
        except Exception as error:
            if self._untold != str(error):
                log.error("nobody was told how the cache fares", exc_info=error)
            self._untold = str(error)
        if not self._is_waiting:
            self._has_looked.set()

    def _follow(self) -> None:
        self._is_waiting = False
        client = self.opened()
        found, deletion, versions = self._ask(client)
        self._follow_rules(client, versions)
        name = None if found is None else found.decode(errors="replace")
        if name is None and self._live is not None:
            # A server that came back empty: what is in memory is better than nothing.
            self.is_of_no_use("the cache lost its data: run 'larder refresh' again")
            return
        if name is not None and self._is_due(name):
            self._serve(self._loader.load(client, name))
            log.info("serving generation %s", self._name_of_live())
        self._forget(f"-{crc32(deletion):08x}" if deletion else "")
        self.answered()

    def _ask(self, client: Client) -> tuple[bytes | None, bytes | None, int]:
        """Which generation is live, the last deletion, and how many versions of rules there are."""
        pipeline = client.pipeline(transaction=False)
        pipeline.get(self.namespace.live).get(self.namespace.deletion).hlen(self._rules.key)
        found, deletion, versions = pipeline.execute()
        return found, deletion, versions

    def _follow_rules(self, client: Client, versions: int) -> None:
        self._rules.follow(client, versions)
        if self._live is not None and self._live.rules.version is not self._rules.version:
            self._serve(self._live)

    def _follow_rules_meanwhile(self) -> None:
        """What is hidden now does not wait until a large generation has been loaded."""
        with suppress(*CACHE_ERRORS):  # the load tells
            client = self.opened()
            *_, versions = self._ask(client)
            self._follow_rules(client, versions)

    def _serve(self, generation: Generation) -> None:
        """Answer from it, with the rules that are known, which may want longer lists."""
        rules, near = generation.follow(self._rules.version), generation.near
        if rules.acts and not generation.rules.acts:
            near = NearCache(self._settings.near_cache_users)
        self._live = replace(generation, rules=rules, near=near)
        for sentence in rules.ignored:
            if sentence not in self._left_out:
                log.warning("left out of the rules: %s", sentence)
        self._left_out = rules.ignored
        self._loader.shelf.keep(rules.version)

    def _forget(self, deletion: str) -> None:
        """Begin with an empty near cache, and another ETag, when a user was deleted meanwhile."""
        if self._live and self._live.deletion != deletion:
            near = NearCache(self._settings.near_cache_users)
            self._live = replace(self._live, near=near, deletion=deletion)

    def _is_due(self, name: str) -> bool:
        """Whether to load it now: not all together, but at once when there is nothing to serve.

        A cache that is back may have lost the lists of the generation that is served.
        """
        if name == self._name_of_live():
            return False
        if name != self._next:
            self._next = name
            self._due_seconds = time.monotonic() + random.uniform(0, self._spread_seconds)
        nothing_to_serve = self._live is None or not self.reachable
        return nothing_to_serve or time.monotonic() >= self._due_seconds

    def _name_of_live(self) -> str | None:
        return self._live.manifest.generation if self._live else None

    def _serve_what_is_left(self) -> None:
        """Answer from the file that other workers made, if this one has no generation yet."""
        if self._live is None and (left := self._loader.left()):
            self._rules.version = self._loader.shelf.rules()
            self._serve(left)
            log.info("serving generation %s, which was left here", self._name_of_live())

    def _wait_for_another_worker(self) -> None:
        self._due_seconds = time.monotonic() + _SOON_SECONDS
        self._is_waiting = True
        if self._live is None:
            self.answered()

    def _unreadable(self, error: BrokenRecord) -> None:
        """Another version's generation is live; the one in memory, if any, stays in use."""
        problem = f"the live generation cannot be read: {error}"
        if self._live is None:
            self.is_of_no_use(problem)
            return
        if problem != self._unread:
            log.error("%s; serving %s instead", problem, self._name_of_live())
        self._unread = problem
        self.answered()
