"""The keys of a generation as they are written: how much each should hold, and its CRC-32.

A part is a string or a hash; both are written some at a time, and verified in the same way.
"""

import operator
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

from app.contracts.generations import Manifest, Space
from batch.errors import CacheUnavailable
from batch.generations.connect import Client, cache_errors

STRINGS_AT_A_TIME = 32
SAMPLE = 64
"""How many parts of either kind are read back."""

_SIZES_AT_A_TIME = 1000


class _Parts:
    """What was written of one kind of part. SIZE: the command that tells how much a key holds."""

    SIZE: ClassVar[str]

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.sizes = array("I")
        self.checksums = array("I")

    @property
    def checksum(self) -> int:
        """The sum of the CRC-32 of all parts."""
        return sum(self.checksums)

    def verify(self, client: Client) -> None:
        """Ask the server for the size of every part and the content of a sample of them.

        Raises CacheUnavailable when one is not there as it was written.
        """
        found = self.sizes_of(client, self.keys)
        for key, written, there in zip(self.keys, self.sizes, found, strict=True):
            expect(key, "size", written, there)
        for number in range(0, len(self.keys), max(1, len(self.keys) // SAMPLE)):
            key = self.keys[number]
            expect(key, "checksum", self.checksums[number], self.read_back(client, key))

    @classmethod
    def sizes_of(cls, client: Client, keys: Sequence[str]) -> list[int]:
        """How much these keys hold now."""
        sizes: list[int] = []
        for first in range(0, len(keys), _SIZES_AT_A_TIME):
            pipeline = client.pipeline(transaction=False)
            for key in keys[first : first + _SIZES_AT_A_TIME]:
                getattr(pipeline, cls.SIZE)(key)
            with cache_errors():
                sizes += pipeline.execute()
        return sizes

    @staticmethod
    def read_back(client: Client, key: str) -> int:
        """The CRC-32 of what a key holds now."""
        raise NotImplementedError

    def _note(self, key: str, size: int, checksum: int) -> None:
        self.keys.append(key)
        self.sizes.append(size)
        self.checksums.append(checksum)


class Strings(_Parts):
    """Parts that are one string each; their size is in bytes."""

    SIZE = "strlen"

    def write(self, client: Client, values: Iterable[tuple[str, bytes]]) -> None:
        """Write keys with their values. Raises CacheUnavailable."""
        remaining = iter(values)
        while batch := list(islice(remaining, STRINGS_AT_A_TIME)):
            pipeline = client.pipeline(transaction=False)
            for key, value in batch:
                pipeline.set(key, value)
                self._note(key, len(value), zlib.crc32(value))
            _execute(pipeline)

    @staticmethod
    def read_back(client: Client, key: str) -> int:
        with cache_errors():
            return zlib.crc32(client.get(key) or b"")


class Hashes(_Parts):
    """Parts that are a hash each; their size is the number of fields."""

    SIZE = "hlen"

    def fullest(self, last: int = 0) -> tuple[str, int] | None:
        """The hash of most fields, and how many those are; of the last so many, or (0) of all."""
        pairs = zip(self.keys[-last:], self.sizes[-last:], strict=True)
        return max(pairs, key=operator.itemgetter(1), default=None)

    def write(self, client: Client, hashes: Iterable[tuple[str, Mapping[bytes, bytes]]]) -> None:
        """Write these in one go, without those that are empty. Raises CacheUnavailable."""
        pipeline = client.pipeline(transaction=False)
        for key, entries in hashes:
            if entries:
                pipeline.hset(key, mapping=entries)
                self._note(key, len(entries), _checksum(entries))
        _execute(pipeline)

    @staticmethod
    def read_back(client: Client, key: str) -> int:
        with cache_errors():
            return _checksum(client.hgetall(key))


def expect(what: str, measure: str, written: int, found: int) -> None:
    """Raise CacheUnavailable when the cache holds something else than was written."""
    if written != found:
        raise CacheUnavailable(
            f"the cache did not keep what was written: {what} should have {measure} {written}, "
            f"found {found}; does it evict keys (maxmemory-policy)?"
        )


def lacks(client: Client, space: Space[Any], manifest: Manifest) -> str:
    """Say what a published generation has lost, by the sizes of its parts; "" when it is whole."""
    for parts in manifest.parts():
        keys = [space.part(manifest.generation, name) for name in parts.names]
        kind, unit = (Strings, "bytes") if parts.type == "string" else (Hashes, "fields")
        if parts.amount is None:
            continue
        sizes = kind.sizes_of(client, keys)
        # A hash without entries of its own holds one all the same, see the contract.
        if sum(sizes) < parts.amount or not all(sizes):
            return (
                f"{keys[0]} and its like should hold {parts.amount:,} {unit}, "
                f"found {sum(sizes):,}; does the cache evict keys (maxmemory-policy)?"
            )
    return ""


def _checksum(entries: Mapping[bytes, bytes]) -> int:
    """CRC-32 of a hash, whatever the order in which the server returns its fields."""
    return zlib.crc32(b"".join(sorted(map(operator.add, entries.keys(), entries.values()))))


def _execute(pipeline: Any) -> None:
    with cache_errors():
        pipeline.execute()
