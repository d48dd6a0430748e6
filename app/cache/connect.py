"""The reader's side of the cache: open it so that no request waits long, and know its errors."""

from socket import socket
from typing import Any, ClassVar, Protocol, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.connection import parse_url
from redis.retry import Retry

from app.cache.resolver import Resolver
from app.contracts.cache_url import CacheURL

CACHE_ERRORS = (
    redis.RedisError,
    redis.exceptions.RedisClusterException,
    redis.exceptions.ChildDeadlockedError,
    redis.exceptions.IncorrectPolicyType,
    OSError,
)
"""All that the client raises when the cache cannot answer."""


class Client(Protocol):
    """The part of a Redis client that the reader uses; one server and a cluster both have it."""

    def get(self, name: str) -> Any: ...
    def hget(self, name: str, key: Any) -> Any: ...
    def hgetall(self, name: str) -> Any: ...
    def pipeline(self, transaction: Any = ...) -> Any: ...
    def xinfo_stream(self, name: str) -> Any: ...
    def xread(self, streams: Any, count: int) -> Any: ...
    def close(self) -> None: ...


class _Connection(redis.Connection):
    """Connects to addresses that the resolver knows, and asks no name server."""

    resolver: ClassVar[Resolver]

    def _connect(self) -> socket:
        host, limit = self.host, self.socket_connect_timeout
        addresses = self.resolver.addresses(host)
        try:
            self.socket_connect_timeout = limit and limit / len(addresses)
            return self._connect_to_any(addresses)
        except OSError:
            self.resolver.ask(host)  # the cache may have moved
            raise
        finally:
            self.host, self.socket_connect_timeout = host, limit

    def _connect_to_any(self, addresses: tuple[str, ...]) -> socket:
        refused = OSError("no address")
        for self.host in addresses:
            try:
                return cast(socket, super()._connect())  # type: ignore[no-untyped-call]
            except OSError as error:
                refused = error
        raise refused


class _TLSConnection(redis.SSLConnection, _Connection):
    """The same with TLS, which looks for the host's name in the certificate."""


def connect(url: str, timeout_ms: int, resolver: Resolver) -> Client:
    """Open a client of the server or, for ``redis+cluster://``, of the cluster that the URL names.

    A request waits four times at the most, for the connection, AUTH, SELECT and its command, and
    once more for TLS; so each wait gets its part of the time-out, and nothing is tried twice. Only
    a cluster client may take longer, when it looks for the nodes that took the place of others.
    """
    cache = CacheURL.parse(url)
    with_tls = cache.scheme.startswith("rediss")
    each = timeout_ms / (5000 if with_tls else 4000)
    options: dict[str, Any] = {
        "socket_timeout": each,
        "socket_connect_timeout": each,
        "protocol": 2,  # no HELLO
        "driver_info": None,  # nor CLIENT SETINFO
        "retry": Retry(NoBackoff(), 0),
    }
    if cache.scheme != "unix":
        kind = _TLSConnection if with_tls else _Connection
        options["connection_class"] = type(kind.__name__, (kind,), {"resolver": resolver})
    # A cluster's client takes the connection's class from the scheme, if that is of TLS.
    client_url = cache.for_client.replace("rediss://", "redis://", 1)
    if cache.is_cluster:
        client: Client = RedisCluster.from_url(client_url, **options)
    else:
        client = redis.Redis.from_url(client_url, **options)
    return client


def host_of(url: str) -> str:
    """The name or address that a URL names; empty when it is no host's."""
    return str(parse_url(CacheURL.parse(url).for_client).get("host", ""))


def nodes_of(client: Client) -> list[str]:
    """The names or addresses at which a cluster says that its nodes are."""
    return [node.host for node in client.get_nodes()] if isinstance(client, RedisCluster) else []


def is_away(client: Client, error: Exception) -> bool:
    """Whether the error says that nobody answers, of a cluster none of its nodes."""
    if isinstance(client, RedisCluster):
        return isinstance(error, redis.exceptions.RedisClusterException)
    return not isinstance(error, redis.ResponseError)


def no_answer(error: Exception, server: str = "the cache") -> str:
    """The error for callers, who get no more than its kind."""
    return f"{server} does not answer ({type(error).__name__})"
