"""Write a generation, verify it, then point at it in one step; readers see the old or the new."""

import logging
import operator
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

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
from batch.cache import Client, translated
from batch.errors import CacheUnavailable, LarderError
from batch.generations import Generations
from batch.topk import BLOCK, Lists

_ENTRY = np.dtype([("item", "<u4"), ("score", "<f2")])
_MAX_SCORE = float(np.finfo(np.float16).max)
_BUCKETS_AT_A_TIME = max(1, BLOCK // BUCKET_SIZE)
_CHUNKS_AT_A_TIME = 32
_SAMPLE = 64

Progress = Callable[[int], None]
"""Called with how many more users, items or documents were written."""

log = logging.getLogger("larder.publish")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a generation holds. The lists are made when they are written, a block at a time."""

    users: Sequence[str]
    items: Sequence[str]
    user_lists: Callable[[NDArray[np.int64]], Lists]
    similar_lists: Callable[[NDArray[np.int64]], Lists]
    popular: Lists
    documents: Iterable[bytes]


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

    The token proves the lock (``batch.lock``). Raises CacheUnavailable or LostLock; the live
    generation is then untouched, and what was written is deleted now or by the next run.
    """
    generations = Generations(client, namespace)
    _warn_of_eviction(client)
    try:
        generations.begin(manifest)
        parts = _write(client, namespace, manifest, contents, progress)
        generations.prove(manifest, token)
        with translated():
            parts.verify(client)
        _warn_of_loose_buckets(client, parts, manifest.k)
        complete = replace(
            manifest,
            state="complete",
            checksum=parts.checksum(),
            document_bytes=parts.string_bytes(),
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


class _Parts:
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

    def checksum(self) -> str:
        return f"{zlib.crc32(self.checksums.tobytes()):08x}"

    def string_bytes(self) -> int:
        """Of the documents, the popular list and the sample: all that is not in buckets."""
        pairs = zip(self.sizes, self.is_hash, strict=True)
        return sum(size for size, is_hash in pairs if not is_hash)

    def verify(self, client: Client) -> None:
        """Ask the server for the size of every key and the content of a sample of them.

        Raises CacheUnavailable when something is not there as it was written.
        """
        for first in range(0, len(self.keys), 1000):
            numbers = range(first, min(first + 1000, len(self.keys)))
            pipeline = client.pipeline(transaction=False)
            for number in numbers:
                if self.is_hash[number]:
                    pipeline.hlen(self.keys[number])
                else:
                    pipeline.strlen(self.keys[number])
            for number, size in zip(numbers, pipeline.execute(), strict=True):
                self._expect(number, "size", self.sizes[number], size)
        step = max(1, len(self.keys) // _SAMPLE)
        for number in range(0, len(self.keys), step):
            self._expect(
                number, "checksum", self.checksums[number], self._read_back(client, number)
            )

    def _read_back(self, client: Client, number: int) -> int:
        if not self.is_hash[number]:
            return zlib.crc32(client.get(self.keys[number]) or b"")
        return _hash_checksum(client.hgetall(self.keys[number]))

    def _expect(self, number: int, what: str, written: int, found: int) -> None:
        if written != found:
            raise CacheUnavailable(
                f"the cache did not keep what was written: {self.keys[number]} should have "
                f"{what} {written}, found {found}; does it evict keys (maxmemory-policy)?"
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


def _warn_of_loose_buckets(client: Client, parts: _Parts, k: int) -> None:
    """Ask for the fullest bucket: a server packs a hash up to a number of fields and their size."""
    hashes = [number for number in range(len(parts.keys)) if parts.is_hash[number]]
    fullest = max(hashes, key=parts.sizes.__getitem__, default=None)
    if fullest is None:
        return
    if _if_allowed(lambda: client.object("encoding", parts.keys[fullest])) == b"hashtable":
        log.warning(
            "the cache does not pack the lists, which then take several times the memory: set "
            "hash-max-listpack-value to %d or more and hash-max-listpack-entries to %d or more "
            "(before Redis 7 hash-max-ziplist-...), then refresh",
            max(64, k * _ENTRY.itemsize),
            max(128, parts.sizes[fullest]),
        )


def _if_allowed(ask: Callable[[], Any]) -> Any:
    """The server's answer, or None when it forbids the question, as managed servers may."""
    with translated():
        try:
            return ask()
        except redis.ResponseError:
            return None


def _write(
    client: Client,
    namespace: Namespace,
    manifest: Manifest,
    contents: Contents,
    progress: Progress,
) -> _Parts:
    parts = _Parts()
    name = manifest.generation
    _write_strings(
        client,
        ((namespace.popular(name), record) for record in encode_lists(contents.popular)),
        parts,
    )
    _write_strings(client, [(namespace.sample(name), encode_sample(contents.users))], parts)
    _write_strings(
        client,
        (
            (namespace.chunk(name, number), chunk)
            for number, chunk in enumerate(_chunks(contents.documents))
        ),
        parts,
    )
    _write_buckets(
        client,
        [namespace.similar_bucket(name, bucket) for bucket in range(manifest.similar_buckets)],
        contents.items,
        contents.similar_lists,
        parts,
        progress,
    )
    _write_buckets(
        client,
        [namespace.user_bucket(name, bucket) for bucket in range(manifest.user_buckets)],
        contents.users,
        contents.user_lists,
        parts,
        progress,
    )
    return parts


def _chunks(documents: Iterable[bytes]) -> Iterable[bytes]:
    remaining = iter(documents)
    while batch := list(islice(remaining, CHUNK_SIZE)):
        yield encode_chunk(batch)


def _write_strings(client: Client, values: Iterable[tuple[str, bytes]], parts: _Parts) -> None:
    remaining = iter(values)
    while batch := list(islice(remaining, _CHUNKS_AT_A_TIME)):
        pipeline = client.pipeline(transaction=False)
        for key, value in batch:
            pipeline.set(key, value)
            parts.add(key, len(value), zlib.crc32(value), is_hash=False)
        with translated():
            pipeline.execute()


def _write_buckets(
    client: Client,
    keys: Sequence[str],
    members: Sequence[str],
    lists_of: Callable[[NDArray[np.int64]], Lists],
    parts: _Parts,
    progress: Progress,
) -> None:
    """Write the members' lists bucket by bucket, so that each is one command and none is kept."""
    names = np.array([field(member) for member in members], np.object_)
    buckets = np.fromiter((bucket_of(name, len(keys)) for name in names), np.int64, len(names))
    order = np.argsort(buckets, kind="stable")
    bounds = np.searchsorted(buckets[order], np.arange(len(keys) + 1)).tolist()
    for first in range(0, len(keys), _BUCKETS_AT_A_TIME):
        last = min(first + _BUCKETS_AT_A_TIME, len(keys))
        block = order[bounds[first] : bounds[last]]
        fields_of_block = names[block].tolist()
        records = encode_lists(lists_of(block))
        pipeline = client.pipeline(transaction=False)
        for bucket in range(first, last):
            part = slice(bounds[bucket] - bounds[first], bounds[bucket + 1] - bounds[first])
            entries = dict(zip(fields_of_block[part], records[part], strict=True))
            if entries:
                pipeline.hset(keys[bucket], mapping=entries)
                parts.add(keys[bucket], len(entries), _hash_checksum(entries), is_hash=True)
        with translated():
            pipeline.execute()
        progress(len(block))


def encode_lists(lists: Lists) -> list[bytes]:
    """Each list as a record of the contract; scores beyond a half float's range are capped."""
    entries = np.empty(lists.items.shape, _ENTRY)
    entries["item"] = lists.items
    entries["score"] = np.clip(lists.scores, -_MAX_SCORE, _MAX_SCORE)
    starts = np.arange(len(lists)) * (lists.items.shape[1] * _ENTRY.itemsize)
    ends = starts + lists.lengths * _ENTRY.itemsize
    packed = entries.tobytes()
    return [packed[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
