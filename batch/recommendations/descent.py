"""The best unseen items of users: exact, without most of the products.

Items are taken in order of falling norm, some hundred at a time. By the Cauchy-Schwarz inequality
the norms of a user and of the next item bound what any item to come can score; a user whose k-th
best score is above that is done (Teflioudi et al., LEMP, SIGMOD 2015). What passes by its float32
product is scored again in double precision, so that no list depends on where BLAS rounds.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

_USERS = 512
_PRODUCTS = 2**19
"""At a time on a thread: as users get done, those who are left get more items."""

_DOUBLES = 256
_EPSILON = float(np.finfo(np.float32).eps)
_TINY = float(np.finfo(np.float32).tiny)
_LOWEST = np.finfo(np.float32).min
_ZERO = np.uint64(2**63)

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int32]
Indices = NDArray[np.int64]
Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Falling:
    """Items in order of falling norm: make it once for many calls with the same items.

    factors: (items, factors), by index; order: (items,), the index at each place; norms: (items,),
    at each place; places: (items,), of each index.
    """

    factors: Floats
    order: Integers
    norms: Doubles
    places: Integers

    @classmethod
    def of(cls, factors: Floats) -> "Falling":
        norms = norms_of(factors)
        order = np.argsort(-norms).astype(np.int32)
        places = np.empty_like(order)
        places[order] = np.arange(len(order), dtype=np.int32)
        return cls(factors, order, norms[order], places)

    @classmethod
    def ranked(cls, order: Indices) -> "Falling":
        """Items in that order, of one factor: for users of 1 each scores more than those behind it.

        order: (items,), their indices. No two tie, so that a walk ends where its lists are full.
        """
        factors = np.empty((len(order), 1), np.float32)
        factors[order, 0] = np.arange(len(order), 0, -1)
        return cls.of(factors)

    def ends(self, scores: Floats, norms: Doubles) -> Indices:
        """The place from which no item can reach such scores with users of such norms."""
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = np.where(scores > 0, scores / (norms * (1 + 4 * _EPSILON)), 0)
        return np.searchsorted(-self.norms, -needed, side="right")


def best(users: Floats, items: Falling, seen: csr_matrix, k: int, threads: int) -> Keys:
    """The keys of each user's k best items among those not seen, best first; see ``unpacked``.

    threads: 0 takes all cores.
    """
    threads = threads or os.cpu_count() or 1
    keys = np.zeros((len(users), k), np.uint64)
    at_a_time = min(_USERS, -(-len(users) // threads))
    firsts = iter(range(0, len(users), at_a_time))

    def work(_: int) -> None:
        room = np.empty(max(_PRODUCTS, 2 * k * (at_a_time + 1)), np.float32)
        for first in firsts:
            some = slice(first, first + at_a_time)
            with np.errstate(over="ignore", invalid="ignore"):  # what is infinite comes first
                _walk(keys[some], users[some], items, seen[some], room)

    with (
        threadpool_limits(1, user_api="blas"),  # the walks have threads of their own
        ThreadPoolExecutor(threads) as pool,
    ):
        for _ in pool.map(work, range(threads)):
            pass
    indifferent = np.flatnonzero(~users.any(axis=1))
    if len(indifferent):
        keys[indifferent] = _lowest(seen[indifferent], k, threads)
    return keys


def highest(scores: Floats, seen: csr_matrix, k: int) -> Keys:
    """The same of scores above 0 that are known already: (users, items), of which some are lost."""
    if not scores.size:
        return np.zeros((len(scores), k), np.uint64)
    rows = np.repeat(np.arange(len(scores)), np.diff(seen.indptr))
    scores[rows, seen.indices] = 0
    needed = np.maximum(_reached(scores, k), np.finfo(np.float32).smallest_subnormal)
    rows, columns = np.divmod(np.flatnonzero(scores >= needed[:, np.newaxis]), scores.shape[1])
    found = packed(scores[rows, columns], columns.astype(np.int32))
    keys = merged(np.zeros((len(scores), k), np.uint64), rows, found)
    return np.sort(keys, axis=1)[:, ::-1]


def _lowest(seen: csr_matrix, k: int, threads: int) -> Keys:
    """The keys of users to whom all items are equal: the lowest indices, with scores of 0."""
    users, items = seen.shape
    ranked = Falling.ranked(np.arange(items))
    keys = best(np.ones((users, 1), np.float32), ranked, seen, k, threads)
    return np.where(keys > 0, _ZERO | keys & np.uint64(2**32 - 1), np.uint64(0))


def unpacked(keys: Keys) -> tuple[Integers, Floats]:
    """The items and the scores of keys, which are in order of falling score and rising item."""
    items = np.where(keys > 0, ~keys.astype(np.uint32), np.uint32(0))
    return items.astype(np.int32), np.where(keys > 0, scores_of(keys), np.float32(0))


def merged(best: Keys, rows: Indices, found: Keys) -> Keys:
    """The highest keys of each row: of ``best``, and of those found, in the order of rows."""
    counts = np.bincount(rows, minlength=len(best))
    wide = np.zeros((len(best), counts.max(initial=0)), np.uint64)
    wide[rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = found
    both = np.concatenate([best, wide], axis=1)
    return np.partition(both, wide.shape[1], axis=1)[:, wide.shape[1] :]


def _walk(keys: Keys, users: Floats, items: Falling, seen: csr_matrix, room: Floats) -> None:
    """Fill the keys of some users. keys and room (for products) are nobody else's."""
    struck, norms, k = _Struck.of(seen, items.places), norms_of(users), keys.shape[1]
    open_, first, end = np.flatnonzero(norms), 0, len(items.order)
    while len(open_):
        last = min(first + len(room) // (len(open_) + 1), end)
        chosen = items.order[first:last]
        products = struck.products(users, open_, items.factors[chosen], first, room)
        needed = scores_of(keys[open_].min(axis=1)) if first else _reached(products, k)
        slack = _slack(users.shape[1], items.norms[first] * norms[open_])
        needed = np.maximum(needed - slack, _LOWEST).astype(np.float32)
        rows, columns = np.divmod(
            np.flatnonzero(products >= needed[:, np.newaxis]), products.shape[1]
        )
        scores = exact(users, open_[rows], items.factors, chosen[columns])
        found = packed(scores, chosen[columns])
        keys[open_] = mine = merged(keys[open_], rows, found)
        ends = items.ends(scores_of(mine.min(axis=1)), norms[open_])
        open_, first, end = open_[ends > last], last, ends.max()
    keys[:] = np.sort(keys, axis=1)[:, ::-1]


def _slack(factors: int, norms: Doubles) -> Doubles:
    """More than twice what float32 may add to, or take from, products (Higham, section 3.1)."""
    return (factors + 8) * (_EPSILON * norms + _TINY)


@dataclass(frozen=True, slots=True)
class _Struck:
    """What some users have seen: the places of items, rising, and the rows of the users."""

    places: Integers
    rows: Integers

    @classmethod
    def of(cls, seen: csr_matrix, places: Integers) -> "_Struck":
        rows = np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr))
        both = np.sort(places[seen.indices].astype(np.int64) << 32 | rows)
        return cls((both >> 32).astype(np.int32), both.astype(np.int32))

    def products(
        self, users: Floats, open_: Indices, items: Floats, first: int, room: Floats
    ) -> Floats:
        """(open, items): of some users and the items from that place on; -inf of what was seen."""
        shape = len(open_) + 1, len(items)
        products = room[: shape[0] * shape[1]].reshape(shape)
        np.dot(users[open_], items.T, out=products[:-1])
        lines = np.full(len(users), len(open_))  # of those who are done: the line too many
        lines[open_] = np.arange(len(open_))
        some = slice(*np.searchsorted(self.places, [first, first + len(items)]))
        places = lines[self.rows[some]] * len(items) + (self.places[some] - first)
        products.reshape(-1)[places] = -np.inf
        return products[:-1]


def _reached(products: Floats, k: int) -> Floats:
    """A score that k products of each row reach, and few more."""
    groups = min(max(64, 4 * k), products.shape[1])
    if groups < k:
        return np.full(len(products), -np.inf, np.float32)
    whole = products[:, : products.shape[1] // groups * groups]
    highest = whole.reshape(len(products), -1, groups).max(axis=1)
    return np.partition(highest, groups - k, axis=1)[:, groups - k]


def exact(users: Floats, rows: Indices, items: Floats, chosen: Integers | Indices) -> Floats:
    """The inner product of each pair of rows, in double precision, rounded."""
    scores = np.empty(len(rows), np.float32)
    for first in range(0, len(rows), _DOUBLES):
        part = slice(first, first + _DOUBLES)
        pairs = users[rows[part]].astype(np.float64), items[chosen[part]].astype(np.float64)
        scores[part] = np.vecdot(*pairs)
    return scores


def packed(scores: Floats, items: Integers) -> Keys:
    """A number for each pair that grows with the score and falls with the item; none is 0."""
    bits = (scores + np.float32(0)).view(np.int32)  # no negative zero
    rising = (bits ^ (bits >> 31 | np.int32(-(2**31)))).view(np.uint32)
    return rising.astype(np.uint64) << np.uint64(32) | (~items).view(np.uint32)


def scores_of(keys: Keys) -> Floats:
    """The scores of keys, and -inf of what is none."""
    rising = (keys >> np.uint64(32)).astype(np.uint32).view(np.int32)
    bits = rising ^ (~rising >> 31 | np.int32(-(2**31)))
    return np.where(keys > 0, bits.view(np.float32), np.float32(-np.inf))


def norms_of(rows: Floats) -> Doubles:
    return np.asarray(np.sqrt(np.einsum("if,if->i", rows, rows, dtype=np.float64)))
