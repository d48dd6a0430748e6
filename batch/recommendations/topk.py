"""The best unseen items of each user by inner products; what is popular."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.recommendations.descent import Falling, best, highest, unpacked

BLOCK = 8192
"""Users at a time: memory is a block's lists and some 10 MB of scores a thread."""

FAINTEST = 0.01
"""A model knows nothing of a user who could not get a score so high, whatever the item: what it has
learned that a user has is near 1, or is a rating."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Lists:
    """Top-k lists of several users, best first.

    items: (lists, k) int32 item indices; scores: (lists, k) float32; lengths: (lists,) int32, how
    many entries of each row count. What lies behind a row's length has no meaning. popular:
    (lists,), which of them are what is popular; None for none. vectors: (lists, factors), see
    ``with_vectors``; None where nobody asked for them. histories: the bytes of what
    the user of each has; None where nobody asked.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    lengths: NDArray[np.int32]
    popular: NDArray[np.bool_] | None = None
    vectors: NDArray[np.float32] | None = None
    histories: Sequence[bytes] | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, rows: NDArray[np.int64]) -> "Lists":
        """Some of the lists."""
        return Lists(self.items[rows], self.scores[rows], self.lengths[rows])

    def cut(self, k: int) -> "Lists":
        """The first k entries of each."""
        return Lists(self.items[:, :k], self.scores[:, :k], np.minimum(self.lengths, k))

    @property
    def filled(self) -> NDArray[np.bool_]:
        """(lists, k): which entries count."""
        return np.arange(self.items.shape[1]) < self.lengths[:, np.newaxis]

    @property
    def personal(self) -> NDArray[np.bool_]:
        """(lists,): which of them hold something, and no more popular than fits their user."""
        there: NDArray[np.bool_] = self.lengths > 0
        return there if self.popular is None else there & ~self.popular


def together(parts: Sequence[Lists]) -> Lists:
    """Items, scores and lengths of several, in that order; at least one."""
    return Lists(
        np.concatenate([each.items for each in parts]),
        np.concatenate([each.scores for each in parts]),
        np.concatenate([each.lengths for each in parts]),
    )


def best_unseen(
    user_factors: NDArray[np.float32],
    item_factors: NDArray[np.float32] | Falling,
    seen: csr_matrix,
    k: int,
    threads: int = 0,
) -> Lists:
    """Find each user's k items of highest inner product among those that the user has not seen.

    user_factors: (users, factors); item_factors: (items, factors), or made ``Falling`` once for
    many calls; seen: (users, items), whose stored entries are excluded whatever their value;
    threads: 0 takes all cores. A user with fewer than k unseen items gets a shorter list. A score
    is the inner product in double precision, rounded to float32. Equal scores are in the order of
    the item indices, and those of lowest index get in.
    """
    users, items = seen.shape
    k = min(k, items)
    if users == 0 or k == 0:
        empty = np.zeros((users, k))
        return Lists(empty.astype(np.int32), empty.astype(np.float32), np.zeros(users, np.int32))
    falling = item_factors if isinstance(item_factors, Falling) else Falling.of(item_factors)
    return _lists(best(user_factors, falling, seen, k, threads))


def best_scored(scores: Floats, excluded: csr_matrix, k: int) -> Lists:
    """Find each user's k items of highest score above 0 among those that are not excluded.

    scores: (users, items), of which those of what is excluded are lost; excluded: of that shape.
    Equal scores are in the order of the item indices, and those of lowest index get in.
    """
    return _lists(highest(scores, excluded, min(k, scores.shape[1])))


def _lists(keys: NDArray[np.uint64]) -> Lists:
    return Lists(*unpacked(keys), (keys > 0).sum(axis=1, dtype=np.int32))


def popularity(seen: csr_matrix) -> NDArray[np.float32]:
    """The share of users who have each item, shape (items,)."""
    counts = np.bincount(seen.indices, minlength=seen.shape[1])
    return (counts / max(seen.shape[0], 1)).astype(np.float32)


def most_popular(share: NDArray[np.float32], seen: csr_matrix, k: int, threads: int = 0) -> Lists:
    """Find the k most popular items that each user has not seen.

    share: (items,), see ``popularity``; seen: (users, items). Equal shares are in the order of the
    item indices.
    """
    ones = np.ones((seen.shape[0], 1), np.float32)
    ranked = Falling.ranked(np.argsort(-share, kind="stable"))
    lists = best_unseen(ones, ranked, seen, k, threads)
    return replace(lists, scores=share[lists.items])


def popular_list(share: NDArray[np.float32], k: int) -> Lists:
    """The one list of whoever has seen nothing; share: (items,), see ``popularity``."""
    return most_popular(share, nothing(1, len(share)), k)


def nothing(users: int, items: int) -> csr_matrix:
    """A matrix of users who have no items."""
    bounds = np.zeros(users + 1, np.int32)
    return csr_matrix((np.zeros(0, np.float32), bounds[:0], bounds), (users, items))
