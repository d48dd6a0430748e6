"""Write a generation, verify it, then point at it in one step; readers see the old or the new."""

import logging
import operator
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

import numpy as np
import redis
from numpy.typing import NDArray

from app.contracts.recommendations import (
    BUCKET_SIZE,
    CHUNK_SIZE,
    Manifest,
    Namespace,
    bucket_of,
    encode_chunk,
    encode_sample,
    field,
)
from batch.errors import CacheUnavailable, LarderError
from batch.generations.connect import Client, translated
from batch.generations.registry import Generations
from batch.recommendations.topk import BLOCK, Lists

_ENTRY = np.dtype([("item", "<u4"), ("score", "<f2")])
_MAX_SCORE = float(np.finfo(np.float16).max)
_BUCKETS_AT_A_TIME = max(1, BLOCK // BUCKET_SIZE)
_CHUNKS_AT_A_TIME = 32
_SAMPLE = 64

Progress = Callable[[int], None]
"""Called with how many more users, items or documents were written."""

log = logging.getLogger("larder.publish")


class Written(Protocol):
    """What was written of a generation."""

    @property
    def fullest(self) -> tuple[str, int] | None:
        """The bucket that holds the most, and how many that is."""

    @property
    def document_bytes(self) -> int:
        """All that is not in buckets: the documents, the popular list and the sample."""

    @property
    def checksum(self) -> int:
        """The sum of the CRC-32 of all parts."""

    def verify(self, client: Client) -> None:
        """Raise CacheUnavailable when something is not there as it was written."""


class Contents(Protocol):
    """What a generation holds, and how it gets into the cache."""

    def write(
        self, client: Client, namespace: Namespace, manifest: Manifest, progress: Progress
    ) -> Written:
        """Write everything that the manifest counts. Raises CacheUnavailable."""


def publish(
    client: Client,
    namespace: Namespace,
    manifest: Manifest,
    contents: Contents,
    token: str,
    progress: Progress = lambda done: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Manifest:
    """Write, verify and point at one generation; returns its manifest as published.

    The token proves the lock (see ``lock``). Raises CacheUnavailable or LostLock; the live
    generation is then untouched, and what was written is deleted now or by the next run.
    """
    generations = Generations(client, namespace)
    _warn_of_eviction(client)
    try:
        generations.begin(manifest)
        written = contents.write(client, namespace, manifest, progress)
        generations.prove(manifest, token)
        written.verify(client)
        _warn_of_loose_buckets(client, written.fullest, manifest.k)
        complete = replace(
            manifest,
            state="complete",
            checksum=f"{written.checksum % 2**32:08x}",
            document_bytes=written.document_bytes,
            published_at=now().isoformat(timespec="seconds"),
        )
        generations.commit(complete, token)
    except BaseException:
        _clean_up(generations, manifest)
        raise
    return complete


def _clean_up(generations: Generations, manifest: Manifest) -> None:
    try:
        generations.delete(manifest)
    except LarderError as error:
        log.warning("%s is left half-written for the next run: %s", manifest.generation, error)


@dataclass(frozen=True, slots=True)
class LocalContents:
    """A generation whose lists one process makes as it writes them, a block at a time.

    users, items: ids; user_lists, similar_lists: indices of users or items -> their Lists.
    """

    users: Sequence[str]
    items: Sequence[str]
    user_lists: Callable[[NDArray[np.int64]], Lists]
    similar_lists: Callable[[NDArray[np.int64]], Lists]
    popular: Lists
    documents: Iterable[bytes]

    def write(
        self, client: Client, namespace: Namespace, manifest: Manifest, progress: Progress
    ) -> "Parts":
        name = manifest.generation
        parts = write_common(
            client, namespace, name, self.popular, encode_sample(self.users), self.documents
        )
        for key, count, members, lists_of in (
            (namespace.similar_bucket, manifest.similar_buckets, self.items, self.similar_lists),
            (namespace.user_bucket, manifest.user_buckets, self.users, self.user_lists),
        ):
            keys = [key(name, bucket) for bucket in range(count)]
            shelves = Shelves.of(members, count)
            write_buckets(client, keys, shelves, lists_of, parts, progress)
        return parts


@dataclass(frozen=True, slots=True)
class Shelves:
    """Members in the order of their buckets.

    names: (members,), their fields; order: (members,), the index of each; the members of bucket b,
    counted from the first, are those at bounds[b] to bounds[b + 1].
    """

    names: NDArray[np.object_]
    order: NDArray[np.int64]
    bounds: list[int]

    @classmethod
    def of(cls, members: Sequence[str], buckets: int) -> "Shelves":
        """Spread members over so many buckets."""
        names = np.array([field(member) for member in members], np.object_)
        number = np.fromiter((bucket_of(name, buckets) for name in names), np.int64, len(names))
        order = np.argsort(number, kind="stable")
        bounds = np.searchsorted(number[order], np.arange(buckets + 1))
        return cls(names[order], order, bounds.tolist())

    def part(self, buckets: range) -> "Shelves":
        """Those of some of the buckets."""
        bounds = self.bounds[buckets.start : buckets.stop + 1]
        members = slice(bounds[0], bounds[-1])
        return Shelves(
            self.names[members], self.order[members], [bound - bounds[0] for bound in bounds]
        )


class Parts:
    """The keys written so far, with how much each should hold and the CRC-32 of what went in."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.sizes = array("I")
        self.checksums = array("I")
        self.is_hash = array("b")

    def add(self, key: str, size: int, checksum: int, is_hash: bool) -> None:
        self.keys.append(key)
        self.sizes.append(size)
        self.checksums.append(checksum)
        self.is_hash.append(is_hash)

    @property
    def checksum(self) -> int:
        return sum(self.checksums)

    @property
    def document_bytes(self) -> int:
        pairs = zip(self.sizes, self.is_hash, strict=True)
        return sum(size for size, is_hash in pairs if not is_hash)

    @property
    def fullest(self) -> tuple[str, int] | None:
        hashes = [number for number in range(len(self.keys)) if self.is_hash[number]]
        number = max(hashes, key=self.sizes.__getitem__, default=None)
        return None if number is None else (self.keys[number], self.sizes[number])

    def verify(self, client: Client) -> None:
        """Ask the server for the size of every key and the content of a sample of them."""
        for first in range(0, len(self.keys), 1000):
            numbers = range(first, min(first + 1000, len(self.keys)))
            pipeline = client.pipeline(transaction=False)
            for number in numbers:
                if self.is_hash[number]:
                    pipeline.hlen(self.keys[number])
                else:
                    pipeline.strlen(self.keys[number])
            with translated():
                sizes = pipeline.execute()
            for number, size in zip(numbers, sizes, strict=True):
                expect(self.keys[number], "size", self.sizes[number], size)
        for number in range(0, len(self.keys), max(1, len(self.keys) // _SAMPLE)):
            key, is_hash = self.keys[number], bool(self.is_hash[number])
            expect(key, "checksum", self.checksums[number], read_back(client, key, is_hash))


def read_back(client: Client, key: str, is_hash: bool) -> int:
    """The CRC-32 of what a key holds now."""
    with translated():
        if is_hash:
            return _hash_checksum(client.hgetall(key))
        return zlib.crc32(client.get(key) or b"")


def expect(what: str, measure: str, written: int, found: int) -> None:
    """Raise CacheUnavailable when the cache holds something else than was written."""
    if written != found:
        raise CacheUnavailable(
            f"the cache did not keep what was written: {what} should have {measure} {written}, "
            f"found {found}; does it evict keys (maxmemory-policy)?"
        )


def _hash_checksum(bucket: dict[bytes, bytes]) -> int:
    """CRC-32 of a bucket, whatever the order in which the server returns its fields."""
    return zlib.crc32(b"".join(sorted(map(operator.add, bucket.keys(), bucket.values()))))


def _warn_of_eviction(client: Client) -> None:
    memory = _if_allowed(lambda: client.info("memory")) or {}
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        log.warning(
            "the cache may throw away what is published, as its maxmemory-policy is %s: "
            "set maxmemory-policy noeviction",
            policy,
        )


def _warn_of_loose_buckets(client: Client, fullest: tuple[str, int] | None, k: int) -> None:
    """Ask for the fullest bucket: a server packs a hash up to a number of fields and their size."""
    if fullest is None:
        return
    key, size = fullest
    if _if_allowed(lambda: client.object("encoding", key)) == b"hashtable":
        log.warning(
            "the cache does not pack the lists, which then take several times the memory: set "
            "hash-max-listpack-value to %d or more and hash-max-listpack-entries to %d or more "
            "(before Redis 7 hash-max-ziplist-...), then refresh",
            max(64, k * _ENTRY.itemsize),
            max(128, size),
        )


def _if_allowed(ask: Callable[[], Any]) -> Any:
    """The server's answer, or None when it forbids the question, as managed servers may."""
    with translated():
        try:
            return ask()
        except redis.ResponseError:
            return None


def write_common(
    client: Client,
    namespace: Namespace,
    generation: str,
    popular: Lists,
    sample: bytes,
    documents: Iterable[bytes],
) -> Parts:
    """Write what is not in buckets. Raises CacheUnavailable."""
    parts = Parts()
    (record,) = encode_lists(popular)
    small = [(namespace.popular(generation), record), (namespace.sample(generation), sample)]
    chunks = enumerate(_chunks(documents))
    large = ((namespace.chunk(generation, number), chunk) for number, chunk in chunks)
    _write_strings(client, small, parts)
    _write_strings(client, large, parts)
    return parts


def _chunks(documents: Iterable[bytes]) -> Iterable[bytes]:
    remaining = iter(documents)
    while batch := list(islice(remaining, CHUNK_SIZE)):
        yield encode_chunk(batch)


def _write_strings(client: Client, values: Iterable[tuple[str, bytes]], parts: Parts) -> None:
    remaining = iter(values)
    while batch := list(islice(remaining, _CHUNKS_AT_A_TIME)):
        pipeline = client.pipeline(transaction=False)
        for key, value in batch:
            pipeline.set(key, value)
            parts.add(key, len(value), zlib.crc32(value), is_hash=False)
        with translated():
            pipeline.execute()


def write_buckets(
    client: Client,
    keys: Sequence[str],
    shelves: Shelves,
    lists_of: Callable[[NDArray[np.int64]], Lists],
    parts: Parts,
    progress: Progress,
) -> None:
    """Write the lists bucket by bucket, so that each is one command and none is kept.

    keys: that of each bucket of the shelves; lists_of: indices of members -> their Lists. Writing
    the same once more leaves the same bytes. Raises CacheUnavailable.
    """
    bounds = shelves.bounds
    for first in range(0, len(keys), _BUCKETS_AT_A_TIME):
        last = min(first + _BUCKETS_AT_A_TIME, len(keys))
        block = slice(bounds[first], bounds[last])
        names = shelves.names[block].tolist()
        records = encode_lists(lists_of(shelves.order[block]))
        pipeline = client.pipeline(transaction=False)
        for bucket in range(first, last):
            part = slice(bounds[bucket] - bounds[first], bounds[bucket + 1] - bounds[first])
            entries = dict(zip(names[part], records[part], strict=True))
            if entries:
                pipeline.hset(keys[bucket], mapping=entries)
                parts.add(keys[bucket], len(entries), _hash_checksum(entries), is_hash=True)
        with translated():
            pipeline.execute()
        progress(len(names))


def encode_lists(lists: Lists) -> list[bytes]:
    """Each list as a record of the contract; scores beyond a half float's range are capped."""
    entries = np.empty(lists.items.shape, _ENTRY)
    entries["item"] = lists.items
    entries["score"] = np.clip(lists.scores, -_MAX_SCORE, _MAX_SCORE)
    starts = np.arange(len(lists)) * (lists.items.shape[1] * _ENTRY.itemsize)
    ends = starts + lists.lengths * _ENTRY.itemsize
    packed = entries.tobytes()
    return [packed[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
