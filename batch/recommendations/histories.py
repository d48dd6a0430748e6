"""The items of users' own that stand behind their vectors: packed for many users at once.

``app.contracts.recommendations.encode_history`` says what the bytes are.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

_HIDDEN = 1 << 12
"""Above every strength: what a user hid comes before all else when there is not room for all."""


def histories(seen: csr_matrix, hidden: csr_matrix | None, most: int) -> list[bytes]:
    """The history of each user: what they hid, and the strongest of what they have.

    seen: (users, items), weights; hidden: as seen, an entry for each pair that its user hid.
    """
    shape = seen.shape
    own = csr_matrix((_strengths(seen.data), seen.indices, seen.indptr), shape)
    if hidden is not None:
        marked = np.full(hidden.nnz, _HIDDEN, np.int32)
        own = own + csr_matrix((marked, hidden.indices, hidden.indptr), shape)
    own = own.sorted_indices()
    kept = _strongest(own, most)
    rows = np.repeat(np.arange(shape[0]), np.diff(own.indptr))[kept]
    counts = np.bincount(rows, minlength=shape[0])
    return _packed(own.indices[kept].astype(np.int64), own.data[kept], counts)


def _strengths(weights: NDArray[np.float32]) -> NDArray[np.int32]:
    """What the contract says of weights that are none of something hidden."""
    logs = np.log2(np.maximum(np.log1p(weights.astype(np.float64)), np.finfo(np.float64).tiny))
    return np.asarray(np.clip(np.rint(1 + 16 * (11 + logs)), 1, 255), np.int32)


def _strongest(own: csr_matrix, most: int) -> NDArray[np.bool_]:
    """Which entries are among the strongest of their user; of equal ones those of lowest index."""
    kept = np.ones(own.nnz, np.bool_)
    for user in np.flatnonzero(np.diff(own.indptr) > most):
        mine = slice(own.indptr[user], own.indptr[user + 1])
        order = np.argsort(-own.data[mine], kind="stable")
        kept[mine][order[most:]] = False
    return kept


def _packed(
    items: NDArray[np.int64], strengths: NDArray[np.int32], counts: NDArray[np.int64]
) -> list[bytes]:
    """The bytes of each user, who has so many of the items, in order."""
    bounds = np.concatenate(([0], np.cumsum(counts)))
    steps = np.diff(items, prepend=0)
    first = bounds[:-1][counts > 0]
    steps[first] = items[first]
    groups = np.ones(len(steps), np.int64)
    for bits in range(7, 32, 7):
        groups += steps >> bits > 0
    ends = np.cumsum(groups + 1)
    packed = np.zeros(ends[-1] if len(ends) else 0, np.uint8)
    for group in range(5):
        more = groups > group
        low = (steps[more] >> 7 * group) & 127
        packed[(ends - groups - 1)[more] + group] = low | (groups[more] > group + 1) * 128
    packed[ends - 1] = np.where(strengths >= _HIDDEN, 0, strengths)
    cuts = np.concatenate(([0], ends))[bounds].tolist()
    data = packed.tobytes()
    return [data[start:end] for start, end in zip(cuts, cuts[1:])]
