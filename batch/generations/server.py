"""What the cache's servers say of themselves, as far as they may be asked: memory and replicas."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from redis.cluster import RedisCluster

from batch.errors import BadSettings, CacheUnavailable
from batch.generations.connect import Client, cache_errors

_ASK_AGAIN_SECONDS = 0.1

log = logging.getLogger("larder.publish")


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas of each primary must have what was written before anything points at it.

    wanted: None for all that are connected when the wait begins.
    """

    wanted: int | None = None
    patience_seconds: float = 60.0

    def wait(self, client: Client) -> None:
        """Return when they have it. Raises CacheUnavailable when they do not get it in time.

        Offsets are compared, as WAIT does; but WAIT counts only what its own connection wrote, and
        generations are written through many.
        """
        deadline = time.monotonic() + self.patience_seconds
        for primary in primaries(client):
            told = _replication(primary)
            if told is None and self.wanted:
                raise BadSettings("the cache forbids INFO, without which --wait-replicas is blind")
            if told is None:
                continue
            written = told["master_repl_offset"]
            while (copies := sum(each >= written for each in _offsets(told))) < (
                wanted := len(_offsets(told)) if self.wanted is None else self.wanted
            ):
                if time.monotonic() >= deadline:
                    raise CacheUnavailable(
                        f"only {copies} of {wanted} replicas have what was written, after "
                        f"{self.patience_seconds:.0f} seconds; nothing was published. See why "
                        f"replicas lag, or wait for fewer (--wait-replicas)"
                    )
                time.sleep(_ASK_AGAIN_SECONDS)
                told = _replication(primary) or {}


def primaries(client: Client) -> list[Client]:
    """A client of each server that takes writes."""
    if isinstance(client, RedisCluster):
        with cache_errors():
            nodes: list[Any] = client.get_primaries()
            return [client.get_redis_connection(node) for node in nodes]
    return [client]


def _replication(primary: Client) -> dict[str, Any] | None:
    told: dict[str, Any] | None = if_allowed(lambda: primary.info("replication"))
    return told


def _offsets(told: dict[str, Any]) -> list[int]:
    """How far each replica that follows has acknowledged what its primary wrote."""
    slaves = (each for name, each in told.items() if name[:5] == "slave" and name[5:].isdigit())
    return [each["offset"] for each in slaves if each["state"] == "online"]


def free_bytes(client: Client) -> int | None:
    """Room for data in the cache; None where it has no limit, evicts, or does not say."""
    free: list[int] = []
    servers = primaries(client)
    for each in servers:
        memory = if_allowed(lambda: each.info("memory")) or {}
        limit = memory.get("maxmemory")
        if not limit or memory.get("maxmemory_policy", "").startswith("allkeys"):
            return None
        free.append(limit - memory["used_memory"] + memory.get("mem_not_counted_for_evict", 0))
    return max(0, min(free)) * len(servers)


def warn_of_eviction(
    client: Client, what: str = "the cache may throw away what is published"
) -> None:
    """Say so when the server may throw things away; what: which ones that would be."""
    memory = if_allowed(lambda: client.info("memory")) or {}
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        log.warning(
            "%s, as its maxmemory-policy is %s: set maxmemory-policy noeviction",
            what,
            policy,
        )


def if_allowed(ask: Callable[[], Any]) -> Any:
    """The server's answer, or None when it forbids the question, as managed servers may."""
    with cache_errors():
        try:
            return ask()
        except redis.ResponseError:
            return None
