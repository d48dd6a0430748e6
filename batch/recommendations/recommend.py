"""The lists of users as they are served: personal, filled with what is popular; or popular alone.

What is evaluated and what is served both come from ``recommend``.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.recommendations.engines.engine import Fitted
from batch.recommendations.histories import histories
from batch.recommendations.terms import Terms
from batch.recommendations.topk import Floats, Lists, most_popular, nothing


@dataclass(frozen=True, slots=True)
class Crowd:
    """What makes lists beside a model: what all users together have, and whether it may come again.

    share: (items,), see ``popularity``; repeat: whether a list may hold what its user has already.
    """

    share: Floats
    repeat: bool = False

    def excluded(self, seen: csr_matrix, hidden: csr_matrix | None = None) -> csr_matrix:
        """What must not be in the lists of users who have seen, and who hid, this."""
        again = nothing(*seen.shape) if self.repeat else seen
        return again if hidden is None else csr_matrix(again + hidden)


def recommend(
    fitted: Fitted,
    crowd: Crowd,
    seen: csr_matrix,
    users: NDArray[np.int64],
    k: int,
    threads: int = 0,
    hidden: csr_matrix | None = None,
) -> Lists:
    """Make the lists of some users as they are served: personal, or popular for strangers.

    seen, and hidden where anything is: (all users, items); users: their indices. A list that the
    model leaves shorter than it could be is filled with what is popular, which scores nothing.
    """
    rows = seen[users]
    excluded = crowd.excluded(rows, None if hidden is None else hidden[users])
    lists = fitted.scorer.best(fitted.users[users], rows, excluded, k, threads)
    return filled(lists, crowd.share, excluded, k, threads)


def filled(lists: Lists, share: Floats, excluded: csr_matrix, k: int, threads: int = 0) -> Lists:
    """The lists of k of some users; what is missing, and is not excluded, is popular."""
    room = np.minimum(k, len(share) - np.diff(excluded.indptr))
    short = np.flatnonzero(lists.lengths < room)
    return _filled(lists, share, excluded, short, k, threads) if len(short) else lists


def made(
    fitted: Fitted,
    crowd: Crowd,
    seen: csr_matrix,
    users: NDArray[np.int64],
    terms: Terms,
    threads: int = 0,
    hidden: csr_matrix | None = None,
) -> Lists:
    """As ``recommend``, with what a live generation stores behind the lists if that is wanted."""
    lists = recommend(fitted, crowd, seen, users, terms.stored or terms.k, threads, hidden)
    if not terms.stored:
        return lists
    lists = with_vectors(lists, fitted.users[users])
    if not terms.history:
        return lists
    own = histories(seen[users], None if hidden is None else hidden[users], terms.history)
    return replace(lists, histories=own)


def with_vectors(lists: Lists, users: Floats) -> Lists:
    """The lists with the factors of their users, but 0 for who has no list of their own."""
    return replace(lists, vectors=users * lists.personal[:, np.newaxis])


def _filled(
    lists: Lists,
    share: Floats,
    excluded: csr_matrix,
    short: NDArray[np.int64],
    k: int,
    threads: int,
) -> Lists:
    """Lists whose short rows go on with what is popular; those of strangers are that alone."""
    lists = _widened(lists, min(k, len(share)))
    items, scores, lengths = lists.items.copy(), lists.scores.copy(), lists.lengths.copy()
    mine = lists.rows(short)
    others = excluded[short] + _listed(mine, len(share))
    popular = most_popular(share, others, items.shape[1], threads)
    strangers = mine.lengths == 0
    places = np.arange(items.shape[1]) - mine.lengths[:, np.newaxis]  # in the popular list
    last = np.where(mine.filled, mine.scores, np.float32(0)).min(axis=1, initial=0)
    filling = np.where(strangers[:, np.newaxis], popular.scores, last[:, np.newaxis])
    items[short] = np.where(
        mine.filled, mine.items, np.take_along_axis(popular.items, np.maximum(places, 0), 1)
    )
    scores[short] = np.where(mine.filled, mine.scores, filling)
    lengths[short] = np.minimum(mine.lengths + popular.lengths, items.shape[1])
    if not strangers.any():
        return replace(lists, items=items, scores=scores, lengths=lengths)
    flags = np.zeros(len(lists), bool)
    flags[short] = strangers
    return replace(lists, items=items, scores=scores, lengths=lengths, popular=flags)


def _widened(lists: Lists, width: int) -> Lists:
    """The lists in rows of that width; what is named by nobody may leave them narrower."""
    missing = ((0, 0), (0, width - lists.items.shape[1]))
    return replace(lists, items=np.pad(lists.items, missing), scores=np.pad(lists.scores, missing))


def _listed(lists: Lists, items: int) -> csr_matrix:
    """(lists, items): what is in them."""
    bounds = np.concatenate([[0], np.cumsum(lists.lengths)]).astype(np.int32)
    listed = lists.items[lists.filled]
    made = csr_matrix((np.ones(len(listed), np.float32), listed, bounds), (len(lists), items))
    made.sort_indices()
    return made
