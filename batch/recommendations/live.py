"""What a live generation holds beside its lists, so that readers can follow what users do.

The factors of items and the model are those of the contract; each user's vector lies behind the
user's list.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.contracts.recommendations import MODEL, factors_part, rows_of_chunk
from batch.recommendations.engines.engine import Fitted, Scale
from batch.recommendations.topk import BLOCK

_MAX_FACTOR = float(np.finfo(np.float16).max)
_MOST = 127
"""The largest number of a vector, whose scale makes it so."""


@dataclass(frozen=True, slots=True)
class Live:
    """A fitted model as readers need it.

    items: (items, factors) float32; mean: (factors,), the mean of users' factors.
    """

    items: NDArray[np.float32]
    mean: NDArray[np.float64]
    scale: Scale

    @classmethod
    def of(cls, fitted: Fitted) -> "Live | None":
        """What is known of a model that was fitted on implicit feedback; None without factors."""
        scorer = fitted.scorer
        if scorer.scale is None:
            return None
        return cls(scorer.factors, fitted.users.mean(axis=0, dtype=np.float64), scorer.scale)

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """The name and the bytes of each part: factors of the longest items first."""
        rows = np.clip(self.items, -_MAX_FACTOR, _MAX_FACTOR).astype("<f2")
        order = np.argsort(-_lengths(rows), kind="stable")
        numbers = [self._solution(), self.mean, [self.scale.confidence, self.scale.penalty]]
        packed = [np.asarray(each, "<f4").tobytes() for each in numbers]
        yield MODEL, b"".join([*packed, order.astype("<u4").tobytes()])
        step = rows_of_chunk(self.items.shape[1])
        for number, first in enumerate(range(0, len(order), step)):
            yield factors_part(number), rows[order[first : first + step]].tobytes()

    def _solution(self) -> NDArray[np.float64]:
        """(Y'Y + penalty I)^-1, or what is nearest to it where a penalty of 0 leaves no inverse."""
        gram = gram_of(self.items)
        penalty = self.scale.penalty * np.eye(len(gram))
        return np.asarray(np.linalg.pinv(gram + penalty, hermitian=True))


def _lengths(rows: NDArray[np.float16]) -> NDArray[np.float32]:
    """Of each row as a reader has it, rounded; a block at a time, as they are f32 meanwhile."""
    blocks = [rows[first : first + BLOCK] for first in range(0, len(rows), BLOCK)]
    return np.concatenate([np.linalg.norm(each.astype(np.float32), axis=1) for each in blocks])


def gram_of(factors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The Gram matrix of rows of factors, (factors, factors), in double precision."""
    total = np.zeros((factors.shape[1], factors.shape[1]))
    for first in range(0, len(factors), BLOCK):
        wide = factors[first : first + BLOCK].astype(np.float64)
        total += wide.T @ wide
    return total


def encode_vectors(vectors: NDArray[np.float32]) -> list[bytes]:
    """Each row as a vector of the contract: rounded to 127 steps on each side of 0."""
    count, factors = vectors.shape
    if not factors:
        return [b""] * count
    scales = np.abs(vectors).max(axis=1, initial=0) / _MOST
    packed = np.empty(count, [("scale", "<f4"), ("numbers", "i1", (factors,))])
    packed["scale"] = scales
    steps = np.where(scales > 0, scales, 1)[:, np.newaxis]
    packed["numbers"] = np.clip(np.rint(vectors / steps), -_MOST, _MOST)
    return [row.tobytes() for row in packed]
