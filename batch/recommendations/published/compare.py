"""What changed from one generation to another: exact, over all users, some at a time.

A user is told by the field that the lists are kept under, whatever the numbers of buckets, and an
item by its id, whatever its index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contracts.recommendations import Manifest, Namespace
from batch.generations.connect import Client
from batch.progress import Advance
from batch.recommendations.published.read import Block, Reader

TOP = 10


@dataclass(frozen=True, slots=True)
class Change:
    """Of how many members of a kind: those that are in both generations, or in one alone."""

    both: int
    entered: int
    left: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed; all but the first eight members are of the first k of each list.

    settings: name -> its values before and after, of those that differ; metrics: name -> the same,
    of those that both have. overlap: the mean over users of both of the share of items that both
    lists have, of the longer list's; changed: the share of these users whose list has changed, in
    its order too; first_changed: whose first item has. These are None where nobody is in both.
    listed: of items that are in any list; top_entered, top_left: of them the ids in most lists,
    and in how many.
    """

    namespace: str
    before: str
    after: str
    settings: Mapping[str, tuple[Any, Any]]
    metrics: Mapping[str, tuple[float, float]]
    users: Change
    items: Change
    k: int
    overlap: float | None
    changed: float | None
    first_changed: float | None
    listed: Change
    top_entered: Sequence[tuple[str, int]]
    top_left: Sequence[tuple[str, int]]


def compare(
    client: Client,
    namespace: Namespace,
    old: Manifest,
    new: Manifest,
    advance: Advance = lambda done: None,
) -> Comparison:
    """Compare two generations; their lists as far as both serve them.

    advance: takes the users of both, one after the other. Raises GenerationGone, CacheUnavailable
    or BrokenRecord.
    """
    k = min(old.k, new.k)
    readers = Reader(client, namespace, old, k), Reader(client, namespace, new, k)
    tally = _Tally(_Catalogue.of(*(each.items() for each in readers)))
    for block in readers[0].users():
        tally.add_old(block, *readers[1].users_named(block.names))
        advance(len(block.names))
    for block in readers[1].users():
        tally.add_new(block)
        advance(len(block.names))
    for each in readers:
        each.expect_whole()
    settings, metrics = _settings(old, new), _metrics(old, new)
    return tally.told(namespace.name, old.generation, new.generation, settings, metrics, k)


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """The items of both: their ids, and the place there of each index; of index -1 it is -1."""

    ids: list[str]
    old: NDArray[np.int64]
    new: NDArray[np.int64]

    @classmethod
    def of(cls, old: Sequence[str], new: Sequence[str]) -> "_Catalogue":
        places = {item: place for place, item in enumerate(dict.fromkeys([*old, *new]))}
        mine, theirs = (np.array([*(places[i] for i in ids), -1]) for ids in (old, new))
        return cls(list(places), mine, theirs)

    @property
    def change(self) -> Change:
        every = np.arange(len(self.ids))
        return _change(np.isin(every, self.old), np.isin(every, self.new))

    def times(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """In how many lists each place is; -1 is behind a list's end."""
        return np.bincount(items[items >= 0], minlength=len(self.ids))

    def top(self, times: NDArray[np.int64]) -> list[tuple[str, int]]:
        first = np.argsort(-times, kind="stable")[:TOP].tolist()
        return [(self.ids[place], int(times[place])) for place in first if times[place]]


class _Tally:
    """What is counted list by list."""

    def __init__(self, catalogue: _Catalogue) -> None:
        self._catalogue = catalogue
        self._old = self._new = np.zeros(len(catalogue.ids), np.int64)
        self._old_users = self._new_users = self._both = 0
        self._sums = np.zeros(3)

    def add_old(self, block: Block, is_in_both: NDArray[np.bool_], later: Block) -> None:
        """Lists of the older generation, who of these is in both, and their newer lists."""
        items, now = self._catalogue.old[block.items], self._catalogue.new[later.items]
        self._old = self._old + self._catalogue.times(items)
        self._old_users += len(items)
        self._both += len(now)
        was = items[is_in_both]
        is_other = was != now
        moved = is_other.any(axis=1).sum(), is_other[:, 0].sum()
        self._sums += np.array([_overlaps(was, now).sum(), *moved])

    def add_new(self, block: Block) -> None:
        """Lists of the newer generation."""
        self._new = self._new + self._catalogue.times(self._catalogue.new[block.items])
        self._new_users += len(block.names)

    def told(
        self,
        namespace: str,
        before: str,
        after: str,
        settings: Mapping[str, tuple[Any, Any]],
        metrics: Mapping[str, tuple[float, float]],
        k: int,
    ) -> Comparison:
        """Say it of these."""
        both, listed, catalogue = self._both, self._old > 0, self._catalogue
        overlap, changed, first = (self._sums / both).tolist() if both else [None] * 3
        return Comparison(
            namespace,
            before,
            after,
            settings,
            metrics,
            Change(both, self._new_users - both, self._old_users - both),
            catalogue.change,
            k,
            overlap,
            changed,
            first,
            _change(listed, self._new > 0),
            catalogue.top(self._new * ~listed),
            catalogue.top(self._old * (self._new == 0)),
        )


def _overlaps(old: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each row, what share of the longer list both have; all of it where both are empty."""
    width = max(old.max(initial=0), new.max(initial=0)) + 1
    rows = np.arange(len(old))[:, np.newaxis]
    common = np.isin((old + width * rows)[old >= 0], (new + width * rows)[new >= 0])
    counts = np.bincount(np.nonzero(old >= 0)[0][common], minlength=len(old))
    longest = np.maximum((old >= 0).sum(axis=1), (new >= 0).sum(axis=1))
    return np.where(longest > 0, counts / np.maximum(longest, 1), 1.0)


def _change(old: NDArray[np.bool_], new: NDArray[np.bool_]) -> Change:
    counts = (old & new).sum(), (new & ~old).sum(), (old & ~new).sum()
    return Change(*map(int, counts))


def _settings(old: Manifest, new: Manifest) -> dict[str, tuple[Any, Any]]:
    mine, theirs = _told(old), _told(new)
    both = {name: (mine.get(name), theirs.get(name)) for name in {**mine, **theirs}}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _told(manifest: Manifest) -> dict[str, Any]:
    names = ("engine", "k", "stored", "history", "interactions", "forced", "code_version")
    similar = {"similar": manifest.similar_buckets > 0}
    return {name: getattr(manifest, name) for name in names} | similar | manifest.settings


def _metrics(old: Manifest, new: Manifest) -> dict[str, tuple[float, float]]:
    model = new.metrics.get("model")
    found = {each: (old.measured(each), new.measured(each)) for each in model or {}}
    return {
        name: (was, now)
        for name, (was, now) in found.items()
        if was is not None and now is not None
    }
