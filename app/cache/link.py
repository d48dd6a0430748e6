"""A connection to a server that one thread watches over, so that no request waits for it twice."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis.exceptions import RedisClusterException

from app.cache.connect import (
    CACHE_ERRORS,
    Client,
    connect,
    host_of,
    is_away,
    no_answer,
    nodes_of,
)
from app.cache.resolver import Resolver
from app.errors import CacheUnavailable

_PATIENCE_WITH_NAMES_SECONDS = 1.0

Connect = Callable[[str, int, Resolver], Client]

log = logging.getLogger("larder.cache")


class Link:
    """name: what messages call the server; look: asks the watching thread to look now."""

    def __init__(
        self,
        name: str,
        url: str,
        timeout_ms: int,
        look: Callable[[], None],
        connect: Connect = connect,
    ) -> None:
        self._name, self._url, self._timeout_ms = name, url, timeout_ms
        self._ask_to_look, self._connect = look, connect
        self._resolver = Resolver(told=look)
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

    @contextmanager
    def asking(self) -> Iterator[Client]:
        """Lend the client to a request, and translate its errors to CacheUnavailable.

        When nobody answers, the watching thread is told. An answer that is an error, or one lost
        node of a cluster, are one request's.
        """
        client = self.client()
        try:
            yield client
        except CACHE_ERRORS as error:
            self.lost(client, error)
            raise CacheUnavailable(no_answer(error, self._name)) from error

    def lost(self, client: Client, error: Exception) -> None:
        """Take it from a request, if nobody answers, that no other asks until the watcher does."""
        if is_away(client, error):
            self.failed(error)
            self._ask_to_look()

    def open(self, timeout_ms: int) -> Client:
        """Another client, with a time-out of its own."""
        if host := host_of(self._url):
            self._resolver.wait(host, _PATIENCE_WITH_NAMES_SECONDS)
        return self._connect(self._url, timeout_ms, self._resolver)

    def opened(self) -> Client:
        """For the thread that watches: the client, whether or not it was answered last."""
        self._client = client = self._client or self.open(self._timeout_ms)
        self._resolver.expect(nodes_of(client))
        return client

    def answered(self) -> None:
        """It has answered the thread that watches."""
        if self._problem:
            log.info("%s is reachable", self._name)
        self._problem = ""

    def failed(self, error: Exception) -> None:
        """It has not answered, or what nobody expected; callers learn no more than the kind."""
        problem = no_answer(error, self._name)
        if problem != self._problem and not isinstance(error, CACHE_ERRORS):
            log.error("%s answered what nobody expected", self._name, exc_info=error)
        self.is_of_no_use(problem, error)
        self._resolver.ask_again()  # somebody else may have the address now
        if isinstance(error, RedisClusterException):
            self._client = None  # at no address that it knows is a node: the URL may lead to others

    def is_of_no_use(self, problem: str, cause: Exception | None = None) -> None:
        """The cause, such as a certificate that nobody trusts, is for the log alone."""
        if problem != self._problem:
            more = f": {cause}" if cause else ""
            log.warning("%s; answering without it until it is back%s", problem, more)
        self._problem = problem

    def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            self._client.close()
