"""Write a generation, verify it, then point at it in one step; readers see the old or the new."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

import redis

from app.contracts.generations import Manifest, Space
from batch.errors import LarderError
from batch.generations.connect import Client, cache_errors
from batch.generations.lock import hold
from batch.generations.registry import Generations
from batch.progress import Advance

log = logging.getLogger("larder.publish")

M = TypeVar("M", bound=Manifest)


class Written(Protocol[M]):
    """What was written of a generation."""

    @property
    def checksum(self) -> int:
        """The sum of the CRC-32 of all parts."""

    def verify(self, client: Client) -> None:
        """Raise CacheUnavailable when something is not there as it was written."""

    def completed(self, client: Client, manifest: M) -> M:
        """The manifest with what its body can tell only now."""


class Contents(Protocol[M]):
    """What a generation holds, and how it gets into the cache."""

    def write(self, client: Client, manifest: M, advance: Advance) -> Written[M]:
        """Write everything that the manifest counts. Raises CacheUnavailable."""


class Turn(Generic[M]):
    """A run's turn to publish: it holds the lock, and nobody else publishes or deletes."""

    def __init__(self, client: Client, space: Space[M], token: str) -> None:
        self.generations = Generations(client, space)
        self.left: str | None = None
        """What was live before: readers may not have followed the pointer yet."""
        self._client, self._space, self._token = client, space, token

    def publish(self, manifest: M, contents: Contents[M], advance: Advance) -> M:
        """Publish under the lock, see below."""
        self.left = self.generations.live()
        return publish(self._client, self._space, manifest, contents, self._token, advance)


@contextmanager
def turn(client: Client, space: Space[M], keep: int) -> Iterator[Turn[M]]:
    """Take the lock; delete what dead runs left, and at the end what is old.

    keep: how many generations stay, beside the one that was live before. Raises Locked, naming the
    holder, or CacheUnavailable.
    """
    with hold(client, space) as token:
        ours = Turn(client, space, token)
        ours.generations.prune(keep)
        yield ours
        ours.generations.prune(keep, spared=ours.left)


def publish(
    client: Client,
    space: Space[M],
    manifest: M,
    contents: Contents[M],
    token: str,
    advance: Advance = lambda done: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> M:
    """Write, verify and point at one generation; returns its manifest as published.

    The token proves the lock (see ``lock``). Raises CacheUnavailable or LostLock; the live
    generation is then untouched, and what was written is deleted now or by the next run.
    """
    generations = Generations(client, space)
    _warn_of_eviction(client)
    try:
        generations.begin(manifest)
        written = contents.write(client, manifest, advance)
        generations.prove(manifest, token)
        written.verify(client)
        complete = replace(
            written.completed(client, manifest),
            state="complete",
            checksum=f"{written.checksum % 2**32:08x}",
            published_at=now().isoformat(timespec="seconds"),
        )
        generations.commit(complete, token)
    except BaseException:
        _clean_up(generations, manifest)
        raise
    return complete


def _clean_up(generations: Generations[M], manifest: M) -> None:
    try:
        generations.delete(manifest)
    except LarderError as error:
        log.warning("%s is left half-written for the next run: %s", manifest.generation, error)


def _warn_of_eviction(client: Client) -> None:
    memory = if_allowed(lambda: client.info("memory")) or {}
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        log.warning(
            "the cache may throw away what is published, as its maxmemory-policy is %s: "
            "set maxmemory-policy noeviction",
            policy,
        )


def if_allowed(ask: Callable[[], Any]) -> Any:
    """The server's answer, or None when it forbids the question, as managed servers may."""
    with cache_errors():
        try:
            return ask()
        except redis.ResponseError:
            return None
