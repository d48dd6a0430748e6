"""EASE: a linear model of each item by all others, in closed form."""

import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from batch.errors import BadSettings, NotGoodEnough
from batch.progress import Advance
from batch.recommendations.engines.engine import Fitted, Nearest, no_factors
from batch.recommendations.engines.knn import ItemKNN, NeighbourScorer, ones
from batch.recommendations.terms import EASE_ITEMS
from batch.recommendations.topk import Floats, Lists, best_scored, together

log = logging.getLogger("larder.ease")

_BLOCK = 128


@dataclass(frozen=True, slots=True)
class Ease:
    """Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.

    With X who has what, V of users' weights, G = X'VX and P = (G + penalty I)^-1, items' weights
    are B = I - P / diag(P), zero on the diagonal, and X B the scores. As in ``ItemKNN`` a user
    counts (their items)^-``damping``, here over the mean of that. P takes items^2 numbers of four
    bytes and items^3 products, so catalogues of more than ``ease_items`` are refused; unless only
    the ``most`` popular items are modelled, and the others are in no list. Weights of interactions
    are not looked at. It has no factors.
    """

    ease_penalty: float = 400.0
    ease_items: int = EASE_ITEMS
    damping: float = 0.5
    most: int | None = None

    name = "ease"
    iterations = 1
    factors = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        settings: dict[str, Any] = {"penalty": self.ease_penalty, "damping": self.damping}
        if self.most is not None:
            settings["most"] = self.most
        return {f"ease_{name}": value for name, value in settings.items()}

    def modelled(self, items: int) -> int:
        """How many of so many items are. Raises BadSettings when they are too many."""
        if self.most is not None:
            return min(self.most, items)
        if items > self.ease_items:
            raise BadSettings(
                f"--engine ease takes up to {self.ease_items:,} items (--ease-items) and here are "
                f"{items:,}, which would take {4 * items**2 / 1e9:,.1f} GB: choose --engine auto"
            )
        return items

    def fit(self, weights: csr_matrix, advance: Advance) -> Fitted:
        items = self.modelled(weights.shape[1])
        log.info("ease takes %.1f GB for %s items", 4 * items**2 / 1e9, f"{items:,}")
        having = np.bincount(weights.indices, minlength=weights.shape[1])
        chosen = np.sort(np.argsort(-having, kind="stable")[:items])
        scorer = EaseScorer(self._weights(weights, chosen), chosen, weights)
        advance(1)
        return Fitted(no_factors(weights.shape[0]), scorer)

    def _weights(self, weights: csr_matrix, chosen: NDArray[np.int64]) -> Floats:
        """B of some items, computed in the place of G; only one of them is in memory."""
        counts, seen = np.diff(weights.indptr), ones(weights)
        each = np.maximum(counts, 1) ** -self.damping
        each /= each[counts > 0].mean() if counts.any() else 1
        seen.data = np.repeat(np.sqrt(each), counts).astype(np.float32)
        seen = seen[:, chosen]
        gram = np.asfortranarray((seen.T @ seen).toarray(), np.float32)
        np.einsum("ii->i", gram)[:] += np.float32(self.ease_penalty)
        gram, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
        if not failed:
            gram, failed = lapack.spotri(gram, lower=1, overwrite_c=1)
        if failed:
            raise NotGoodEnough("training failed: choose a higher --ease-penalty")
        rows: Floats = gram.T  # symmetric, and in the order of C
        _mirror(rows)
        rows /= -np.diagonal(rows).copy()
        np.fill_diagonal(rows, 0)
        return rows


def _mirror(matrix: Floats) -> None:
    """Fill what is below the diagonal from what is above it."""
    for first in range(0, len(matrix), _BLOCK):
        last = first + _BLOCK
        square = np.triu(matrix[first:last, first:last])
        matrix[first:last, first:last] = square + np.triu(square, 1).T
        matrix[last:, first:last] = matrix[first:last, last:].T


@dataclass(frozen=True, slots=True)
class EaseScorer:
    """A ``Scorer``. weights: (chosen, chosen), B of ``Ease``; chosen: which items these are.

    seen: (all users, items).
    """

    weights: Floats
    chosen: NDArray[np.int64]
    seen: csr_matrix

    scale = None

    @property
    def factors(self) -> Floats:
        return no_factors(self.seen.shape[1])

    def best(
        self, users: Floats, seen: csr_matrix, excluded: csr_matrix, k: int, threads: int = 0
    ) -> Lists:
        def block(first: int) -> Lists:
            part = slice(first, first + _BLOCK)
            scores = ones(seen[part][:, self.chosen]) @ self.weights
            return best_scored(scores, excluded[part][:, self.chosen], k)

        with (
            threadpool_limits(1, user_api="blas"),  # or blocks leave each other's limit behind
            ThreadPoolExecutor(threads or os.cpu_count()) as pool,
        ):
            made = list(pool.map(block, range(0, max(seen.shape[0], 1), _BLOCK)))
        lists = together(made)
        return replace(lists, items=self.chosen[lists.items].astype(np.int32))

    def nearest(self) -> Nearest:
        """By cosine: B tells what an item adds to others, not what is like it."""
        return NeighbourScorer.of(ItemKNN().similarities(self.seen)).nearest()
