"""The neighbours of each item by the cosine of their factors: exact, without most of the products.

Items that point the same way are taken together, some hundred at a time: a *cone*. By the
Cauchy-Schwarz inequality the angle of any other item to the middle of the cone bounds its cosine to
all of them. The others are taken in descending order of that bound, until it is below what every
item of the cone has found; what comes behind cannot be a neighbour.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from batch.recommendations.descent import (
    Doubles,
    Floats,
    Indices,
    Keys,
    exact,
    merged,
    norms_of,
    packed,
    scores_of,
    unpacked,
)
from batch.recommendations.topk import FAINTEST, Lists

CONE = 512
"""Items of a cone: more share the work of sorting, fewer point the same way."""

LISTED = 2**22
"""Entries of lists to make at once: more items at once make narrower cones."""

_CONES_AT_A_TIME = 8
_OTHERS_AT_A_TIME = 1024
_SAMPLE = 4096


@dataclass(frozen=True, slots=True)
class Company:
    """What some users tell of which items belong together; ``add`` that of others.

    users: (items,), how many have each; told: (items,), whether anybody who has the item has
    another one too; reach: the length of the longest row of the users' factors.
    """

    users: Indices
    told: NDArray[np.bool_]
    reach: float

    @classmethod
    def of(cls, users: Floats, seen: csr_matrix) -> "Company":
        """users: (users, factors); seen: (users, items), what they have."""
        counts, items = np.diff(seen.indptr), seen.shape[1]
        alone = seen.indices[seen.indptr[:-1][counts == 1]]
        having = np.bincount(seen.indices, minlength=items)
        told = having > np.bincount(alone, minlength=items)
        return cls(having, told, float(np.linalg.norm(users, axis=1).max(initial=0)))

    def add(self, other: "Company") -> "Company":
        return Company(
            self.users + other.users, self.told | other.told, max(self.reach, other.reach)
        )

    def directions(self, items: Floats) -> Floats:
        """Where each item points: rows of length 1, see ``unit_rows``, or 0 for what is not known.

        Of some items the model can know no neighbours: nobody who has them has anything else, or
        the fit has left nothing of their factors. Where such factors point is chance.
        """
        unit = unit_rows(items)
        faint = np.linalg.norm(items, axis=1) * self.reach < FAINTEST
        unit[faint | ~self.told] = 0
        return unit


def unit_rows(factors: Floats) -> Floats:
    """Scale each row to length 1; a row of zeros stays. In float32 a small row has no length."""
    lengths = norms_of(factors)
    lengths[lengths == 0] = 1
    unit = np.empty(factors.shape, np.float32)
    np.divide(factors, lengths[:, np.newaxis], out=unit, casting="same_kind")
    return unit


def most_similar(unit: Floats, chosen: Indices, k: int, threads: int = 0) -> Lists:
    """Find the k other items of highest cosine to each chosen item; only cosines above 0 count.

    unit: (items, factors), rows of length 1 or 0 (see ``unit_rows``); chosen: their indices, each
    once; threads: 0 takes all cores. A score is the inner product in double precision, rounded to
    float32. Equal scores are in the order of the item indices, and those of lowest index get in.
    """
    k = min(k, len(unit))
    keys = np.zeros((len(chosen), k), np.uint64)
    pointing = np.flatnonzero(unit[chosen].any(axis=1))
    with (
        threadpool_limits(1, user_api="blas"),  # the cones have threads of their own
        ThreadPoolExecutor(threads or os.cpu_count()) as pool,
    ):
        cones = list(_cones(unit, chosen, pointing)) if k else []
        groups = (
            cones[first : first + _CONES_AT_A_TIME]
            for first in range(0, len(cones), _CONES_AT_A_TIME)
        )
        for _ in pool.map(lambda group: _fill(keys, unit, chosen, group), groups):
            pass
    keys.sort(axis=1)
    items, scores = unpacked(keys[:, ::-1])
    return Lists(items, scores, (keys > 0).sum(axis=1, dtype=np.int32))


def _cones(unit: Floats, chosen: Indices, places: Indices) -> Iterator[Indices]:
    """Cut places of ``chosen`` into halves along their longest axis, until a cone holds each."""
    if len(places) <= CONE:
        if len(places):
            yield places
        return
    some = unit[chosen[places[:: -(-len(places) // _SAMPLE)]]].astype(np.float64)
    some -= some.mean(axis=0)
    axis = some[np.argmax(np.einsum("if,if->i", some, some))]
    for _ in range(5):  # the power method: near enough
        axis = some.T @ (some @ axis)
        axis /= np.linalg.norm(axis) or 1.0
    along = np.concatenate(
        [
            unit[chosen[places[first : first + _SAMPLE]]] @ axis
            for first in range(0, len(places), _SAMPLE)
        ]
    )
    half = len(places) // 2
    order = np.argpartition(along, half)
    yield from _cones(unit, chosen, places[order[:half]])
    yield from _cones(unit, chosen, places[order[half:]])


def _fill(keys: Keys, unit: Floats, chosen: Indices, cones: Sequence[Indices]) -> None:
    """Find the neighbours of some cones; their rows of ``keys`` are nobody else's."""
    middles = [unit[chosen[places]].mean(axis=0, dtype=np.float64) for places in cones]
    middles = [middle / (np.linalg.norm(middle) or 1.0) for middle in middles]
    along = np.asarray(middles, np.float32) @ unit.T
    for places, middle, cosines in zip(cones, middles, along, strict=True):
        items = chosen[places]
        bounds = _bounds(unit[items] @ middle, cosines, _slack(unit))
        keys[places] = _nearest(unit, items, bounds, keys.shape[1])


def _bounds(inside: Doubles, outside: Floats, slack: float) -> Floats:
    """The highest cosine that each item may have to any of a cone, shape (items,).

    inside, outside: the cosines to the middle of those in the cone and of all items. Of two
    vectors of length 1 the parts along the middle multiply; those across it do at most.
    """
    across = np.sqrt(1 - np.square(np.maximum(np.abs(outside) - np.float32(slack), 0)))
    widest = np.sqrt(np.maximum(1 - np.square(inside), 0).max())
    along = np.maximum(outside * np.float32(inside.max()), outside * np.float32(inside.min()))
    return np.asarray(along + across * np.float32(widest) + np.float32(2 * slack), np.float32)


def _slack(unit: Floats) -> float:
    """More than twice what float32 may add to, or take from, a cosine (Higham, section 3.1)."""
    return float((2 * unit.shape[1] + 16) * np.finfo(np.float32).eps)


def _nearest(unit: Floats, items: Indices, bounds: Floats, k: int) -> Keys:
    """The keys of the k neighbours of each item of a cone, in any order."""
    slack = np.float32(_slack(unit))
    mine, best = unit[items], np.zeros((len(items), k), np.uint64)
    order = np.argsort(-bounds)
    at_a_time = max(_OTHERS_AT_A_TIME, 2 * k)
    for first in range(0, len(order), at_a_time):
        others = order[first : first + at_a_time]
        reached = np.maximum(scores_of(best.min(axis=1)), np.float32(0))
        open_ = np.flatnonzero(reached <= bounds[others[0]])
        if not len(open_):
            break
        products = mine[open_] @ unit[others].T
        needed = reached[open_]
        if len(others) > k and not first:  # nothing was found yet, so nearly all would pass
            needed = np.maximum(needed, np.partition(products, -k - 1, axis=1)[:, -k - 1])
        passed = np.flatnonzero(products >= (needed - slack)[:, np.newaxis])
        rows, columns = np.divmod(passed, len(others))
        found = _keys(unit, items[open_[rows]], others[columns])
        best[open_] = merged(best[open_], rows, found)
    return best


def _keys(unit: Floats, mine: Indices, others: Indices) -> Keys:
    """The keys of pairs of items; 0 for what is no pair of two, or has no cosine above 0."""
    scores = exact(unit, mine, unit, others)
    keys = packed(scores, others.astype(np.int32))
    return np.where((scores > 0) & (mine != others), keys, np.uint64(0))
