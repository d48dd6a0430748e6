"""All that a worker holds of a generation, laid out so that a document is one slice of bytes.

It is made once from the chunks that the cache holds, and read by every worker of a machine::

    head      16 bytes that name this layout, CRC-32 of all behind it, and where the rest begins
    documents of all items, one behind the other
    offsets   where each document begins, and where the last one ends (u64 of this machine)
    manifest  JSON
    popular   record
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from mmap import mmap
from typing import BinaryIO

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Manifest, decode_chunk

_NAME = b"larder documents"
_HEAD = struct.Struct("=16sI3Q")
_UNCHECKED = 20
"""The bytes at the front that the checksum is not of."""
_BLOCK = 1 << 20

Opening = Callable[[int], bytes]
"""Gives the document of an item without its closing brace, so that a score can follow.

It raises BrokenRecord for an item that the generation does not hold.
"""


@dataclass(frozen=True, slots=True)
class Documents:
    """A generation but for its lists, which stay in the cache."""

    manifest: Manifest
    popular: bytes
    opening: Opening

    @classmethod
    def of(cls, data: bytes | mmap) -> "Documents":
        """Read what ``write`` has written, which is taken on trust: see ``is_whole``."""
        _, _, offsets, manifest, popular = _HEAD.unpack_from(data)
        return cls(
            Manifest.from_json(data[manifest:popular]),
            data[popular:],
            _openings(data, memoryview(data)[offsets:manifest].cast("Q")),
        )


def _openings(data: bytes | mmap, offsets: memoryview) -> Opening:
    def opening(item: int) -> bytes:
        try:
            return data[offsets[item] : offsets[item + 1] - 1]
        except IndexError:
            raise BrokenRecord(f"a record names item {item}, beyond the last document") from None

    return opening


def write(file: BinaryIO, manifest: Manifest, popular: bytes, chunks: Iterable[bytes]) -> None:
    """Lay out a generation in an empty file.

    Raises BrokenRecord when the chunks are not those, OSError when the file cannot be written.
    """
    file.seek(_HEAD.size)
    offsets, checksum = array("Q", [_HEAD.size]), 0
    for part in _parts(manifest, popular, chunks, offsets):
        checksum = zlib.crc32(part, checksum)
        file.write(part)
    manifest_at = offsets[-1] + len(offsets) * offsets.itemsize
    popular_at = file.tell() - len(popular)
    head = _HEAD.pack(_NAME, 0, offsets[-1], manifest_at, popular_at)
    file.seek(0)
    file.write(_signed(head, checksum))


def _parts(
    manifest: Manifest, popular: bytes, chunks: Iterable[bytes], offsets: "array[int]"
) -> Iterator[bytes]:
    for chunk in chunks:
        documents, start = decode_chunk(chunk), offsets[-1]
        offsets.extend(start + end for end in accumulate(map(len, documents)))
        yield b"".join(documents)
    if len(offsets) != manifest.items + 1:
        raise BrokenRecord(f"{len(offsets) - 1} documents were found of {manifest.items} items")
    yield offsets.tobytes()
    yield manifest.to_json().encode()
    yield popular


def _signed(head: bytes, checksum: int) -> bytes:
    checksum = zlib.crc32(head[_UNCHECKED:], checksum)
    return _NAME + checksum.to_bytes(_UNCHECKED - len(_NAME), sys.byteorder) + head[_UNCHECKED:]


def is_whole(file: BinaryIO) -> bool:
    """Whether a file is as ``write`` has left it. Raises OSError."""
    head, checksum = file.read(_HEAD.size), 0
    while block := file.read(_BLOCK):
        checksum = zlib.crc32(block, checksum)
    return len(head) == _HEAD.size and head == _signed(head, checksum)
