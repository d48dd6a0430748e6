"""Which generation is live: asked a few times a second, in a thread, never in a request."""

import logging
from collections.abc import Callable
from threading import Event, Thread
from typing import Protocol

import redis

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Manifest, Namespace
from app.errors import CacheUnavailable, NothingPublished
from app.recommendations.connect import (
    CACHE_ERRORS,
    Client,
    connect,
    host_of,
    no_answer,
    nodes_of,
)
from app.recommendations.generation import Generation, openings
from app.recommendations.near_cache import NearCache, Remembered
from app.recommendations.resolver import Resolver
from app.settings import Settings

_CHUNKS_AT_A_TIME = 64
_PATIENCE_WITH_NAMES_SECONDS = 1.0

log = logging.getLogger("larder.cache")


class Listener(Protocol):
    """Who wants to know how a worker fares."""

    def looked(self, reachable: bool, published_at: str | None) -> None:
        """The watcher has looked: did the cache answer, and when was what is served published?"""

    def degraded(self) -> None:
        """An answer was made without the cache."""


class Watcher:
    """Follows the pointer of one namespace, and holds the connection that requests share."""

    def __init__(
        self,
        settings: Settings,
        listener: Listener | None = None,
        connect: Callable[[str, int, Resolver], Client] = connect,
    ) -> None:
        self.namespace = Namespace(settings.namespace)
        self._settings = settings
        self._listener = listener
        self._connect = connect
        self._client: Client | None = None
        self._live: Generation | None = None
        self._problem = "the cache was not reached yet"
        self._unread = self._untold = ""
        self._ended = False
        self._wake = Event()
        self._resolver = Resolver(told=self._wake.set)
        self._thread: Thread | None = None

    def start(self) -> None:
        """Look once, then keep watching in a thread. Returns although the cache may be away."""
        self._look()
        self._thread = Thread(target=self._watch, name="larder-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watching and close the connections."""
        self._ended = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        if self._client is not None:
            self._client.close()

    @property
    def reachable(self) -> bool:
        """Whether the cache answered when it was last asked."""
        return not self._problem

    def live(self) -> Generation:
        """The generation that this worker serves.

        Raises NothingPublished when there is none, CacheUnavailable when nobody can tell.
        """
        if self._live is not None:
            return self._live
        if problem := self._problem:
            raise CacheUnavailable(f"nothing to serve yet, and {problem}")
        raise NothingPublished(
            f"namespace {self._settings.namespace!r} holds no generation: run "
            f"'larder refresh <interactions> --namespace {self._settings.namespace}'"
        )

    def client(self) -> Client:
        """The client of a cache that answers. Raises CacheUnavailable while none does."""
        problem, client = self._problem, self._client  # in this order: no problem means a client
        if problem or client is None:
            raise CacheUnavailable(problem)
        return client

    def lost(self, error: Exception) -> None:
        """Take it from a request that nobody answers: no other asks until this got through."""
        self._set_unreachable(no_answer(error))
        self._wake.set()

    def poll(self) -> None:
        """Ask which generation is live and load it when it is another one."""
        try:
            self._follow()
        except CACHE_ERRORS as error:
            self._resolver.ask_again()  # somebody else may have the address now
            self._set_unreachable(no_answer(error), error)
        except BrokenRecord as error:
            self._unreadable(error)

    def _watch(self) -> None:
        while not self._ended:
            self._wake.wait(self._settings.watch_interval_ms / 1000)
            self._wake.clear()
            if not self._ended:
                self._look()

    def _look(self) -> None:
        """Poll and tell. Never raises: without its watcher a worker would be deaf for good."""
        try:
            self.poll()
        except Exception as error:
            if self._problem != no_answer(error):
                log.error("the cache answered what nobody expected", exc_info=error)
            self._set_unreachable(no_answer(error))
        try:
            if self._listener:
                self._listener.looked(self.reachable, self._published_at())
        except Exception as error:
            if self._untold != str(error):
                log.error("nobody was told how the cache fares", exc_info=error)
            self._untold = str(error)

    def _follow(self) -> None:
        name: bytes | None
        if self._client is None:
            self._client = self._open()
        try:
            name = self._client.get(self.namespace.live)
        except redis.exceptions.RedisClusterException:
            # At no address that the client knows is a node: the URL may lead to others.
            self._client = self._open()
            name = self._client.get(self.namespace.live)
        self._resolver.expect(nodes_of(self._client))
        if name is None and self._live is not None:
            # A server that came back empty: what is in memory is better than nothing.
            self._set_unreachable("the cache lost its data: run 'larder refresh' again")
            return
        if name is not None and self._name_of_live() != name.decode(errors="replace"):
            self._live = self._load(self._client, name.decode(errors="replace"))
            log.info("serving generation %s", self._name_of_live())
        self._set_reachable()

    def _open(self) -> Client:
        url = self._settings.cache_url
        if host := host_of(url):
            self._resolver.wait(host, _PATIENCE_WITH_NAMES_SECONDS)
        return self._connect(url, self._settings.cache_timeout_ms, self._resolver)

    def _published_at(self) -> str | None:
        return self._live.manifest.published_at if self._live else None

    def _name_of_live(self) -> str | None:
        return self._live.manifest.generation if self._live else None

    def _load(self, client: Client, name: str) -> Generation:
        pipeline = client.pipeline(transaction=False)
        pipeline.hget(self.namespace.generations, name)
        pipeline.get(self.namespace.popular(name))
        text, popular = pipeline.execute()
        if text is None or popular is None:
            raise BrokenRecord(f"generation {name} is live but has no manifest or popular list")
        manifest = Manifest.from_json(text)
        if manifest.generation != name:
            raise BrokenRecord(f"generation {name} has the manifest of {manifest.generation}")
        return Generation(
            manifest=manifest,
            opening=openings(self._load_chunks(client, manifest)),
            popular=Remembered(popular),
            near=NearCache(self._settings.near_cache_users),
        )

    def _load_chunks(self, client: Client, manifest: Manifest) -> list[bytes]:
        chunks: list[bytes] = []
        for first in range(0, manifest.chunks, _CHUNKS_AT_A_TIME):
            pipeline = client.pipeline(transaction=False)
            for chunk in range(first, min(first + _CHUNKS_AT_A_TIME, manifest.chunks)):
                pipeline.get(self.namespace.chunk(manifest.generation, chunk))
            chunks.extend(pipeline.execute())
            if None in chunks[first:]:
                raise BrokenRecord(f"generation {manifest.generation} has lost its documents")
        return chunks

    def _unreadable(self, error: BrokenRecord) -> None:
        """Another version's generation is live; the one in memory, if any, stays in use."""
        problem = f"the live generation cannot be read: {error}"
        if self._live is None:
            self._set_unreachable(problem)
            return
        if problem != self._unread:
            log.error("%s; serving %s instead", problem, self._name_of_live())
        self._unread = problem
        self._set_reachable()

    def _set_reachable(self) -> None:
        if self._problem:
            log.info("the cache is reachable")
        self._problem = ""

    def _set_unreachable(self, problem: str, cause: Exception | None = None) -> None:
        """The cause, such as a certificate that nobody trusts, is for the log; callers get less."""
        if problem != self._problem:
            more = f": {cause}" if cause else ""
            log.warning("%s; serving what is in memory until it is back%s", problem, more)
        self._problem = problem
