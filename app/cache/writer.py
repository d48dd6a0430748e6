"""Writes what must not be lost to a stream of bounded length, on a server that may be away.

What a caller sent is acknowledged when that server has answered to all of it; whatever else happens
is EventsUnavailable, and the client sends the same again. Nothing is dropped to make room.
"""

import logging
from collections.abc import Sequence
from threading import Lock
from typing import Any

from redis.cluster import RedisCluster

from app.cache.connect import CACHE_ERRORS, Client, connect, host_of
from app.cache.pipeline import Command, exchange
from app.cache.resolver import Resolver
from app.errors import EventsUnavailable
from app.settings import Settings

log = logging.getLogger("larder.events")


class Writer:
    """One stream on the server of the events; requests may share it.

    noun: of its entries; full: what to do about a stream that is full.
    """

    def __init__(self, settings: Settings, key: str, noun: str, full: str) -> None:
        self._settings, self._key = settings, key
        self._noun, self._full = noun, full
        self._resolver = Resolver(told=lambda: None)
        if host := host_of(settings.url_of_events):
            self._resolver.expect([host])
        self._client: Client | None = None
        self.length = 0
        """How many entries it held when it answered last."""
        self.most = settings.events_max
        self._problem = ""
        self._asking = Lock()
        self._opening = Lock()

    def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            self._client.close()

    def expect_room(self, more: int) -> None:
        """Raise EventsUnavailable when so many entries more are too many.

        The length is that of the last answer, so it is asked again only when it is too much.
        """
        if self.length + more > self.most:
            self.ask([])
        if self.length + more > self.most:
            raise EventsUnavailable(
                f"the stream holds {self.length} {self._noun} of at most {self.most}: "
                f"{self._full}, then send these again"
            )

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip, and return their answers. Raises EventsUnavailable.

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
            *answers, length = exchange(self.open(), self._key, [*commands, ("XLEN", self._key)])
        except CACHE_ERRORS as error:
            self.lost(error)
            raise EventsUnavailable(self._problem) from error
        if self._problem:
            log.info("the server of the %s takes them again", self._noun)
        self._problem, self.length = "", length
        return answers

    def open(self) -> Client:
        """The client, of which there is one."""
        settings = self._settings
        with self._opening:
            client = self._client or connect(
                settings.url_of_events, settings.cache_timeout_ms, self._resolver
            )
            self._client = client
        return client

    def lost(self, error: Exception) -> None:
        """Look again where the server is: another may have its name by now, or a cluster's slot.

        No connection is closed here, for other requests may wait for answers on theirs.
        """
        what = f"the server of the {self._noun} did not take these ({type(error).__name__})"
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
