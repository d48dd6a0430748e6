"""What changed from one generation to another: exact, over all users, some at a time.

A user is told by the field that the lists are kept under, whatever the numbers of buckets, and an
item by its id, whatever its index.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contracts.recommendations import Manifest
from batch.progress import Advance
from batch.recommendations.published.read import Block, Reader

TOP = 10


@dataclass(frozen=True, slots=True)
class Change:
    """How many are in both generations, and in one alone."""

    both: int
    entered: int
    left: int


@dataclass(frozen=True, slots=True)
class Listed:
    """In how many lists an item is."""

    item: str
    lists: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed of users, of items, and of items that are in any list (listed).

    overlap: the mean over users of both of the items that both lists have, as a share of the
    longer one; changed, first_changed: the shares of these users whose list, or first item, is
    another. These are None where nobody is in both. top_entered, top_left: of items listed in one
    generation alone those in most lists.
    """

    users: Change
    items: Change
    listed: Change
    overlap: float | None
    changed: float | None
    first_changed: float | None
    top_entered: Sequence[Listed]
    top_left: Sequence[Listed]


def compare(old: Reader, new: Reader, advance: Advance = lambda done: None) -> Comparison:
    """Compare the lists of two generations, as far as both readers read them.

    advance: takes the users of both, one after the other. Raises GenerationGone, CacheUnavailable
    or BrokenRecord.
    """
    tally = _Tally(old.items(), new.items())
    for block in old.users():
        is_in_both, later = new.users_named(block.names)
        tally.pair(tally.count(0, block)[is_in_both], tally.places[1][later.items])
        advance(len(block.names))
    for block in new.users():
        tally.count(1, block)
        advance(len(block.names))
    for each in (old, new):
        each.expect_whole()
    return tally.comparison()


class _Tally:
    """What is counted of the older (0) and the newer generation (1).

    places: of each the place among the items of both of an index; of index -1 it is -1.
    """

    def __init__(self, *items: Sequence[str]) -> None:
        self._ids = list(dict.fromkeys(item for ids in items for item in ids))
        place = {item: number for number, item in enumerate(self._ids)}
        self.places = [np.array([*(place[item] for item in ids), -1]) for ids in items]
        self._lists = np.zeros((2, len(place)), np.int64)
        self._users = [0, 0]
        self._sums = np.zeros(4)

    def count(self, which: int, block: Block) -> NDArray[np.int64]:
        """Count users, and in how many lists an item is; return the lists as places."""
        lists = self.places[which][block.items]
        self._lists[which] += np.bincount(lists[lists >= 0], minlength=len(self._ids))
        self._users[which] += len(lists)
        return lists

    def pair(self, old: NDArray[np.int64], new: NDArray[np.int64]) -> None:
        """Compare both lists of the same users."""
        is_other = old != new
        others = is_other.any(axis=1).sum(), is_other[:, 0].sum()
        self._sums += np.array([len(old), _overlaps(old, new).sum(), *others])

    def comparison(self) -> Comparison:
        """What has come of it."""
        both, every = int(self._sums[0]), np.arange(len(self._ids))
        overlap, changed, first = (self._sums[1:] / both).tolist() if both else [None] * 3
        before, after = self._lists
        return Comparison(
            Change(both, self._users[1] - both, self._users[0] - both),
            _change(*(np.isin(every, places) for places in self.places)),
            _change(before > 0, after > 0),
            overlap,
            changed,
            first,
            self._top(after * (before == 0)),
            self._top(before * (after == 0)),
        )

    def _top(self, lists: NDArray[np.int64]) -> list[Listed]:
        first = np.argsort(-lists, kind="stable")[:TOP].tolist()
        return [Listed(self._ids[place], int(lists[place])) for place in first if lists[place]]


def _overlaps(old: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each row, what share of the longer list both have; all of it where both are empty."""
    width = max(old.max(initial=0), new.max(initial=0)) + 1
    rows = np.arange(len(old))[:, np.newaxis]
    common = np.isin((old + width * rows)[old >= 0], (new + width * rows)[new >= 0])
    counts = np.bincount(np.nonzero(old >= 0)[0][common], minlength=len(old))
    longest = np.maximum((old >= 0).sum(axis=1), (new >= 0).sum(axis=1))
    return np.where(longest > 0, counts / np.maximum(longest, 1), 1.0)


def _change(old: NDArray[np.bool_], new: NDArray[np.bool_]) -> Change:
    return Change(int((old & new).sum()), int((new & ~old).sum()), int((old & ~new).sum()))


def settings(old: Manifest, new: Manifest) -> dict[str, tuple[Any, Any]]:
    """The values before and after of what was set otherwise, by name; None where it was not set."""
    mine, theirs = map(_set, (old, new))
    both = {name: (mine.get(name), theirs.get(name)) for name in mine | theirs}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _set(manifest: Manifest) -> dict[str, Any]:
    names = ("engine", "k", "stored", "history", "interactions", "forced", "code_version")
    similar = {"similar": manifest.similar_buckets > 0}
    return {name: getattr(manifest, name) for name in names} | similar | manifest.settings


def metrics(old: Manifest, new: Manifest) -> dict[str, tuple[float, float]]:
    """The values before and after of each metric that both have."""
    both = {
        name: (old.measured(name), new.measured(name)) for name in new.metrics.get("model") or ()
    }
    return {name: (a, b) for name, (a, b) in both.items() if a is not None and b is not None}
