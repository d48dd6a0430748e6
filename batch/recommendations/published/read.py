"""Every list of a generation, read back from the cache some buckets at a time.

It takes no more rights than GET, HGET, HGETALL, HLEN and STRLEN of the generation's keys.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
    document,
    document_place,
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

    names: Sequence[bytes]
    items: NDArray[np.int64]
    scores: NDArray[np.float16]
    popular: NDArray[np.bool_]

    def entries(self) -> list[list[tuple[int, float]]]:
        """The index and the score of each item of each list."""
        both = zip(self.items.tolist(), self.scores.tolist(), strict=True)
        return [[each for each in zip(*lists) if each[0] >= 0] for lists in both]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the first k of each list of a generation.

    All methods raise CacheUnavailable, GenerationGone or BrokenRecord.
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
        for some in _cut(range(buckets), ENTRIES_AT_A_TIME // (BUCKET_SIZE * self.k)):
            keys = [(key(self.manifest.generation, bucket),) for bucket in some]
            found: list[dict[bytes, bytes]] = self._ask("hgetall", keys)
            if not all(found):
                self.expect_whole()
            lists = {n: value for each in found for n, value in each.items() if is_of_somebody(n)}
            yield self._block(list(lists), list(lists.values()), factors, history)

    def users_named(self, names: Sequence[bytes]) -> tuple[NDArray[np.bool_], Block]:
        """Which of these fields are of users here, and the lists of those."""
        known = self.manifest
        buckets = (bucket_of(name, known.user_buckets) for name in names)
        keys = (self.namespace.user_bucket(known.generation, bucket) for bucket in buckets)
        found: list[bytes | None] = self._ask("hget", zip(keys, names, strict=True))
        lists = {n: value for n, value in zip(names, found, strict=True) if value is not None}
        block = self._block(list(lists), list(lists.values()), known.factors, known.history)
        return np.array([value is not None for value in found], bool), block

    def popular(self) -> Block:
        """The list of strangers, alone."""
        name = self.manifest.generation
        (record,) = self._ask("get", [(self.namespace.popular(name),)])
        if record is None:
            raise CacheUnavailable(
                f"generation {name} is live but not there any more; does the cache evict keys "
                f"(maxmemory-policy)? run refresh"
            )
        return self._block([b""], [record], 0, 0)

    def _block(
        self, names: Sequence[bytes], values: Sequence[bytes], factors: int, history: int
    ) -> Block:
        records = [split_value(value, factors, history)[0] for value in values]
        lengths = np.array([len(record) for record in records], np.int64)
        width = self.k * ENTRY_BYTES
        packed = b"".join([record[:width].ljust(width, b"\0") for record in records])
        entries = np.frombuffer(packed, _ENTRY).reshape(len(names), self.k)
        is_there = np.arange(self.k) < lengths[:, np.newaxis] // ENTRY_BYTES
        indices = (entries["item"] & (POPULAR_BIT - 1)).astype(np.int64)
        items = np.where(is_there, indices, -1)
        is_right = not (lengths % ENTRY_BYTES).any() and bool(np.isfinite(entries["score"]).all())
        if not is_right or items.max(initial=-1) >= self.manifest.items:
            name = self.manifest.generation
            raise BrokenRecord(
                f"a list of generation {name} has an item, a score or a length that cannot be"
            )
        return Block(names, items, entries["score"], entries["item"][:, 0] >= POPULAR_BIT)

    def items(self) -> list[str]:
        """The ids of all items, in the order of their indices."""
        known, ids = self.manifest, list[str]()
        for some in _cut(range(known.chunks), STRINGS_AT_A_TIME):
            keys = [(self.namespace.chunk(known.generation, chunk),) for chunk in some]
            for chunk in self._ask("get", keys):
                ids += map(item_of, decode_chunk(chunk or b""))
        if len(ids) != known.items:
            self.expect_whole()
            raise BrokenRecord(f"{len(ids)} documents of {known.items} items")
        return ids

    def documents(self, items: Iterable[int]) -> dict[int, str]:
        """The documents of some items, one chunk at a time."""
        found, chunk, here = dict[int, str](), b"", -1
        for item in sorted(set(items)):
            number, position = document_place(item)
            if number != here:
                key = self.namespace.chunk(self.manifest.generation, number)
                here, (chunk,) = number, self._ask("get", [(key,)])
            found[item] = document(chunk or b"", position).decode()
        return found

    def _ask(self, command: str, arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        pipeline = self.client.pipeline(transaction=False)
        for each in arguments:
            getattr(pipeline, command)(*each)
        with cache_errors():
            return list(pipeline.execute())

    def expect_whole(self) -> None:
        """Raise unless all is there as it was, and nobody has rolled back from it meanwhile."""
        known = self.manifest
        found = Generations(self.client, self.namespace).find(known.generation)
        state = "deleted" if found is None or found.state not in PUBLISHED else found.state
        if state not in (known.state, "complete"):
            raise GenerationGone(
                f"generation {known.generation} was {state} while it was read: run it again"
            )
        if missing := lacks(self.client, self.namespace, known):
            raise CacheUnavailable(f"{known.generation} is not whole any more: {missing}")


def _cut(numbers: range, at_a_time: int) -> Iterator[range]:
    step = max(1, at_a_time)
    return (numbers[first : first + step] for first in numbers[::step])


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
    """The newest good generation that is older. Raises UnknownGeneration."""
    good = [each for each in Generations(client, namespace).all() if each.state == "complete"]
    older = [each for each in good if each.generation < after.generation]
    if not older:
        raise UnknownGeneration(f"no older good generation than {after.generation} is published")
    return older[-1]
