"""Executors make lists and write them straight into the cache; the driver only counts.

Each block of users is a range of buckets, so every bucket is one command of one task. A task that
Spark repeats, or runs twice, leaves the same bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import RDD, Broadcast, SparkContext
from pyspark.sql import functions as F
from scipy.sparse import csr_matrix

from app.contracts.recommendations import SAMPLE_SIZE, Manifest, Namespace, similar_part, user_part
from batch.errors import LostLock
from batch.generations.connect import Client, cache_errors, connect
from batch.generations.parts import SAMPLE, Hashes, Strings, expect
from batch.generations.registry import Generations, unlink
from batch.interactions.filters import Packed
from batch.progress import Advance
from batch.recommendations.cluster.blocks import Learned, beside, cpus
from batch.recommendations.cluster.ids import Indexed
from batch.recommendations.engines.engine import Fitted
from batch.recommendations.lists import (
    ListsOf,
    Shelves,
    strings,
    warn_of_loose_buckets,
    write_buckets,
    write_similar,
)
from batch.recommendations.live import Live
from batch.recommendations.recommend import Crowd, made, recommend
from batch.recommendations.terms import Terms, popular_entries
from batch.recommendations.topk import Lists, popular_list

_SIMILAR_AT_A_TIME = 100


Part = Callable[[int], str]
"""``user_part`` or ``similar_part``: whose lists, and the names of their buckets."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one task wrote: a range of the buckets of a side."""

    part: Part
    buckets: range
    members: int
    checksum: int
    fullest: tuple[str, int] | None
    sample: list[tuple[str, int]]
    """Some keys, with the CRC-32 of what they hold."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where tasks write, and what they must know of the generation."""

    cache_url: str = field(repr=False)  # it may hold a password
    namespace: Namespace
    manifest: Manifest

    def keys(self, part: Part, buckets: range) -> list[str]:
        """The keys of some buckets."""
        name = self.manifest.generation
        return [self.namespace.part(name, part(bucket)) for bucket in buckets]

    def write(self, part: Part, buckets: range, shelves: Shelves, lists_of: ListsOf) -> Shelf:
        """Write some buckets. Raises CacheUnavailable, or LostLock when nobody wants them."""
        parts = Hashes()
        keys = self.keys(part, buckets)
        with closing(connect(self.cache_url)) as client:
            wanted = partial(self._wanted, client, keys)
            wanted(0)
            if part is similar_part:
                write_similar(client, keys, shelves, lists_of, parts, wanted, self.manifest.k)
            else:
                write_buckets(client, keys, shelves, lists_of, parts, wanted)
        some = list(zip(parts.keys, parts.checksums, strict=True))[:: max(1, len(keys) // 2)]
        return Shelf(part, buckets, sum(parts.sizes), parts.checksum, parts.fullest(), some)

    def _wanted(self, client: Client, keys: list[str], done: int) -> None:
        """A task may outlive its run: stop, and leave nothing in a generation that was deleted."""
        manifest = Generations(client, self.namespace).find(self.manifest.generation)
        if manifest is not None and manifest.state == "writing":
            return
        if manifest is None or manifest.state == "deleting":  # else a twin of this task wrote them
            with cache_errors():
                unlink(client, keys)
        raise LostLock(f"generation {self.manifest.generation} was given up")

    def count(self, shelf: Shelf) -> int:
        """How many members the buckets of a shelf hold now."""
        with closing(connect(self.cache_url)) as client:
            return sum(Hashes.sizes_of(client, self.keys(shelf.part, shelf.buckets)))


class ClusterWritten:
    """What all tasks, and the driver, wrote of a generation."""

    def __init__(self, context: SparkContext, target: Target, common: Strings) -> None:
        self._context, self._target, self._common = context, target, common
        self.shelves: list[Shelf] = []

    @property
    def checksum(self) -> int:
        return self._common.checksum + sum(shelf.checksum for shelf in self.shelves)

    def completed(self, client: Client, manifest: Manifest) -> Manifest:
        live = manifest.stored > 0  # whose users' values are the longest
        shelves = [each for each in self.shelves if each.part is user_part or not live]
        found = [shelf.fullest for shelf in shelves if shelf.fullest is not None]
        fullest = max(found, key=itemgetter(1), default=None)
        warn_of_loose_buckets(client, fullest, manifest.longest_value)
        return replace(manifest, document_bytes=sum(self._common.sizes))

    def verify(self, client: Client) -> None:
        """Let tasks ask for the size of every bucket; read a sample of them back here."""
        self._common.verify(client)
        shelves = self._context.parallelize(self.shelves, len(self.shelves))
        for shelf, found in zip(self.shelves, shelves.map(self._target.count).collect()):
            start, stop = shelf.buckets.start, shelf.buckets.stop  # the same for one that is empty
            (first,) = self._target.keys(shelf.part, range(start, start + 1))
            where = f"{first} and the buckets up to {stop}"
            expect(where, "members", shelf.members, found)
        samples = [each for shelf in self.shelves for each in shelf.sample]
        for key, checksum in samples[:: max(1, len(samples) // SAMPLE)]:
            expect(key, "checksum", checksum, Hashes.read_back(client, key))


@dataclass(frozen=True, slots=True)
class ClusterContents:
    """A ``publish.Contents`` whose lists executors make and write.

    seen: the blocks of a CSR matrix (users, items), cut as the users of the model are; stack: what
    is sent to executors is deleted when it closes; hidden: as seen is, what users hid; columns:
    what requests may filter by.
    """

    namespace: Namespace
    indexed: Indexed
    seen: "RDD[csr_matrix]"
    model: Learned
    crowd: Crowd
    documents: Iterable[bytes]
    cache_url: str = field(repr=False)
    terms: Terms
    stack: ExitStack
    hidden: "RDD[csr_matrix] | None" = None
    columns: Packed = Packed()

    def write(self, client: Client, manifest: Manifest, advance: Advance) -> ClusterWritten:
        space, name, common = self.namespace, manifest.generation, Strings()
        entries = popular_entries(self.terms.k, self.terms.stored)
        popular, live = popular_list(self.crowd.share, entries), self._live()
        parts = strings(popular, self._sample(), self.documents, self.columns, live)
        common.write(client, ((space.part(name, part), value) for part, value in parts))
        target = Target(self.cache_url, space, manifest)
        written = ClusterWritten(self.seen.context, target, common)
        sides = [self._similar(target)] if manifest.similar_buckets else []
        for shelves in [*sides, self._users(target)]:
            found = shelves.collect()
            written.shelves += found
            advance(sum(shelf.members for shelf in found))
        return written

    def _sample(self) -> list[str]:
        """Some of the users who have a list of their own, of each block."""
        each = max(1, SAMPLE_SIZE // self.indexed.blocks)  # one too many would halve the sample
        sent, k = self._send((self.model.scorer, self.crowd)), self.terms.k

        def personal(pair: tuple[Any, Any]) -> NDArray[np.bool_]:
            (seen, hidden), users = pair
            scorer, crowd = sent.value
            rows = np.arange(min(each, len(users)))
            return recommend(Fitted(users, scorer), crowd, seen, rows, k, cpus(), hidden).personal

        known = beside(self.seen, self.hidden)
        kept = np.concatenate(known.zip(self.model.users).map(personal).collect())
        some = self.indexed.users.where(F.col("row") < each).select("user", "block", "row")
        table = some.toArrow().sort_by([("block", "ascending"), ("row", "ascending")])
        users: list[str] = table["user"].filter(pa.array(kept)).to_pylist()
        return users

    def _live(self) -> Live | None:
        scorer = self.model.scorer
        if not self.terms.stored or scorer.scale is None:
            return None
        sums = self.model.users.map(lambda users: users.sum(axis=0, dtype=np.float64))
        mean = sums.treeReduce(np.add) / max(self.indexed.user_count, 1)
        return Live(scorer.factors, mean, scorer.scale)

    def _similar(self, target: Target) -> "RDD[Shelf]":
        """The neighbours of the items, some buckets a task."""
        count, k = target.manifest.similar_buckets, self.terms.k
        shelves = Shelves.of(self.indexed.items, count)
        tasks = 2 * self.seen.context.defaultParallelism  # more items at once cost less each
        at_a_time = max(_SIMILAR_AT_A_TIME, -(-count // tasks))
        ranges = [
            range(first, min(first + at_a_time, count)) for first in range(0, count, at_a_time)
        ]
        parts = [(buckets, shelves.part(buckets)) for buckets in ranges]
        sent = self._send(self.model.scorer.nearest())

        def write(part: tuple[range, Shelves]) -> Shelf:
            buckets, here = part
            threads = cpus()
            return target.write(
                similar_part,
                buckets,
                here,
                lambda items: sent.value(items, k, threads),
            )

        return self.seen.context.parallelize(parts, len(parts)).map(write)

    def _users(self, target: Target) -> "RDD[Shelf]":
        """The lists of the users, a block a task."""
        sent, terms = self._send((self.model.scorer, self.crowd)), self.terms
        ranges = [self.indexed.buckets_of(block) for block in range(self.indexed.blocks)]

        def write(block: int, found: Iterable[Any]) -> Iterator[Shelf]:
            scorer, crowd = sent.value
            buckets, threads = ranges[block], cpus()
            for ((seen, hidden), users), (names, numbers) in found:
                bounds = np.searchsorted(numbers, np.arange(buckets.start, buckets.stop + 1))
                shelves = Shelves(names, np.arange(len(names)), bounds.tolist())
                fitted = Fitted(users, scorer)

                def lists_of(rows: NDArray[np.int64]) -> Lists:
                    return made(fitted, crowd, seen, rows, terms, threads, hidden)

                yield target.write(user_part, buckets, shelves, lists_of)

        known = beside(self.seen, self.hidden).zip(self.model.users)
        return known.zip(self._names()).mapPartitionsWithIndex(write)

    def _names(self) -> "RDD[tuple[NDArray[np.object_], NDArray[np.int32]]]":
        """The names of each block's users, and the bucket of each, in order."""
        users = self.indexed.users.select("block", "row", "name", "bucket")
        placed = users.repartitionById(self.indexed.blocks, F.col("block"))
        schema = "names array<binary>, buckets binary"

        def unpack(found: Iterable[Any]) -> Iterator[tuple[NDArray[np.object_], Any]]:
            ((names, buckets),) = list(found) or [([], b"")]  # all of it, or the worker ends
            shelved = np.array([*map(bytes, names), None], np.object_)[:-1]  # of objects, if empty
            yield shelved, np.frombuffer(buckets, np.int32)

        return placed.mapInArrow(_names, schema).rdd.mapPartitions(unpack)

    def _send(self, value: Any) -> "Broadcast[Any]":
        sent = self.seen.context.broadcast(value)
        self.stack.callback(sent.destroy)
        return sent


def reach(context: SparkContext, cache_url: str) -> None:
    """Let an executor connect to the cache. Raises CacheUnavailable or BadSettings."""

    def connected(url: str) -> bool:
        with closing(connect(url)) as client:
            return bool(client.ping())

    context.parallelize([cache_url], 1).map(connected).collect()


def _names(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row for the whole block."""
    given = list(batches)
    if given:
        table = pa.Table.from_batches(given).sort_by("row")
        buckets = table["bucket"].to_numpy().astype(np.int32).tobytes()
        columns = [pa.array([table["name"].to_pylist()]), pa.array([buckets])]
        yield pa.RecordBatch.from_arrays(columns, names=["names", "buckets"])
