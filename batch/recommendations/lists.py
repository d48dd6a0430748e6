"""The lists of a generation as the cache keeps them: packed, in buckets, never all at once."""

import logging
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from app.contracts.recommendations import (
    BUCKET_SIZE,
    CHUNK_SIZE,
    EMPTY_BUCKET,
    ENTRY_BYTES,
    POPULAR,
    POPULAR_BIT,
    SAMPLE,
    SAMPLE_SIZE,
    Manifest,
    Namespace,
    bucket_of,
    chunk_part,
    encode_chunk,
    encode_sample,
    encode_value,
    field,
)
from batch.generations.connect import Client
from batch.generations.parts import Hashes, Strings
from batch.generations.server import if_allowed
from batch.interactions.filters import Packed
from batch.progress import Advance
from batch.recommendations.live import Live, encode_vectors
from batch.recommendations.similar import LISTED
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
        users = manifest.user_buckets if manifest.stored else 0  # they came last
        warn_of_loose_buckets(client, self.buckets.fullest(users), manifest.longest_value)
        return replace(manifest, document_bytes=sum(self.strings.sizes))


@dataclass(frozen=True, slots=True)
class LocalContents:
    """A generation whose lists one process makes as it writes them, a block at a time.

    users, items: ids; documents: one JSON object per item, in order; live: what a live generation
    holds beside lists; columns: what requests may filter by.
    """

    namespace: Namespace
    users: Sequence[str]
    items: Sequence[str]
    user_lists: ListsOf
    similar_lists: ListsOf
    popular: Lists
    documents: Iterable[bytes]
    live: Live | None = None
    columns: Packed = Packed()

    def write(self, client: Client, manifest: Manifest, advance: Advance) -> WrittenLists:
        name, space, written = manifest.generation, self.namespace, WrittenLists()
        parts = strings(self.popular, self._sample(), self.documents, self.columns, self.live)
        written.strings.write(client, ((space.part(name, part), value) for part, value in parts))
        if buckets := manifest.similar_buckets:
            keys = [space.similar_bucket(name, bucket) for bucket in range(buckets)]
            shelves = Shelves.of(self.items, buckets)
            write_similar(
                client, keys, shelves, self.similar_lists, written.buckets, advance, manifest.k
            )
        keys = [space.user_bucket(name, bucket) for bucket in range(manifest.user_buckets)]
        shelves = Shelves.of(self.users, manifest.user_buckets)
        write_buckets(client, keys, shelves, self.user_lists, written.buckets, advance)
        return written

    def _sample(self) -> list[str]:
        """Some of the users who have a list of their own, spread evenly."""
        each = math.ceil(len(self.users) / SAMPLE_SIZE) or 1
        some = np.arange(0, len(self.users), each)
        personal = self.user_lists(some).personal
        return [self.users[number] for number in some[personal].tolist()]


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


def strings(
    popular: Lists,
    sample: Sequence[str],
    documents: Iterable[bytes],
    columns: Packed,
    live: Live | None,
) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each part that is not in buckets; see ``LocalContents``."""
    (record,) = encode_lists(popular)
    yield POPULAR, record
    yield SAMPLE, encode_sample(sample)
    remaining = iter(documents)
    for number in count():
        if not (batch := list(islice(remaining, CHUNK_SIZE))):
            break
        yield chunk_part(number), encode_chunk(batch)
    yield from columns.parts()
    if live is not None:
        yield from live.parts()


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
    for first in range(0, len(keys), _BUCKETS_AT_A_TIME):
        some = keys[first : first + _BUCKETS_AT_A_TIME]
        here = shelves.part(range(first, first + len(some)))
        records = encode_lists(lists_of(here.order))
        members = list(zip(here.names.tolist(), records, strict=True))
        cuts = zip(some, here.bounds[:-1], here.bounds[1:], strict=True)
        filled = ((key, dict(members[start:end]) or EMPTY_BUCKET) for key, start, end in cuts)
        buckets.write(client, filled)
        advance(len(members))


def write_similar(
    client: Client,
    keys: Sequence[str],
    shelves: Shelves,
    lists_of: ListsOf,
    buckets: Hashes,
    advance: Advance,
    k: int,
) -> None:
    """As ``write_buckets``, for lists of k that cost less each when many are made at once."""
    at_a_time = max(_BUCKETS_AT_A_TIME, LISTED // (k * BUCKET_SIZE))
    for first in range(0, len(keys), at_a_time):
        part = range(first, min(first + at_a_time, len(keys)))
        here = shelves.part(part)
        made = lists_of(here.order)
        rows = replace(here, order=np.arange(len(here.order)))
        write_buckets(client, keys[part.start : part.stop], rows, made.rows, buckets, advance)


def encode_lists(lists: Lists) -> list[bytes]:
    """Each list as a record of the contract, with vector and history behind it if it has them.

    Scores beyond a half float's range are capped.
    """
    entries = np.empty(lists.items.shape, _ENTRY)
    entries["item"] = lists.items
    if lists.popular is not None:
        entries["item"][lists.popular, :1] |= np.uint32(POPULAR_BIT)
    entries["score"] = np.clip(lists.scores, -_MAX_SCORE, _MAX_SCORE)
    starts = np.arange(len(lists)) * (lists.items.shape[1] * ENTRY_BYTES)
    ends = starts + lists.lengths * ENTRY_BYTES
    packed = entries.tobytes()
    bounds = zip(starts.tolist(), ends.tolist(), strict=True)
    records = [packed[start:end] for start, end in bounds]
    if lists.vectors is None:
        return records
    vectors = encode_vectors(lists.vectors)
    if lists.histories is None:
        return list(map(operator.add, records, vectors))
    return list(map(encode_value, records, vectors, lists.histories))


def warn_of_loose_buckets(
    client: Client, fullest: tuple[str, int] | None, longest_value: int
) -> None:
    """Ask for the fullest bucket: a server packs a hash up to a number of fields and their size."""
    if fullest is None:
        return
    key, size = fullest
    if if_allowed(lambda: client.object("encoding", key)) == b"hashtable":
        log.warning(
            "the cache does not pack the lists, which then take several times the memory: set "
            "hash-max-listpack-value to %d or more and hash-max-listpack-entries to %d or more "
            "(before Redis 7 hash-max-ziplist-...), then refresh",
            max(64, longest_value),
            max(128, size),
        )
