"""Several engines together: what one of them puts first and what another does are weighed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.progress import Advance
from batch.recommendations.engines.engine import Engine, Fitted, Nearest, Scale, Scorer
from batch.recommendations.topk import Floats, Lists

DEPTH = 100
"""How many items each part names."""

_SCALED = 50
"""The place at which a part's score becomes 0."""


@dataclass(frozen=True, slots=True)
class Blend:
    """A weighted sum of scaled scores (Fox & Shaw, Combination of Multiple Searches, 1994).

    Each part names its DEPTH best items of a user. Its scores are scaled so that its best has 1 and
    its 50th has 0. What a part does not name has the score of the last that it does.
    weights: one a part. Users are followed by the factors of the part that has them, on whose scale
    the scores are: what an event adds to its products can be added to them. Items are like those
    that the part without factors knows.
    """

    parts: Sequence[Engine]
    weights: Sequence[float]

    name = "blend"

    @property
    def iterations(self) -> int:
        return sum(part.iterations for part in self.parts)

    @property
    def factors(self) -> int:
        return sum(part.factors for part in self.parts)

    @property
    def settings(self) -> Mapping[str, Any]:
        shares = {part.name: each for part, each in zip(self.parts, self.weights, strict=True)}
        merged: dict[str, Any] = {"blend": shares}
        for part in self.parts:
            merged |= part.settings
        return merged

    def fit(self, weights: csr_matrix, advance: Advance) -> Fitted:
        return blended([part.fit(weights, advance) for part in self.parts], self.weights)


def blended(parts: Sequence[Fitted], weights: Sequence[float]) -> Fitted:
    """Fitted models as one; at most one of them has factors."""
    users = max((part.users for part in parts), key=lambda users: users.shape[1])
    return Fitted(users, BlendScorer(tuple(part.scorer for part in parts), tuple(weights)))


@dataclass(frozen=True, slots=True)
class BlendScorer:
    """A ``Scorer``."""

    parts: tuple[Scorer, ...]
    weights: tuple[float, ...]

    @property
    def factors(self) -> Floats:
        return self.parts[self._leading].factors

    @property
    def scale(self) -> Scale | None:
        return self.parts[self._leading].scale

    def best(
        self, users: Floats, seen: csr_matrix, excluded: csr_matrix, k: int, threads: int = 0
    ) -> Lists:
        depth = max(k, DEPTH)
        lists = [part.best(users, seen, excluded, depth, threads) for part in self.parts]
        best = Named.of(lists, seen.shape[1]).best(self.weights, k)
        _, span = _scale(lists[self._leading])
        return replace(best, scores=best.scores * span)

    def nearest(self) -> Nearest:
        return min(self.parts, key=lambda part: part.factors.shape[1]).nearest()

    @property
    def _leading(self) -> int:
        """The part with factors."""
        return max(range(len(self.parts)), key=lambda part: self.parts[part].factors.shape[1])


@dataclass(frozen=True, slots=True)
class Named:
    """What several parts name of some users.

    items: (users, named) int32, rising; scores: (parts, users, named) float32, scaled; lengths:
    (users,), how many of a row count; what lies behind has a score of -infinity.
    """

    items: NDArray[np.int32]
    scores: Floats
    lengths: NDArray[np.int32]

    @classmethod
    def of(cls, parts: Sequence[Lists], items: int) -> "Named":
        """parts: the lists of the same users; items: how many there are."""
        users = len(parts[0])
        keys = [each.items + items * np.arange(users)[:, np.newaxis] for each in parts]
        every = np.concatenate([key[each.filled] for key, each in zip(keys, parts, strict=True)])
        union, place = np.unique(every, return_inverse=True)
        rows = union // items
        lengths = np.bincount(rows, minlength=users)
        columns = np.arange(len(union)) - (np.cumsum(lengths) - lengths)[rows]
        shape = users, int(lengths.max(initial=0))
        named, scores = np.zeros(shape, np.int32), np.empty((len(parts), *shape), np.float32)
        named[rows, columns] = union % items
        starts = np.cumsum([0, *(each.lengths.sum() for each in parts)])
        for number, each in enumerate(parts):
            scaled = _scaled(each)
            mine = place[starts[number] : starts[number + 1]]
            scores[number] = scaled[:, -1:]
            scores[number][rows[mine], columns[mine]] = scaled[each.filled]
        scores[:, np.arange(shape[1]) >= lengths[:, np.newaxis]] = -np.inf
        return cls(named, scores, lengths.astype(np.int32))

    def best(self, weights: Sequence[float], k: int) -> Lists:
        """The k of the highest weighted sums; equal ones in the order of the items."""
        sums = np.einsum("p,pun->un", np.asarray(weights, np.float32), self.scores)
        order = np.argsort(-sums, axis=1, kind="stable")[:, :k]
        items, scores = (np.take_along_axis(each, order, 1) for each in (self.items, sums))
        return Lists(items, scores, np.minimum(self.lengths, k))


def _scaled(lists: Lists) -> Floats:
    """(lists, k): the scores, scaled; the last column is what an item has that is not named.

    A list that is not full names all that score anything, so that what is not named has 0.
    """
    zero, span = _scale(lists)
    return np.asarray((_filled(lists) - zero) / span, np.float32)


def _scale(lists: Lists) -> tuple[Floats, Floats]:
    """(lists, 1) each: the score that becomes 0, and how much more the best has."""
    scores = _filled(lists)
    zero = scores[:, min(_SCALED, scores.shape[1]) - 1, np.newaxis]
    span = scores[:, :1] - zero
    span[span <= 0] = 1
    return zero, span


def _filled(lists: Lists) -> Floats:
    return np.where(lists.filled, lists.scores, np.float32(0))
