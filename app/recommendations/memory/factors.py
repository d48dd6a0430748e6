"""What the file of a machine holds of a live generation beside its documents: factors of items.

They come as half floats and lie there as floats, ready to be multiplied. This is the one module
here that needs numpy, and only while the file is made: the extra ``live`` installs it, and without
it the file has no factors.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Manifest

ALIGNMENT = 64
"""Where the factors begin: a multiple of so many bytes."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Parts of the mapped file, for ``numpy.frombuffer``; numbers are this machine's, in C order.

    width: how many numbers each item has. rows: f32 (items, width), the longest first. norms: f32
    (items,), of each row or one behind it, so that they never rise. items: u32 (items,), the index
    of the item of each row; places: u32 (items,), the row of each item. matrix: f32 (width, width),
    M of the contract; mean: f32 (width,), of users' factors; confidence, penalty: c and the penalty
    of the contract.
    """

    width: int
    rows: memoryview
    norms: memoryview
    items: memoryview
    places: memoryview
    matrix: memoryview
    mean: memoryview
    confidence: float
    penalty: float

    @classmethod
    def of(cls, data: memoryview, manifest: Manifest) -> "Factors":
        """Read what ``laid_out`` has made."""
        ends = list(accumulate(4 * size for size in _sizes(manifest.items, manifest.factors)))
        parts = [data[start:end] for start, end in zip([0, *ends], ends)]
        rows, norms, items, places, matrix, mean, numbers = parts
        confidence, penalty = struct.unpack("2f", numbers)
        width = manifest.factors
        return cls(width, rows, norms, items, places, matrix, mean, confidence, penalty)


def section_bytes(items: int, width: int) -> int:
    """How long the part of the file is that ``laid_out`` makes."""
    return 4 * sum(_sizes(items, width))


def _sizes(items: int, width: int) -> tuple[int, ...]:
    """How many numbers of four bytes each part has, in the order of the file."""
    return items * width, items, items, items, width * width, width, 2


def can_lay_out() -> bool:
    """Whether numpy is installed."""
    return find_spec("numpy") is not None


def laid_out(manifest: Manifest, model: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The part of the file, piece by piece, from the parts of the generation.

    Raises BrokenRecord when they are not those of so many items and factors.
    """
    import numpy as np

    items, width = manifest.items, manifest.factors
    norms = np.empty(items, np.float32)
    at = 0
    for chunk in chunks:
        if len(chunk) % (2 * width) or at + len(chunk) // (2 * width) > items:
            raise BrokenRecord(f"a chunk of {len(chunk)} bytes holds no factors of {width}")
        rows = np.frombuffer(chunk, "<f2").astype(np.float32).reshape(-1, width)
        norms[at : at + len(rows)] = np.linalg.norm(rows, axis=1)
        at += len(rows)
        yield rows.tobytes()
    head = width * width + width + 2
    if at != items or len(model) != 4 * (head + items):
        raise BrokenRecord(f"{at} rows of factors and a model of {len(model)} bytes were found")
    numbers = np.frombuffer(model, "<f4", head).astype(np.float32)
    of_rows = np.frombuffer(model, "<u4", items, 4 * head).astype(np.uint32)
    places = np.argsort(of_rows).astype(np.uint32)
    if not np.array_equal(of_rows[places], np.arange(items)):
        raise BrokenRecord("the rows of factors are not those of the items, each once")
    never_rising = np.maximum.accumulate(norms[::-1])[::-1]
    for part in (never_rising, of_rows, places, numbers):
        yield part.tobytes()
