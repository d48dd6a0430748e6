"""The reader's side of the cache: open it so that no request waits long, and know its errors."""

from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

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
    def pipeline(self, transaction: Any = ...) -> Any: ...
    def close(self) -> None: ...


def connect(url: str, timeout_ms: int) -> Client:
    """Open a client of the server or, for ``redis+cluster://``, of the cluster that the URL names.

    A request waits four times at the most, for the connection, AUTH, SELECT and its command, so
    each gets a quarter of the time-out; nothing is tried twice. Only a cluster client may take
    longer, when it looks for the nodes that took the place of others.
    """
    quarter = timeout_ms / 4000
    options: dict[str, Any] = {
        "socket_timeout": quarter,
        "socket_connect_timeout": quarter,
        "protocol": 2,  # no HELLO
        "driver_info": None,  # nor CLIENT SETINFO
        "retry": Retry(NoBackoff(), 0),
    }
    cache = CacheURL.parse(url)
    if cache.is_cluster:
        client: Client = RedisCluster.from_url(cache.for_client, **options)
    else:
        client = redis.Redis.from_url(cache.for_client, **options)
    return client


def is_away(client: Client, error: Exception) -> bool:
    """Whether the error says that nobody answers, of a cluster none of its nodes."""
    if isinstance(client, RedisCluster):
        return isinstance(error, redis.exceptions.RedisClusterException)
    return not isinstance(error, redis.ResponseError)


def no_answer(error: Exception) -> str:
    """The error for callers, who get no more than its kind."""
    return f"the cache does not answer ({type(error).__name__})"
