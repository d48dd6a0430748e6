"""The user's vector after what the user did since training, and the lists that follow from it.

The only module of the API that imports numpy. What it computes is the closed form of one step of
the training (Hu, Koren & Volinsky, ICDM 2008): with M = (Y'Y + penalty I)^-1, the factors V of a
few items and the confidences C in them, the normal equations (M^-1 + V'(C - I)V) x = M^-1 start +
V'C 1 are solved in a matrix of items x items by the Woodbury identity. ``start`` is the user's
vector from training, whose own history it stands for, or that of the mean user for a newcomer.
"""

import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.recommendations.memory.factors import Factors
from app.recommendations.memory.near_cache import Entries

Floats = NDArray[np.float32]

_FIRST_BLOCK = 512
_MORE = 4
"""What was done since training says more of what comes next than what was done long before: so many
times helps users most, and with one event, too (``make bench-live``)."""

_ROUNDING = 1 + 1e-5
_SHORTEST = 1e-30
"""The length of a vector without one, so that it divides."""
_TINY = 1e-9
_SCALE = struct.Struct("<f")


class Model:
    """The factors of a generation's items, as they lie in the machine's file."""

    def __init__(self, factors: Factors) -> None:
        width = factors.width
        self._rows = np.frombuffer(factors.rows, np.float32).reshape(-1, width)
        self._norms = np.frombuffer(factors.norms, np.float32)
        self._items = np.frombuffer(factors.items, np.uint32)
        self._places = np.frombuffer(factors.places, np.uint32)
        self._matrix = np.frombuffer(factors.matrix, np.float32).reshape(width, width)
        self._confidence = np.float32(factors.confidence)
        mean = np.frombuffer(factors.mean, np.float32)
        self._newcomer = self._matrix @ (np.float32(factors.penalty) * mean)

    def again(self, vector: bytes, entries: Entries, weights: Mapping[int, float]) -> Entries:
        """A list in order anew: its scores, and ``_MORE`` times what such events add to products.

        So what a blend knows beside the factors stays in the order.
        """
        start = self._start(vector)
        more = np.float32(_MORE) * (self._moved(start, weights) - start)
        items, stored = zip(*entries, strict=True)
        scores = np.array(stored, np.float32) + self._picked(items) @ more
        order = (-scores).argsort(kind="stable").tolist()
        found = scores.tolist()
        return [(items[place], found[place]) for place in order]

    def first(self, weights: Mapping[int, float], without: Collection[int], n: int) -> Entries:
        """The best n of all items for somebody of whom only events of those weights are known."""
        vector = self._moved(self._newcomer, weights)
        rows, scores = self._best(vector, self._places[list(without)], n)
        return list(zip(self._items[rows].tolist(), scores.tolist(), strict=True))

    def score(self, vector: bytes, weights: Mapping[int, float], item: int) -> float:
        """That of one item, for a user as in ``over``."""
        return float(self._rows[self._places[item]] @ self._taste(vector, weights))

    def why(self, weights: Mapping[int, float], item: int) -> list[tuple[int, float]]:
        """What each of these items adds to the score of another, the most first.

        For confidences C in the items' factors Y the solution of the equations is x = W Y' C 1, so
        the score is the sum over items j of c_j y_j' W y, section 5 of the paper. What came of the
        mean user is in none of them.
        """
        if not weights:
            return []
        factors = self._picked(list(weights))
        confidences = self._confidences(weights)
        wanted = self._matrix @ self._rows[self._places[item]]
        seen = _solved(factors, factors @ self._matrix, confidences, wanted)
        added = (confidences * (factors @ seen)).tolist()
        return sorted(zip(weights, added, strict=True), key=lambda each: -each[1])

    def over(
        self,
        vector: bytes,
        weights: Mapping[int, float],
        allowed: bytes | None,
        without: Collection[int],
        n: int,
    ) -> Entries:
        """The best n of the items that are allowed, for a user whose vector those events move.

        vector: empty for whom nobody knows. allowed: a byte an item, 0 or 1; None for all.
        """
        moved = self._taste(vector, weights)
        gone = self._places[list(without)]
        among = None
        if allowed is not None:
            among = np.flatnonzero(np.frombuffer(allowed, np.bool_)[self._items])
        rows, scores = self._best(moved, gone, n, among)
        return list(zip(self._items[rows].tolist(), scores.tolist(), strict=True))

    def varied(self, strength: float, entries: Entries, n: int) -> Entries:
        """The best n by maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998).

        strength: 0 by the scores alone, of which the lowest counts as 0 and the highest as 1; 1 by
        the cosine to the nearest of those before alone.
        """
        if len(entries) < 2:
            return entries
        items, given = zip(*entries, strict=True)
        scores = np.array(given, np.float32)
        scores = (scores - scores.min()) / max(float(np.ptp(scores)), _TINY)
        rows = self._picked(items)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
        nearest = np.zeros(len(rows), np.float32)
        chosen: list[int] = []
        for _ in range(min(n, len(rows))):
            worth = (1 - strength) * scores - strength * nearest
            worth[chosen] = -np.inf
            best = int(worth.argmax())
            cosines = rows @ rows[best]
            nearest = np.maximum(nearest, cosines) if chosen else cosines
            chosen.append(best)
        return [entries[each] for each in chosen]

    def _taste(self, vector: bytes, weights: Mapping[int, float]) -> Floats:
        start = self._start(vector) if vector else self._newcomer
        return self._moved(start, weights) if weights else start

    def _picked(self, items: Sequence[int]) -> Floats:
        """The factors of these items; ``take`` costs half of what an index of many does."""
        found: Floats = self._rows.take(self._places.take(items), axis=0)
        return found

    def _start(self, vector: bytes) -> Floats:
        (scale,) = _SCALE.unpack_from(vector)
        start: Floats = np.frombuffer(vector, np.int8, offset=_SCALE.size) * np.float32(scale)
        return start

    def _moved(self, start: Floats, weights: Mapping[int, float]) -> Floats:
        factors = self._picked(list(weights))
        confidences = self._confidences(weights)
        spread = factors @ self._matrix
        return _solved(factors, spread, confidences, start + confidences @ spread)

    def _confidences(self, weights: Mapping[int, float]) -> Floats:
        found: Floats = np.log1p(np.array(list(weights.values()), np.float32)) * self._confidence
        return found

    def _best(
        self,
        vector: Floats,
        without: NDArray[np.uint32],
        n: int,
        among: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], Floats]:
        """The rows of the n highest scores, which end where no later norm allows a higher one.

        among: the rows to choose from, in their order; all, if None.
        """
        if among is not None:
            among = among[~np.isin(among, without)]
        norms = self._norms if among is None else self._norms[among]
        length = max(float(np.sqrt(vector @ vector)) * _ROUNDING, _SHORTEST)
        rows, scores = np.empty(0, np.int64), np.empty(0, np.float32)
        start, size, least, end = 0, _FIRST_BLOCK, -np.inf, len(norms)
        while start < end:
            part = slice(start, min(start + size, end))
            block = self._rows[part if among is None else among[part]] @ vector
            if among is None:
                inside = without[(without >= start) & (without < start + len(block))]
                block[inside - start] = -np.inf
            found = np.flatnonzero(block > least)
            rows = np.concatenate((rows, found + start))
            scores = np.concatenate((scores, block[found]))
            if len(rows) > n:
                kept = np.sort(np.argpartition(-scores, n - 1)[:n])
                rows, scores = rows[kept], scores[kept]
            if len(rows) >= n:
                least = scores.min()
                end = len(norms) - int(norms[::-1].searchsorted(least / length))
            start, size = start + size, 2 * size
        order: Any = np.argsort(-scores, kind="stable")
        return (rows if among is None else among[rows])[order], scores[order]


def _solved(factors: Floats, spread: Floats, confidences: Floats, vector: Floats) -> Floats:
    """(M^-1 + V'(C - I)V)^-1 M^-1 of a vector, where V are factors and spread is V M."""
    more = confidences - 1
    system = (spread @ factors.T) * more[:, np.newaxis]
    system.flat[:: len(factors) + 1] += 1
    # (I + D V M V')^-1 D V z is D (I + V M V' D)^-1 V z, where D = C - I may have zeros.
    solved = np.linalg.solve(system, more * (factors @ vector))
    return np.asarray(vector - solved @ spread, np.float32)
