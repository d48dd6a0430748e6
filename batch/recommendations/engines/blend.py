"""Several engines together: what one of them puts first and what another does are weighed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from batch.progress import Advance
from batch.recommendations.engines.engine import Engine, Fitted, Nearest, Scale, Scorer
from batch.recommendations.engines.knn import as_lists
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
    weights: one a part. Users are followed by the factors of the part that has them, and items are
    like those that the part without factors knows.
    """

    parts: Sequence[Engine]
    weights: Sequence[float]

    @property
    def name(self) -> str:
        return "blend"

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
        return self._with_factors().factors

    @property
    def scale(self) -> Scale | None:
        return self._with_factors().scale

    def best(
        self, users: Floats, seen: csr_matrix, excluded: csr_matrix, k: int, threads: int = 0
    ) -> Lists:
        depth = max(k, DEPTH)
        lists = [part.best(users, seen, excluded, depth, threads) for part in self.parts]
        return mixed(lists, self.weights, seen.shape[1], k)

    def nearest(self) -> Nearest:
        return min(self.parts, key=lambda part: part.factors.shape[1]).nearest()

    def _with_factors(self) -> Scorer:
        return max(self.parts, key=lambda part: part.factors.shape[1])


def mixed(parts: Sequence[Lists], weights: Sequence[float], items: int, k: int) -> Lists:
    """The k best of what several lists of the same users name."""
    rows, columns, scores = [], [], []
    floors = np.zeros(len(parts[0]), np.float32)
    for lists, weight in zip(parts, weights, strict=True):
        scaled, floor = _scaled(lists)
        filled = lists.filled
        rows.append(np.nonzero(filled)[0])
        columns.append(lists.items[filled])
        scores.append(((scaled - floor[:, np.newaxis]) * np.float32(weight))[filled])
        floors += floor * np.float32(weight)
    gathered = (np.concatenate(scores), (np.concatenate(rows), np.concatenate(columns)))
    total = csr_matrix(gathered, (len(floors), items))  # it adds up what is named twice
    total.data += np.repeat(floors, np.diff(total.indptr))
    return as_lists(total, k)


def _scaled(lists: Lists) -> tuple[Floats, Floats]:
    """(lists, k): the scores, scaled; (lists,): what an item has that is not named.

    A list that is not full names all that score anything, so that what is not named has 0.
    """
    width = lists.items.shape[1]
    scores = np.where(lists.filled, lists.scores, np.float32(0))
    zero = scores[:, min(_SCALED, width) - 1, np.newaxis]
    span = scores[:, :1] - zero
    span[span <= 0] = 1
    scaled = (scores - zero) / span
    return scaled, scaled[:, -1]
