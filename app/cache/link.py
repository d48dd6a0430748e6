"""A connection to a server that one thread watches over, so that no request waits for it twice."""

import logging
from collections.abc import Callable

from redis.exceptions import RedisClusterException

from app.cache.connect import Client
from app.errors import CacheUnavailable

log = logging.getLogger("larder.cache")


class Link:
    """``open`` makes its client, ``wake`` asks the watching thread to look now."""

    def __init__(self, name: str, open: Callable[[], Client], wake: Callable[[], None]) -> None:
        self._name = name
        self._open = open
        self._wake = wake
        self._client: Client | None = None
        self._problem = f"{name} was not reached yet"

    @property
    def reachable(self) -> bool:
        """Whether it answered when it was last asked."""
        return not self._problem

    def client(self) -> Client:
        """The client of a server that answers. Raises CacheUnavailable while it does not."""
        problem, client = self._problem, self._client  # in this order: no problem means a client
        if problem or client is None:
            raise CacheUnavailable(problem)
        return client

    def lost(self, error: Exception) -> None:
        """Take it from a request that nobody answers: no other asks until the watcher does."""
        self.failed(error)
        self._wake()

    def opened(self) -> Client:
        """For the thread that watches: the client, whether or not it was answered last."""
        if self._client is None:
            self._client = self._open()
        return self._client

    def answered(self) -> None:
        """It has answered the thread that watches."""
        if self._problem:
            log.info("%s is reachable", self._name)
        self._problem = ""

    def failed(self, error: Exception) -> None:
        """It has not answered."""
        problem = f"{self._name} does not answer ({type(error).__name__})"
        if problem != self._problem:
            log.warning("%s: %s", problem, error)
        self._problem = problem
        if isinstance(error, RedisClusterException):
            self._client = None  # at no address that it knows is a node: the URL may lead to others

    def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            self._client.close()
