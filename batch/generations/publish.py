"""Write a generation, verify it, then point at it in one step; readers see the old or the new."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Generic, Protocol, TypeVar

from app.contracts.generations import Manifest, Space
from batch.errors import LarderError, NotGoodEnough
from batch.generations.connect import Client
from batch.generations.lock import Lease, hold
from batch.generations.registry import Generations
from batch.generations.server import Replicas, warn_of_eviction
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

    def __init__(self, client: Client, space: Space[M], lease: Lease, replicas: Replicas) -> None:
        self.space = space
        self.generations = Generations(client, space)
        self.started = datetime.now(UTC)
        self.left: str | None = None
        """What was live before: readers may not have followed the pointer yet."""
        self._client, self._lease, self._replicas = client, lease, replicas

    def publish(self, manifest: M, contents: Contents[M], advance: Advance) -> M:
        """Publish under the lock, see below."""
        self.left = self.generations.live()
        client, space, lease = self._client, self.space, self._lease
        return publish(client, space, manifest, contents, lease, advance, replicas=self._replicas)


@contextmanager
def turn(
    client: Client, space: Space[M], keep: int, replicas: Replicas = Replicas()
) -> Iterator[Turn[M]]:
    """Take the lock; delete what dead runs left, and at the end what is old.

    keep: how many generations stay, beside the one that was live before. Raises Locked, naming the
    holder, CacheUnavailable, or, as soon as another run has taken the lock, LostLock.
    """
    with hold(client, space) as lease:
        ours = Turn(client, space, lease, replicas)
        _tell(ours.generations.prune(keep))
        yield ours
        if lease.held():
            _tell(ours.generations.prune(keep, ours.left))


def _tell(deleted: Iterable[str]) -> None:
    for generation in deleted:
        log.info("deleted generation %s", generation)


def publish(
    client: Client,
    space: Space[M],
    manifest: M,
    contents: Contents[M],
    lease: Lease,
    advance: Advance = lambda done: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    replicas: Replicas = Replicas(),
    built_on: str | None = None,
) -> M:
    """Write, verify and point at one generation; returns its manifest as published.

    built_on: what must still be live then, "" for nothing, None for whatever is. Raises
    CacheUnavailable or LostLock; the live generation is then untouched, and what was written is
    deleted now or by the next run.
    """
    generations = Generations(client, space)
    warn_of_eviction(client)
    lease.prove(manifest.generation)
    try:
        generations.begin(manifest)
        written = contents.write(client, manifest, advance)
        lease.prove(manifest.generation)
        generations.prove(manifest)
        replicas.wait(client)
        written.verify(client)  # after the wait: no failover takes away what is seen now
        complete = replace(
            written.completed(client, manifest),
            state="complete",
            checksum=f"{written.checksum % 2**32:08x}",
            published_at=now().isoformat(timespec="seconds"),
        )
        generations.commit(complete, lease.token, built_on)
    except BaseException:
        _clean_up(generations, manifest)
        raise
    lease.settled = True
    return complete


def _clean_up(generations: Generations[M], manifest: M) -> None:
    try:
        generations.delete(manifest)
    except LarderError as error:
        log.warning("%s is left half-written for the next run: %s", manifest.generation, error)


def is_forced(force: bool, reasons: Sequence[str]) -> bool:
    """Whether the gate had to be forced. Raises NotGoodEnough when it was not."""
    if not reasons:
        return False
    told = "; ".join(reasons)
    if not force:
        raise NotGoodEnough(f"{told}. Nothing was published; --force publishes all the same")
    log.warning("--force: publishing although %s", told)
    return True


def code_version() -> str:
    """Which release this is; a zip of our code, as Spark takes it, does not say."""
    try:
        return version("larder")
    except PackageNotFoundError:
        return "unknown"
