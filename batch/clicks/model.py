"""A click model as whoever trains makes it, and as a generation holds it."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.contracts.clicks import (
    SECTIONS,
    Calibration,
    Column,
    Linear,
    Manifest,
    digest,
    encode_table,
)

Floats = NDArray[np.float64]
Clicked = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Values:
    """What is known of the values of one category column, in the order of their keys.

    keys: u64, see ``value_key``; means, shares, weights: f32, see ``Table`` of the contract.
    """

    keys: NDArray[np.uint64]
    means: NDArray[np.float32]
    shares: NDArray[np.float32]
    weights: NDArray[np.float32]

    def encode(self) -> bytes:
        """As the contract has a table."""
        columns = (self.means, self.shares, self.weights)
        return encode_table(
            self.keys.astype("<u8").tobytes(), *(each.astype("<f4").tobytes() for each in columns)
        )


@dataclass(frozen=True, slots=True)
class Model:
    """What predicts a click. tables: one for each category column, in order.

    trees: LightGBM's text; linear: the second member, None without one.
    """

    columns: tuple[Column, ...]
    prior: float
    tables: Sequence[Values]
    trees: str
    tree_count: int
    linear: Linear | None = None
    calibration: Calibration = Calibration()
    negatives_kept: float = 1.0

    def sections(self) -> dict[str, bytes]:
        """The body of a generation."""
        trees = zlib.compress(self.trees.encode(), 6)
        tables = b"".join(table.encode() for table in self.tables)
        linear = self.linear.encode() if self.linear else b""
        return dict(zip(SECTIONS, (trees, tables, linear), strict=True))

    @classmethod
    def of(cls, manifest: Manifest, body: bytes) -> "Model":
        """The model of a generation. Raises BrokenRecord."""
        trees, tables, linear = manifest.members_of(body)
        return cls(
            columns=manifest.typed_columns,
            prior=manifest.prior,
            tables=[
                Values(*map(np.asarray, (each.keys, each.means, each.shares, each.weights)))
                for each in tables
            ],
            trees=trees,
            tree_count=manifest.trees,
            linear=linear,
            calibration=manifest.calibrated,
            negatives_kept=manifest.negatives_kept,
        )


def sizes_and_hashes(sections: dict[str, bytes]) -> tuple[dict[str, int], dict[str, str]]:
    """What a manifest says of the sections of a body."""
    sizes = {name: len(section) for name, section in sections.items()}
    return sizes, {name: digest(section) for name, section in sections.items()}
