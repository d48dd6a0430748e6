"""What lists are measured by beside hits: which items are popular, and which are alike.

Both come from what users have and not from a model, so that lists of any engine can be compared.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix

from batch.recommendations.topk import Lists, popularity

HEAD = 0.33
"""The short head: the most popular items that have this share of all pairs together."""

_SEED = 2003


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All items, as the part that is trained on knows them.

    share: (items,), the share of users who have each; directions: (items, 65), see ``directions``.
    """

    share: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, seen: csr_matrix) -> "Catalogue":
        """seen: (users, items), what is trained on."""
        return cls(popularity(seen), directions(seen.T))

    @property
    def parts(self) -> NDArray[np.bool_]:
        """(2, items): which of them are the short head, and which the tail: all others.

        Cremonesi, Koren & Turrin, Performance of Recommender Algorithms on Top-N Recommendation
        Tasks, RecSys 2010.
        """
        order = np.argsort(-self.share, kind="stable")
        falling = self.share[order].astype(np.float64)
        head = np.zeros(len(order), bool)
        head[order] = np.cumsum(falling) - falling < HEAD * falling.sum()
        return np.stack([head, ~head])

    @property
    def novelty(self) -> NDArray[np.float64]:
        """(items,): -log2 of the share of users who have the item, in bits.

        An item that nobody has counts as the rarest that somebody has. Zhou et al., Solving the
        apparent diversity-accuracy dilemma of recommender systems, PNAS 107(10), 2010.
        """
        rarest = self.share[self.share > 0].min(initial=1.0)
        return np.asarray(-np.log2(np.maximum(self.share, rarest), dtype=np.float64))

    def diversity(self, lists: Lists) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of each list, whether it has a pair of items (1 or 0) and the mean of 1 - cosine over it.

        Pairs of an item that nobody has do not count. The cosines of n unit vectors add up to
        (|sum|^2 - n) / 2. Vargas & Castells, Rank and Relevance in Novelty and Diversity Metrics
        for Recommender Systems, RecSys 2011.
        """
        starts = np.concatenate([[0], np.cumsum(lists.lengths)])
        listed = lists.items[lists.filled]
        ones = np.ones(len(listed), np.float32)
        chosen = csr_matrix((ones, listed, starts), (len(lists), len(self.share)))
        summed = chosen @ self.directions
        known = (chosen @ (self.share > 0)).astype(np.float64)
        cosines = np.einsum("lf,lf->l", summed, summed, dtype=np.float64) - known
        has_pair = (known > 1).astype(np.float64)
        return has_pair, has_pair * (1 - cosines / np.maximum(known * (known - 1), 1))


def directions(items: csr_matrix | csc_matrix) -> NDArray[np.float32]:
    """Where each item points: rows of length 1, or 0 for an item that nobody has; (items, 65).

    items: (items, users), of which counts what is stored and no weight. The cosine of two rows is
    about that of the same rows of ``items``; a mean over lists is within .03 or so. The first
    number is how many users have the item, which most of a cosine comes from, and is exact. The
    others project what is left on 64 random signs of each user: Achlioptas, Database-friendly
    random projections, JCSS 66(4), 2003. Blocks of items may be projected one by one.
    """
    users = items.shape[1]
    bits = np.random.PCG64(_SEED).random_raw(users).view(np.uint8).reshape(-1, 8)
    has = items.astype(bool).astype(np.float32)
    share = has @ np.ones((users, 1), np.float32) / np.float32(users)
    parts = [np.sqrt(np.float32(64 * users)) * share]
    for some in np.hsplit(bits, 8):
        signs = 1 - 2 * np.unpackbits(some, axis=1).astype(np.float32)
        parts.append(has @ signs - share * signs.sum(axis=0))
    rows = np.concatenate(parts, axis=1)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))
