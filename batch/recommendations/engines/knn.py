"""Neighbours of items: who has an item gets those that the same users have."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from implicit.nearest_neighbours import tfidf_weight
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, identity, vstack
from sparse_dot_topn import sp_matmul, sp_matmul_topn

from batch.progress import Advance
from batch.recommendations.engines.engine import Fitted, Nearest, no_factors
from batch.recommendations.topk import Floats, Lists, together

Sums = NDArray[np.float64]

_ROWS = 512
"""At a time of whole products, each as long as a user's items have neighbours."""

_NEVER = np.float32(1e9)
"""More than any sum of similarities: taken from the score of what must not be in a list."""


@dataclass(frozen=True, slots=True)
class ItemKNN:
    """Deshpande & Karypis, Item-Based Top-N Recommendation Algorithms, TOIS 22(1), 2004.

    With x who has what, the similarity of items i and j is sum of v x_i x_j over users, divided by
    sqrt((n_i + h) (n_j + h)), where n_i = sum of v x_i. ``neighbours`` are kept of each item. What
    a user has in common with others says less the more they have: v = (their items)^-``damping``;
    or as ``weighting`` has it, TF-IDF or BM25. h is ``shrinkage`` times the mean v: how many users
    have to agree before a similarity counts (Bell & Koren, ICDM 2007, section 3.1). An item's score
    is the sum of its similarities with what the user has. Weights of interactions are not looked
    at: with them lists were worse. It has no factors.
    """

    neighbours: int = 100
    weighting: str = "cosine"
    damping: float = 0.5
    shrinkage: float = 10.0

    name = "knn"
    iterations = 1
    factors = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        return asdict(self)

    def fit(self, weights: csr_matrix, advance: Advance) -> Fitted:
        scorer = NeighbourScorer.of(self.similarities(weights))
        advance(1)
        return Fitted(no_factors(weights.shape[0]), scorer)

    def similarities(self, weights: csr_matrix) -> csr_matrix:
        """(items, items): of each item the similarities with its neighbours, float32."""
        users = self.normalized(weights)
        items = users.T.tocsr()
        found = highest(items, users, self.neighbours + 1)
        found.setdiag(0)
        found.eliminate_zeros()
        return found

    def normalized(self, weights: csr_matrix) -> csr_matrix:
        """(users, items): columns whose inner products are the similarities of items, float32."""
        made = self.by_user(weights)
        lengths = self.lengths(self.tally(made))
        made.data = (made.data / lengths[made.indices]).astype(np.float32)
        return made

    def by_user(self, weights: csr_matrix) -> csr_matrix:
        """The same before columns are scaled; each row depends on itself alone."""
        if self.weighting != "cosine":
            return csr_matrix(tfidf_weight(ones(weights).T).T)
        counts, made = np.diff(weights.indptr), ones(weights)
        made.data = np.repeat(np.maximum(counts, 1) ** (-self.damping / 2), counts)
        return made

    def tally(self, by_user: csr_matrix) -> Sums:
        """What ``lengths`` needs of some users; of others it adds up.

        (items + 2,): sums of squares (of BM25: users), the sum over users of their mean square, and
        how many users there are.
        """
        counts = np.diff(by_user.indptr)
        squares = np.square(by_user.data, dtype=np.float64)
        means = squares / np.repeat(np.maximum(counts, 1), counts)
        own = None if self.weighting == "bm25" else squares
        columns = np.bincount(by_user.indices, own, by_user.shape[1])
        return np.concatenate([columns, [means.sum(), np.count_nonzero(counts)]])

    def lengths(self, tally: Sums) -> Sums:
        """What columns are divided by, (items,): of BM25 no more than its own length of an item.

        Robertson & Zaragoza, The Probabilistic Relevance Framework, 2009, with k1 = 1.2, b = 0.75.
        """
        columns, (means, users) = tally[:-2], tally[-2:]
        if self.weighting == "bm25":
            return np.asarray(1 + 1.2 * (0.25 + 0.75 * columns / (columns.mean() or 1)))
        lengths = np.sqrt(columns + self.shrinkage * means / max(users, 1))
        return np.where(lengths > 0, lengths, 1)


@dataclass(frozen=True, slots=True)
class NeighbourScorer:
    """A ``Scorer``.

    table: (2 x items, items), the similarities of each item with its neighbours, then what each
    takes from its own score where it is excluded.
    """

    table: csr_matrix

    scale = None

    @classmethod
    def of(cls, similarities: csr_matrix) -> "NeighbourScorer":
        """similarities: (items, items), of each item with its neighbours."""
        never = identity(similarities.shape[0], np.float32, "csr") * -_NEVER
        return cls(vstack([similarities, never]).tocsr())

    @property
    def similarities(self) -> csr_matrix:
        return self.table[: self.table.shape[1]]

    @property
    def factors(self) -> Floats:
        return no_factors(self.table.shape[1])

    def best(
        self, users: Floats, seen: csr_matrix, excluded: csr_matrix, k: int, threads: int = 0
    ) -> Lists:
        both = hstack([ones(seen), ones(excluded)]).tocsr()
        return as_lists(highest(both, self.table, min(k, seen.shape[1])), k)

    def nearest(self) -> Nearest:
        """Each item's neighbours, and behind them those whose neighbour it is."""
        mine = self.similarities
        return partial(_nearest, mine.maximum(mine.T).tocsr())


def _nearest(similarities: csr_matrix, chosen: NDArray[np.int64], k: int, threads: int) -> Lists:
    return as_lists(similarities[chosen], k)


def ones(weights: csr_matrix) -> csr_matrix:
    """Who has what, whatever its weight, float32."""
    data = np.ones(weights.nnz, np.float32)
    return csr_matrix((data, weights.indices, weights.indptr), weights.shape)


def highest(rows: csr_matrix, table: csr_matrix, k: int) -> csr_matrix:
    """The k highest numbers above 0 of each row of a product; of equal ones those of lowest column.

    The library keeps any of those that tie for the last place, so such rows are made anew, whole.
    """
    found: csr_matrix = sp_matmul_topn(rows, table, k + 1, threshold=0.0)
    lists = as_lists(found, k + 1)
    if lists.items.shape[1] <= k:
        return found
    tied = (lists.lengths > k) & (lists.scores[:, k - 1] == lists.scores[:, k])
    made = [as_lists(sp_matmul(rows[some], table), k) for some in _some(np.flatnonzero(tied))]
    lists = lists.cut(k)
    if made:
        again = together(made)
        lists.items[tied], lists.scores[tied] = again.items, again.scores
    bounds = np.concatenate([[0], np.cumsum(lists.lengths)])
    filled = lists.filled
    return csr_matrix((lists.scores[filled], lists.items[filled], bounds), found.shape)


def _some(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(rows), _ROWS):
        yield rows[first : first + _ROWS]


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
