"""The writer's side of the cache: open it, and say in one sentence when it cannot be used."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from app.contracts.cache_url import CacheURL
from app.contracts.generations import BrokenRecord, Space
from batch.errors import BadSettings, CacheFull, CacheUnavailable

CACHE_ERRORS = (
    redis.RedisError,
    redis.exceptions.RedisClusterException,
    redis.exceptions.ChildDeadlockedError,
    redis.exceptions.IncorrectPolicyType,
    OSError,
)

_OUT_OF_MEMORY = "command not allowed when used memory"
"""Redis 6.2 wraps this into an error of its own when a script meets it."""

log = logging.getLogger("larder.cache")

Client = Any
"""redis.Redis or redis.cluster.RedisCluster; their common methods have no common type."""


def connect(url: str, timeout_seconds: float = 10.0, option: str = "--cache-url") -> Client:
    """Open a client of the server or, for ``redis+cluster://``, of the cluster that the URL names.

    option: the one of the command line that has the URL, for messages.
    Commands that fail are tried three times over about two seconds. Raises BadSettings for a URL
    that is none, CacheUnavailable when nothing answers there.
    """
    try:
        cache = CacheURL.parse(url)
    except ValueError as error:
        raise BadSettings(f"{option} {error}") from error
    where = cache.shown
    options: dict[str, Any] = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "driver_info": None,  # no CLIENT SETINFO: Redis 7.0 has no such right to give
        "retry": Retry(ExponentialBackoff(cap=1.0, base=0.2), 3),
    }
    with cache_errors(where), _told_when_slow(where, timeout_seconds):
        try:
            client = _open(cache, options)
            client.ping()
        except redis.exceptions.RedisClusterException as error:
            if "mode is not enabled" not in str(error):
                raise
            raise BadSettings(
                f"{where} is no Redis Cluster: write redis:// in place of redis+cluster://"
            ) from error
        if isinstance(client, redis.Redis) and _in_cluster(client):
            raise BadSettings(
                f"{where} belongs to a Redis Cluster: write redis+cluster:// in place of redis://"
            )
    return client


@contextmanager
def _told_when_slow(where: str, timeout_seconds: float) -> Iterator[None]:
    """Say that the cache is waited for, and how long it still may be."""
    left = 3.5 * timeout_seconds + 3
    sentence = "%s does not answer yet; it is waited for about %.0f seconds more"
    timer = Timer(timeout_seconds / 2, log.warning, (sentence, where, left))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _open(cache: CacheURL, options: dict[str, Any]) -> Client:
    if cache.is_cluster:
        return RedisCluster.from_url(cache.for_client, **options)
    return redis.Redis.from_url(cache.for_client, **options)


def _in_cluster(client: Client) -> bool:
    try:
        return bool(client.info("cluster").get("cluster_enabled"))
    except redis.exceptions.NoPermissionError:
        return False  # managed servers often forbid INFO


@contextmanager
def cache_errors(where: str = "the cache") -> Iterator[None]:
    """Turn the client's errors into CacheUnavailable, or BadSettings where a retry is vain."""
    try:
        yield
    except CACHE_ERRORS as error:
        if _OUT_OF_MEMORY in str(error):
            raise CacheFull(
                f"{where} is out of memory: raise its maxmemory (a refresh needs room for one "
                f"generation more than it keeps), or free some with 'larder prune --keep 2'"
            ) from error
        if isinstance(error, redis.exceptions.AuthenticationError):
            raise BadSettings(f"{where} wants another user or password: see --cache-url") from error
        if "DB index is out of range" in str(error):
            raise BadSettings(f"{where} has no database of that number") from error
        if "protocol error" in str(error).lower():
            raise CacheUnavailable(
                f"{where} leads to something that is no Redis server ({error}): see --cache-url"
            ) from error
        raise CacheUnavailable(
            f"{where} cannot be used now ({type(error).__name__}: {error}); see that it runs"
        ) from error


@contextmanager
def control_errors(space: Space[Any]) -> Iterator[None]:
    """The same for the control keys. Raises BrokenRecord when one is of another type."""
    with errors_of_keys("the cache", space.live, space.generations, space.lock):
        yield


@contextmanager
def errors_of_keys(where: str, *keys: str) -> Iterator[None]:
    """As ``cache_errors``; raises BrokenRecord when one of the keys is of another type."""
    with cache_errors(where):
        try:
            yield
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            raise BrokenRecord(
                f"{' or '.join(keys)} is of another type; "
                f"delete that key, or use another --namespace"
            ) from error
