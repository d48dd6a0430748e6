"""What everything after loading works on: each pair of user and item once, with its weight."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True)
class Capped:
    """Users who had more pairs than one may have, and how many of them are left out."""

    users: int
    pairs: int
    worst: str
    """The user who had the most."""
    most: int
    """How many these were."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was read, and what became of it."""

    files: int
    rows: int
    """Rows found in the files, rejected ones included; blank lines are no rows."""
    rejected: Mapping[str, int]
    """Rejected rows by reason."""
    merged: int
    """Rows that were merged into a pair another row had named already."""
    zero: int
    """Pairs left out because their weight is 0."""
    used: Mapping[str, str] = field(default_factory=dict)
    """The column of each role, such as `user` or `rating`."""
    unused: tuple[str, ...] = ()
    """The other columns that were found."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Rows that were to make no pair, by the reasons of `counting`."""
    unknown: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Of each list of items, the ids that no row has."""
    capped: Capped | None = None

    @property
    def pairs(self) -> int:
        """How many are left."""
        rows = self.rows - sum(self.rejected.values()) - sum(self.left_out.values())
        return rows - self.merged - self.zero - (self.capped.pairs if self.capped else 0)


@dataclass(frozen=True, slots=True)
class Interactions:
    """Distinct pairs, sorted by (user, item).

    An id's position in `users` or `items` (both sorted by their UTF-8 bytes) is its index in the
    arrays `user` (int32) and `item` (int32). `weight` is float32 and above 0; `timestamp` is
    when the user first met the item: float64, seconds since 1970 in UTC, or None when the input
    has none.
    """

    users: list[str]
    items: list[str]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    weight: NDArray[np.float32]
    timestamp: NDArray[np.float64] | None
    report: Report
    hidden: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
    """Users and items of other pairs, sorted: what must not be in these users' lists."""

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.user)

    def period(self) -> tuple[str, str] | None:
        """Return the first and the last timestamp in ISO 8601, None when there are none."""
        if self.timestamp is None or not len(self):
            return None
        return moment(self.timestamp.min()), moment(self.timestamp.max())

    def matrix(self) -> csr_matrix:
        """Return weights as float32 (users, items), which shares `weight` and `item` as they are.

        Whoever wants to write into it takes a copy first.
        """
        starts = np.zeros(len(self.users) + 1, dtype=np.int32)
        np.cumsum(np.bincount(self.user, minlength=len(self.users)), out=starts[1:])
        matrix = csr_matrix(
            (self.weight, self.item, starts), (len(self.users), len(self.items)), copy=False
        )
        matrix.has_canonical_format = True
        return matrix

    def hidden_matrix(self) -> csr_matrix | None:
        """Return a matrix like the other, with an entry for each pair that its user hid."""
        if self.hidden is None:
            return None
        ones = np.ones(len(self.hidden[0]), np.float32)
        return csr_matrix((ones, self.hidden), (len(self.users), len(self.items)))

    def fingerprint(self) -> str:
        """Return a BLAKE2b hash (32 hex digits) of ids, pairs, weights and timestamps.

        It does not depend on the order of rows, on how files are cut or on the machine.
        """
        digest = hashlib.blake2b(digest_size=16)
        for ids in (self.users, self.items):
            encoded = [text.encode() for text in ids]
            digest.update(np.array([len(encoded), *map(len, encoded)], dtype="<i8").tobytes())
            digest.update(b"".join(encoded))
        for array, kind in ((self.user, "<i4"), (self.item, "<i4"), (self.weight, "<f4")):
            digest.update(np.ascontiguousarray(array, dtype=kind).data)
        if self.timestamp is not None:
            digest.update(np.ascontiguousarray(self.timestamp, dtype="<f8").data)
        for hidden in self.hidden or ():
            digest.update(np.ascontiguousarray(hidden, dtype="<i4").data)
        return digest.hexdigest()

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> "Interactions":
        """Return the pairs under a mask or at positions, in their order, with the same ids."""
        mask = np.zeros(len(self), dtype=bool)
        mask[chosen] = True
        return replace(
            self,
            user=self.user[mask],
            item=self.item[mask],
            weight=self.weight[mask],
            timestamp=None if self.timestamp is None else self.timestamp[mask],
        )

    def compact(self) -> "Interactions":
        """Number anew those users and items that have a pair, and forget what others hid."""
        users, user = np.unique(self.user, return_inverse=True)
        items, item = np.unique(self.item, return_inverse=True)
        hidden_user, hidden_item = self.hidden or (user[:0], item[:0])
        known = np.isin(hidden_user, users) & np.isin(hidden_item, items)
        hidden = (
            np.searchsorted(users, hidden_user[known]).astype(np.int32),
            np.searchsorted(items, hidden_item[known]).astype(np.int32),
        )
        return replace(
            self,
            users=[self.users[number] for number in users.tolist()],
            items=[self.items[number] for number in items.tolist()],
            user=user.astype(np.int32),
            item=item.astype(np.int32),
            hidden=hidden if len(hidden[0]) else None,
        )

    def among(self, users: list[str], items: list[str]) -> "Interactions":
        """Return the same pairs with indexes into longer lists of ids (sorted, holding these)."""
        user, item = _positions(self.users, users), _positions(self.items, items)
        return replace(
            self,
            users=users,
            items=items,
            user=user[self.user],
            item=item[self.item],
            hidden=None if self.hidden is None else (user[self.hidden[0]], item[self.hidden[1]]),
        )


def moment(timestamp: float) -> str:
    """Write a timestamp in ISO 8601."""
    return f"{np.floor(timestamp).astype('datetime64[s]')}Z"


def _positions(ids: Iterable[str], longer: list[str]) -> NDArray[np.int32]:
    index = {text: position for position, text in enumerate(longer)}
    return np.array([index[text] for text in ids], dtype=np.int32)
