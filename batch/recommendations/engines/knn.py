"""Neighbours of items: who has an item gets those that the same users have."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from implicit.nearest_neighbours import bm25_weight, normalize, tfidf_weight
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, identity, vstack
from sparse_dot_topn import sp_matmul_topn

from batch.progress import Advance
from batch.recommendations.engines.engine import Fitted, Nearest, no_factors
from batch.recommendations.topk import Floats, Lists

_NEVER = np.float32(1e9)
"""More than any sum of similarities: taken from the score of what must not be in a list."""


@dataclass(frozen=True, slots=True)
class ItemKNN:
    """Deshpande & Karypis, Item-Based Top-N Recommendation Algorithms, TOIS 22(1), 2004.

    ``neighbours`` are kept of each item, those of the highest cosine of the users who have both;
    ``weighting`` is that of the users before (TF-IDF or BM25 make those count less who have much).
    An item's score for a user is the sum of its similarities with what the user has. Weights of
    interactions are not looked at. It has no factors: users are followed by the neighbours of what
    they do.
    """

    neighbours: int = 50
    weighting: str = "cosine"

    @property
    def name(self) -> str:
        return "knn"

    @property
    def iterations(self) -> int:
        return 1

    @property
    def factors(self) -> int:
        return 0

    @property
    def settings(self) -> Mapping[str, Any]:
        return asdict(self)

    def fit(self, weights: csr_matrix, advance: Advance) -> Fitted:
        scorer = NeighbourScorer(self.similarities(weights))
        advance(1)
        return Fitted(no_factors(weights.shape[0]), scorer)

    def similarities(self, weights: csr_matrix) -> csr_matrix:
        """(items, items): of each item the similarities with its neighbours, float32."""
        users = self.weighted(weights)
        found: csr_matrix = sp_matmul_topn(
            users.T.tocsr(), users, self.neighbours + 1, threshold=0.0
        )
        found.setdiag(0)
        found.eliminate_zeros()
        return found

    def weighted(self, weights: csr_matrix) -> csr_matrix:
        """(users, items): columns whose inner products are the similarities of items."""
        items = ones(weights).T
        if self.weighting == "bm25":
            items = bm25_weight(items)
        elif self.weighting == "tfidf":
            items = tfidf_weight(items)
        with np.errstate(invalid="ignore"):
            made: csr_matrix = normalize(items).T.tocsr().astype(np.float32)
        made.data[~np.isfinite(made.data)] = 0
        return made


@dataclass(frozen=True, slots=True)
class NeighbourScorer:
    """A ``Scorer``. similarities: (items, items), of each item with its neighbours."""

    similarities: csr_matrix

    @property
    def factors(self) -> Floats:
        return no_factors(self.similarities.shape[0])

    @property
    def scale(self) -> None:
        return None

    def best(
        self, users: Floats, seen: csr_matrix, excluded: csr_matrix, k: int, threads: int = 0
    ) -> Lists:
        items = self.similarities.shape[0]
        never = identity(items, np.float32, "csr") * -_NEVER
        both = hstack([ones(seen), ones(excluded)]).tocsr()
        table = vstack([self.similarities, never]).tocsr()
        return as_lists(sp_matmul_topn(both, table, min(k, items), threshold=0.0), k)

    def nearest(self) -> Nearest:
        """Each item's neighbours, and behind them those whose neighbour it is."""
        return partial(_nearest, self.similarities.maximum(self.similarities.T).tocsr())


def _nearest(similarities: csr_matrix, chosen: NDArray[np.int64], k: int, threads: int) -> Lists:
    return as_lists(similarities[chosen], k)


def ones(weights: csr_matrix) -> csr_matrix:
    """Who has what, whatever its weight, float32."""
    data = np.ones(weights.nnz, np.float32)
    return csr_matrix((data, weights.indices, weights.indptr), weights.shape)


def as_lists(scores: csr_matrix, k: int) -> Lists:
    """The k highest entries of each row; equal ones in the order of their columns."""
    rows, items = scores.shape
    counts = np.diff(scores.indptr)
    order = np.lexsort((scores.indices, -scores.data, np.repeat(np.arange(rows), counts)))
    k = min(k, items)
    lengths = np.minimum(counts, k).astype(np.int32)
    first = np.arange(k) < lengths[:, np.newaxis]
    places = order[(scores.indptr[:-1, np.newaxis] + np.arange(k))[first]]
    found = np.zeros((rows, k), np.int32)
    values = np.zeros((rows, k), np.float32)
    found[first], values[first] = scores.indices[places], scores.data[places]
    return Lists(found, values, lengths)
