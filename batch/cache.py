"""The writer's side of the cache: open it, and say in one sentence when it cannot be used."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from batch.errors import BadSettings, CacheUnavailable

CACHE_ERRORS = (
    redis.RedisError,
    redis.exceptions.RedisClusterException,
    redis.exceptions.ChildDeadlockedError,
    redis.exceptions.IncorrectPolicyType,
    OSError,
)

Client = Any
"""redis.Redis or redis.cluster.RedisCluster; their common methods have no common type."""


def connect(url: str, timeout_seconds: float = 10.0) -> Client:
    """Open a client of the server or, for ``redis+cluster://``, of the cluster that the URL names.

    Commands that fail are tried three times over about two seconds. Raises BadSettings for a URL
    that is none, CacheUnavailable when nothing answers there.
    """
    where = _without_password(url)
    options: dict[str, Any] = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(ExponentialBackoff(cap=1.0, base=0.2), 3),
    }
    with translated(where):
        client: Client
        try:
            if re.match("rediss?[+]cluster://", url):
                client = RedisCluster.from_url(url.replace("+cluster", "", 1), **options)
            else:
                client = redis.Redis.from_url(url, **options)
        except ValueError as error:
            raise BadSettings(f"--cache-url {where}: {error}") from error
        client.ping()
        if isinstance(client, redis.Redis) and client.info("cluster").get("cluster_enabled"):
            raise BadSettings(
                f"{where} belongs to a Redis Cluster: write redis+cluster:// in place of redis://"
            )
    return client


@contextmanager
def translated(where: str = "the cache") -> Iterator[None]:
    """Turn every error of the client into CacheUnavailable."""
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise CacheUnavailable(
            f"{where} is out of memory: raise its maxmemory, or free some with 'larder prune'"
        ) from error
    except CACHE_ERRORS as error:
        raise CacheUnavailable(
            f"{where} cannot be used now ({type(error).__name__}: {error}); "
            f"see that it runs and that the URL and password are right"
        ) from error


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
