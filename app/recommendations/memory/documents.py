"""All that a worker holds of a generation, laid out so that a document is one slice of bytes.

It is made once from the parts that the cache holds, and read by every worker of a machine::

    head      16 bytes that name this layout, CRC-32 of all behind it, and where the rest begins
    documents of all items, one behind the other
    offsets   where each document begins, and where the last one ends (u64 of this machine)
    index     hashes of all item ids, in order (u64), then the index of the item of each (u32)
    columns   what requests may filter by, as ``app.contracts.filtering.columns`` has them
    factors   see ``factors``
    manifest  JSON
    popular   record

The factors are there when a live generation met numpy; where they are not, the head has a 0.
"""

import struct
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from json import JSONEncoder
from mmap import mmap
from typing import BinaryIO

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import INDEX_BYTES, Manifest, decode_chunk, item_of
from app.recommendations.memory.factors import ALIGNMENT, Factors, section_bytes

_NAME = b"larder machine 3"
_HEAD = struct.Struct("=16sI4x6Q")
_UNCHECKED = 20
"""The bytes at the front that the checksum is not of."""
_BLOCK = 1 << 20

Opening = Callable[[int], bytes]
"""Gives the document of an item without its closing brace, so that a score can follow.

It raises BrokenRecord for an item that the generation does not hold.
"""

Finding = Callable[[str], int | None]
"""Gives the index of the item of an id; None when the generation does not hold it."""

_ENCODER = JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Documents:
    """A generation but for its lists, which stay in the cache.

    columns: the bytes of all; factors: None where the file was made without.
    """

    manifest: Manifest
    popular: bytes
    opening: Opening
    find: Finding
    columns: memoryview
    factors: Factors | None = None

    @classmethod
    def of(cls, data: bytes | mmap) -> "Documents":
        """Read what ``write`` has written, which is taken on trust: see ``is_whole``."""
        _, _, *places = _HEAD.unpack_from(data)
        offsets_at, index_at, columns_at, factors_at, manifest_at, popular_at = places
        manifest = Manifest.from_json(data[manifest_at:popular_at])
        view, items = memoryview(data), manifest.items
        offsets = view[offsets_at : offsets_at + 8 * (items + 1)].cast("Q")
        opening = _openings(data, offsets)
        index = view[index_at : index_at + INDEX_BYTES * items]
        end = factors_at + section_bytes(items, manifest.factors)
        return cls(
            manifest,
            data[popular_at:],
            opening,
            _findings(index, items, opening),
            view[columns_at : columns_at + manifest.column_bytes],
            Factors.of(view[factors_at:end], manifest) if factors_at else None,
        )


def _openings(data: bytes | mmap, offsets: memoryview) -> Opening:
    def opening(item: int) -> bytes:
        try:
            return data[offsets[item] : offsets[item + 1] - 1]
        except IndexError:
            raise BrokenRecord(f"a record names item {item}, beyond the last document") from None

    return opening


def _findings(index: memoryview, items: int, opening: Opening) -> Finding:
    hashes, numbers = index[: 8 * items].cast("Q"), index[8 * items :].cast("I")

    def find(item: str) -> int | None:
        start = b'{"item":%b' % _ENCODER.encode(item).encode(errors="surrogatepass")
        wanted = _hash(item)
        place = bisect_left(hashes, wanted)
        while place < items and hashes[place] == wanted:
            found = opening(number := numbers[place])
            if found == start or found.startswith(start + b","):
                return number
            place += 1
        return None

    return find


def _hash(item: str) -> int:
    plain = item.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(plain, digest_size=8).digest(), "big")


class _Output:
    """A file that is written from its head on; at: how far."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(_HEAD.size)
        self._file, self.at, self.checksum = file, _HEAD.size, 0

    def write(self, part: bytes) -> None:
        self.checksum = zlib.crc32(part, self.checksum)
        self.at += self._file.write(part)

    def align(self, to: int) -> int:
        """Go on at a multiple of so many bytes, and say where that is."""
        self.write(bytes(-self.at % to))
        return self.at


def write(
    file: BinaryIO,
    manifest: Manifest,
    popular: bytes,
    chunks: Iterable[bytes],
    columns: Iterable[bytes] = (),
    factors: Iterable[bytes] = (),
) -> None:
    """Lay out a generation in an empty file; factors: see ``factors.laid_out``.

    Raises BrokenRecord when chunks or columns are not those, OSError when the file cannot be
    written.
    """
    output, offsets, hashes = _Output(file), array("Q", [_HEAD.size]), array("Q")
    for chunk in chunks:
        documents, start = decode_chunk(chunk), offsets[-1]
        offsets.extend(start + end for end in accumulate(map(len, documents)))
        output.write(b"".join(documents))
        hashes.extend(_hash(item_of(each)) for each in documents)
    if len(offsets) != manifest.items + 1:
        raise BrokenRecord(f"{len(offsets) - 1} documents were found of {manifest.items} items")
    places = [output.align(8)]
    output.write(offsets.tobytes())
    places.append(output.at)
    _write_index(output, hashes)
    places.append(_write_columns(output, columns, manifest))
    places.append(_write_factors(output, factors))
    places.append(output.at)
    output.write(manifest.to_json().encode())
    places.append(output.at)
    output.write(popular)
    file.seek(0)
    file.write(_signed(_HEAD.pack(_NAME, 0, *places), output.checksum))


def _write_index(output: _Output, hashes: "array[int]") -> None:
    order = array("I", sorted(range(len(hashes)), key=hashes.__getitem__))
    output.write(array("Q", [hashes[item] for item in order]).tobytes())
    output.write(order.tobytes())


def _write_columns(output: _Output, parts: Iterable[bytes], manifest: Manifest) -> int:
    start = output.align(8)
    for part in parts:
        output.write(part)
    if output.at - start != manifest.column_bytes:
        raise BrokenRecord(f"{output.at - start} bytes of columns were found")
    return start


def _write_factors(output: _Output, parts: Iterable[bytes]) -> int:
    """Where they begin; 0 for none."""
    found = 0
    for part in parts:
        found = found or output.align(ALIGNMENT)
        output.write(part)
    return found


def _signed(head: bytes, checksum: int) -> bytes:
    checksum = zlib.crc32(head[_UNCHECKED:], checksum)
    return _NAME + checksum.to_bytes(_UNCHECKED - len(_NAME), sys.byteorder) + head[_UNCHECKED:]


def is_whole(file: BinaryIO) -> bool:
    """Whether a file is as ``write`` has left it. Raises OSError."""
    head, checksum = file.read(_HEAD.size), 0
    while block := file.read(_BLOCK):
        checksum = zlib.crc32(block, checksum)
    return len(head) == _HEAD.size and head == _signed(head, checksum)
