"""Every list of a generation, read back from the cache some buckets at a time.

It takes no more rights than GET, HGET, HGETALL, HLEN and STRLEN of the generation's keys.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.contracts.generations import PUBLISHED, BrokenRecord
from app.contracts.recommendations import (
    BUCKET_SIZE,
    ENTRY_BYTES,
    POPULAR_BIT,
    Manifest,
    Namespace,
    bucket_of,
    decode_chunk,
    is_of_somebody,
    item_of,
    split_value,
)
from batch.errors import CacheUnavailable, GenerationGone, UnknownGeneration
from batch.generations.connect import Client, cache_errors
from batch.generations.parts import STRINGS_AT_A_TIME, lacks
from batch.generations.registry import Generations

ENTRIES_AT_A_TIME = 200_000

_ENTRY = np.dtype([("item", "<u4"), ("score", "<f2")])


@dataclass(frozen=True, slots=True)
class Block:
    """Lists of some users or items.

    names: their fields; items: (names, k) int64, indices, best first, -1 behind the end of a list;
    scores: (names, k) float16; popular: (names,), whose list is what is popular.
    """

    names: list[bytes]
    items: NDArray[np.int64]
    scores: NDArray[np.float16]
    popular: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the first k of each list of a generation.

    All methods raise CacheUnavailable, GenerationGone when what they read is not there any more,
    and BrokenRecord.
    """

    client: Client
    namespace: Namespace
    manifest: Manifest
    k: int

    def users(self) -> Iterator[Block]:
        """The lists of all users."""
        key, known = self.namespace.user_bucket, self.manifest
        return self._blocks(key, known.user_buckets, known.factors, known.history)

    def similar(self) -> Iterator[Block]:
        """The neighbours of all items; none where they were not published."""
        return self._blocks(self.namespace.similar_bucket, self.manifest.similar_buckets, 0, 0)

    def _blocks(
        self, key: Callable[[str, int], str], buckets: int, factors: int, history: int
    ) -> Iterator[Block]:
        at_a_time = max(1, ENTRIES_AT_A_TIME // (BUCKET_SIZE * self.k))
        for first in range(0, buckets, at_a_time):
            pipeline = self.client.pipeline(transaction=False)
            for bucket in range(first, min(first + at_a_time, buckets)):
                pipeline.hgetall(key(self.manifest.generation, bucket))
            with cache_errors():
                found: list[dict[bytes, bytes]] = pipeline.execute()
            if not all(found):
                raise self._gone()
            records = {n: value for each in found for n, value in each.items() if is_of_somebody(n)}
            yield self._block(list(records), list(records.values()), factors, history)

    def users_named(self, names: Sequence[bytes]) -> tuple[NDArray[np.bool_], Block]:
        """Which of these fields are of users here, and the lists of those."""
        known, pipeline = self.manifest, self.client.pipeline(transaction=False)
        for name in names:
            bucket = bucket_of(name, known.user_buckets)
            pipeline.hget(self.namespace.user_bucket(known.generation, bucket), name)
        with cache_errors():
            found: list[bytes | None] = pipeline.execute()
        there = np.array([value is not None for value in found], bool)
        values = [value for value in found if value is not None]
        kept = [name for name, value in zip(names, found, strict=True) if value is not None]
        return there, self._block(kept, values, known.factors, known.history)

    def _block(
        self, names: list[bytes], values: Sequence[bytes], factors: int, history: int
    ) -> Block:
        records = [split_value(value, factors, history)[0] for value in values]
        lengths = np.array([len(record) for record in records], np.int64)
        width = self.k * ENTRY_BYTES
        packed = b"".join([record[:width].ljust(width, b"\0") for record in records])
        entries = np.frombuffer(packed, _ENTRY).reshape(len(names), self.k)
        popular = (entries["item"][:, 0] & POPULAR_BIT) > 0
        is_there = np.arange(self.k) < lengths[:, np.newaxis] // ENTRY_BYTES
        indices = (entries["item"] & (POPULAR_BIT - 1)).astype(np.int64)
        items = np.where(is_there, indices, -1)
        is_whole = not (lengths % ENTRY_BYTES).any() and bool(np.isfinite(entries["score"]).all())
        if not is_whole or items.max(initial=-1) >= self.manifest.items:
            raise BrokenRecord(f"a list of generation {self.manifest.generation}")
        return Block(names, items, entries["score"], popular)

    def items(self) -> list[str]:
        """The ids of all items, in the order of their indices."""
        known, ids = self.manifest, list[str]()
        for first in range(0, known.chunks, STRINGS_AT_A_TIME):
            pipeline = self.client.pipeline(transaction=False)
            for chunk in range(first, min(first + STRINGS_AT_A_TIME, known.chunks)):
                pipeline.get(self.namespace.chunk(known.generation, chunk))
            with cache_errors():
                chunks: list[bytes | None] = pipeline.execute()
            for each in chunks:
                if each is None:
                    raise self._gone()
                ids += map(item_of, decode_chunk(each))
        if len(ids) != known.items:
            raise BrokenRecord(f"{known.items} items of {known.generation}, found {len(ids)}")
        return ids

    def expect_whole(self) -> None:
        """Raise unless all is there as it was, and nobody has rolled back from it meanwhile."""
        known = self.manifest
        found = Generations(self.client, self.namespace).find(known.generation)
        was_withdrawn = found is not None and (known.state, found.state) == PUBLISHED
        if was_withdrawn:
            raise GenerationGone(
                f"somebody rolled back from generation {known.generation} while it was read: "
                "run it again for what is live now"
            )
        if (
            found is None
            or found.state not in PUBLISHED
            or lacks(self.client, self.namespace, known)
        ):
            raise self._gone()

    def _gone(self) -> GenerationGone | CacheUnavailable:
        name = self.manifest.generation
        found = Generations(self.client, self.namespace).find(name)
        if found is None or found.state not in PUBLISHED:
            return GenerationGone(
                f"generation {name} was deleted while it was read: run it again, with one that is "
                "published"
            )
        return CacheUnavailable(
            f"generation {name} is not whole any more; does the cache evict keys "
            "(maxmemory-policy)? run refresh"
        )


def manifest_of(client: Client, namespace: Namespace, name: str | None) -> Manifest:
    """The manifest of that generation, or of the live one. Raises UnknownGeneration."""
    known = Generations(client, namespace)
    found = known.live_manifest() if name is None else known.find(name)
    if found is not None and found.state in PUBLISHED:
        return found
    if name is None:
        raise UnknownGeneration(f"nothing is live in namespace {namespace.name!r}: run refresh")
    names = ", ".join(each.generation for each in known.published())
    raise UnknownGeneration(f"there is no generation {name!r}; published are: {names or 'none'}")


def manifest_before(client: Client, namespace: Namespace, after: Manifest) -> Manifest:
    """The newest good generation that is older than that. Raises UnknownGeneration."""
    older = [
        each
        for each in Generations(client, namespace).all()
        if each.state == "complete" and each.generation < after.generation
    ]
    if not older:
        raise UnknownGeneration(
            f"no older good generation than {after.generation} is published: name two of those "
            "that 'larder generations' lists"
        )
    return older[-1]
