"""Decisions and what came of them, put together from the entries of the log, in their order.

It is pure: the same entries give the same results in the same order, whatever pieces they come in
and whenever somebody asks. Each entry *closes* a window after it was written, by the log's clock,
in the order of entries; then a decision is ``Joined``, and a reward that belongs to none is
``Late``. Nothing is kept for longer than that.

* A reward or an activation counts from a decision's entry to the end of its window; or up to
  EARLY_MS before the entry, if no decision of that id was open then.
* Of decisions of one id the first counts. Another one within a window is passed over, and what
  comes for its id still goes to the first.
* A reward that names no slot of its decision is kept as observed and changes nothing.
"""

import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.contracts.decisions import (
    Activated,
    Aggregation,
    Configuration,
    Ranked,
    Rewarded,
    Slot,
    decode,
)
from app.contracts.events import Entry, ms_of
from app.contracts.generations import BrokenRecord
from batch.decisions.terms import Joined, Late

EARLY_MS = 60_000
"""So long before its decision a reward may stand in the log; or a window, if that is shorter."""
MAX_REWARD = 1e9
"""What an aggregate is cut to: a model that learned infinity would be lost."""

_AGGREGATES: Mapping[Aggregation, Callable[[Sequence[float]], float]] = {
    "earliest": lambda values: values[0],
    "average": statistics.fmean,
    "median": statistics.median,
    "sum": sum,
    "min": min,
    "max": max,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What rewards come to; wait_ms is the length of a window. See ``Configuration``."""

    wait_ms: int
    default_reward: float
    aggregation: Aggregation

    @classmethod
    def of(cls, configuration: Configuration) -> "Rules":
        told = configuration
        return cls(told.wait_ms, told.default_reward, told.aggregation)

    @property
    def reach_ms(self) -> int:
        """How far before an entry others stand that have a say in what closes behind it."""
        return self.wait_ms + min(self.wait_ms, EARLY_MS)

    def rewards(
        self, slots: Sequence[Slot], observed: Sequence[tuple[str, float]]
    ) -> tuple[float, ...]:
        """What the rewards of each slot come to."""
        return tuple(self._reward([v for of, v in observed if of == slot.id]) for slot in slots)

    def _reward(self, values: Sequence[float]) -> float:
        if not values:
            return self.default_reward
        return _cut(_AGGREGATES[self.aggregation](list(map(_cut, values))))


def _cut(value: float) -> float:
    return max(-MAX_REWARD, min(MAX_REWARD, value))


class Unreadable(NamedTuple):
    """An entry that is neither decision, nor reward, nor activation."""

    position: str
    why: str
    entry: Mapping[bytes, bytes]


class Passed(NamedTuple):
    """An entry of which nothing is left to tell: it was counted, or it was a duplicate."""

    position: str


Outcome = Joined | Late | Unreadable | Passed


@dataclass(slots=True)
class _Open:
    """A decision in its window.

    entry: as it came, for contexts are long; None where its id had been decided less than a window
    before.
    """

    id: str
    entry: Mapping[bytes, bytes] | None
    observed: list[tuple[str, float]] = field(default_factory=list)
    activated: bool = False

    def add(self, said: Rewarded | Activated) -> None:
        if isinstance(said, Rewarded):
            self.observed.append((said.slot, said.value))
        else:
            self.activated = True


@dataclass(slots=True)
class _Early:
    """What came for an id of which no decision was known."""

    ms: int
    said: Rewarded | Activated
    counted: bool = False


@dataclass(slots=True)
class Joiner:
    """Takes entries, gives outcomes: one of each, in the order of entries."""

    rules: Rules
    _waiting: deque[tuple[int, str, _Open | _Early | Outcome]] = field(default_factory=deque)
    _decisions: dict[str, deque[_Open]] = field(default_factory=dict)
    _early: dict[str, deque[_Early]] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many entries wait."""
        return len(self._waiting)

    def take(self, entries: Iterable[Entry]) -> Iterator[Outcome]:
        """Take more of the log, and yield what has closed until the last of it."""
        for stream_id, entry in entries:
            position = stream_id.decode()
            ms = ms_of(position)
            if self._waiting and self._waiting[0][0] <= ms - self.rules.wait_ms:
                yield from self.close(ms)
            self._waiting.append((ms, position, self._kept(position, entry)))

    def close(self, clock_ms: int) -> Iterator[Outcome]:
        """Yield what closes until that moment; all entries before it must have been taken."""
        begun = clock_ms - self.rules.wait_ms
        while self._waiting and self._waiting[0][0] <= begun:
            _, position, kept = self._waiting.popleft()
            yield self._closed(position, kept)

    def _kept(self, position: str, entry: Mapping[bytes, bytes]) -> _Open | _Early | Outcome:
        try:
            if b"id" in entry and not entry.keys() & {b"value", b"activated"}:
                return self._decision(position, entry[b"id"].decode(), entry)
            said = decode(entry)
        except ValueError as error:  # BrokenRecord is one
            return Unreadable(position, str(error), entry)
        assert not isinstance(said, Ranked)
        return self._said(position, said)

    def _decision(self, position: str, name: str, entry: Mapping[bytes, bytes]) -> _Open:
        """Open it, unless one of that id stands less than a window before."""
        known = self._decisions.setdefault(name, deque())
        known.append(made := _Open(name, None if known else entry))
        for each in self._early.get(name, ()) if made.entry else ():
            if ms_of(position) - each.ms < EARLY_MS:
                each.counted = True
                made.add(each.said)
        return made

    def _said(self, position: str, said: Rewarded | Activated) -> _Early | Outcome:
        known = self._decisions.get(said.id)
        if known is None:
            early = _Early(ms_of(position), said)
            self._early.setdefault(said.id, deque()).append(early)
            return early
        if known[0].entry is None:  # the decision itself has closed
            return _late(position, said)
        known[0].add(said)
        return Passed(position)

    def _closed(self, position: str, kept: _Open | _Early | Outcome) -> Outcome:
        if isinstance(kept, _Open):
            _drop_first(self._decisions, kept.id)
            return self._joined(position, kept, kept.entry) if kept.entry else Passed(position)
        if isinstance(kept, _Early):
            _drop_first(self._early, kept.said.id)
            return Passed(position) if kept.counted else _late(position, kept.said)
        return kept

    def _joined(
        self, position: str, kept: _Open, entry: Mapping[bytes, bytes]
    ) -> Joined | Unreadable:
        try:
            made = decode(entry)
        except BrokenRecord as error:
            return Unreadable(position, str(error), entry)
        assert isinstance(made, Ranked)
        return Joined(
            position,
            made.id,
            ms_of(position),
            made.context,
            made.slots,
            self.rules.rewards(made.slots, kept.observed),
            tuple(kept.observed),
            made.mode != "LoggingOnly" and (kept.activated or not made.deferred),
            made.generation,
            made.mode,
            made.imitated,
        )


def _drop_first(known: dict[str, deque[Any]], name: str) -> None:
    known[name].popleft()
    if not known[name]:
        del known[name]


def _late(position: str, said: Rewarded | Activated) -> Late | Passed:
    if isinstance(said, Activated):
        return Passed(position)
    return Late(position, said.id, ms_of(position), said.value, said.slot)
