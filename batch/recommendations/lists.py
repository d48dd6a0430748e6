"""The lists of a generation as the cache keeps them: packed, in buckets, never all at once."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from app.contracts.recommendations import (
    BUCKET_SIZE,
    CHUNK_SIZE,
    EMPTY_BUCKET,
    ENTRY_BYTES,
    Manifest,
    Namespace,
    bucket_of,
    encode_chunk,
    encode_sample,
    field,
)
from batch.generations.connect import Client
from batch.generations.parts import Hashes, Strings
from batch.generations.server import if_allowed
from batch.progress import Advance
from batch.recommendations.topk import BLOCK, Lists

ListsOf = Callable[[NDArray[np.int64]], Lists]
"""Indices of users or items -> their Lists."""

_ENTRY = np.dtype([("item", "<u4"), ("score", "<f2")])
_MAX_SCORE = float(np.finfo(np.float16).max)
_BUCKETS_AT_A_TIME = max(1, BLOCK // BUCKET_SIZE)

log = logging.getLogger("larder.publish")


class WrittenLists:
    """What one process wrote: documents, popular list and sample; and the buckets."""

    def __init__(self) -> None:
        self.strings = Strings()
        self.buckets = Hashes()

    @property
    def checksum(self) -> int:
        return self.strings.checksum + self.buckets.checksum

    def verify(self, client: Client) -> None:
        self.strings.verify(client)
        self.buckets.verify(client)

    def completed(self, client: Client, manifest: Manifest) -> Manifest:
        warn_of_loose_buckets(client, self.buckets.fullest, manifest.k)
        return replace(manifest, document_bytes=sum(self.strings.sizes))


@dataclass(frozen=True, slots=True)
class LocalContents:
    """A generation whose lists one process makes as it writes them, a block at a time.

    users, items: ids; documents: one JSON object per item, in order.
    """

    namespace: Namespace
    users: Sequence[str]
    items: Sequence[str]
    user_lists: ListsOf
    similar_lists: ListsOf
    popular: Lists
    documents: Iterable[bytes]

    def write(self, client: Client, manifest: Manifest, advance: Advance) -> WrittenLists:
        name, space, written = manifest.generation, self.namespace, WrittenLists()
        sample = encode_sample(self.users)
        write_common(client, space, name, self.popular, sample, self.documents, written.strings)
        for key, count, members, lists_of in (
            (space.similar_bucket, manifest.similar_buckets, self.items, self.similar_lists),
            (space.user_bucket, manifest.user_buckets, self.users, self.user_lists),
        ):
            keys = [key(name, bucket) for bucket in range(count)]
            shelves = Shelves.of(members, count)
            write_buckets(client, keys, shelves, lists_of, written.buckets, advance)
        return written


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


def write_common(
    client: Client,
    namespace: Namespace,
    generation: str,
    popular: Lists,
    sample: bytes,
    documents: Iterable[bytes],
    strings: Strings,
) -> None:
    """Write what is not in buckets. Raises CacheUnavailable."""
    (record,) = encode_lists(popular)
    small = [(namespace.popular(generation), record), (namespace.sample(generation), sample)]
    chunks = enumerate(_chunks(documents))
    strings.write(client, small)
    strings.write(client, ((namespace.chunk(generation, n), chunk) for n, chunk in chunks))


def _chunks(documents: Iterable[bytes]) -> Iterator[bytes]:
    remaining = iter(documents)
    while batch := list(islice(remaining, CHUNK_SIZE)):
        yield encode_chunk(batch)


def write_buckets(
    client: Client,
    keys: Sequence[str],
    shelves: Shelves,
    lists_of: ListsOf,
    buckets: Hashes,
    advance: Advance,
) -> None:
    """Write the lists bucket by bucket, so that each is one command and none is kept.

    keys: that of each bucket of the shelves. Writing the same once more leaves the same bytes.
    Raises CacheUnavailable.
    """
    bounds = shelves.bounds
    for first in range(0, len(keys), _BUCKETS_AT_A_TIME):
        last = min(first + _BUCKETS_AT_A_TIME, len(keys))
        block = slice(bounds[first], bounds[last])
        names = shelves.names[block].tolist()
        records = encode_lists(lists_of(shelves.order[block]))
        members = list(zip(names, records, strict=True))
        starts = [bound - bounds[first] for bound in bounds[first : last + 1]]
        buckets.write(
            client,
            (
                (keys[first + n], dict(members[starts[n] : starts[n + 1]]) or EMPTY_BUCKET)
                for n in range(last - first)
            ),
        )
        advance(len(names))


def encode_lists(lists: Lists) -> list[bytes]:
    """Each list as a record of the contract; scores beyond a half float's range are capped."""
    entries = np.empty(lists.items.shape, _ENTRY)
    entries["item"] = lists.items
    entries["score"] = np.clip(lists.scores, -_MAX_SCORE, _MAX_SCORE)
    starts = np.arange(len(lists)) * (lists.items.shape[1] * ENTRY_BYTES)
    ends = starts + lists.lengths * ENTRY_BYTES
    packed = entries.tobytes()
    return [packed[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def warn_of_loose_buckets(client: Client, fullest: tuple[str, int] | None, k: int) -> None:
    """Ask for the fullest bucket: a server packs a hash up to a number of fields and their size."""
    if fullest is None:
        return
    key, size = fullest
    if if_allowed(lambda: client.object("encoding", key)) == b"hashtable":
        log.warning(
            "the cache does not pack the lists, which then take several times the memory: set "
            "hash-max-listpack-value to %d or more and hash-max-listpack-entries to %d or more "
            "(before Redis 7 hash-max-ziplist-...), then refresh",
            max(64, k * ENTRY_BYTES),
            max(128, size),
        )
