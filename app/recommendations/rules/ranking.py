"""What becomes of a list: drop what may not be shown, boost, cap, vary, pin, in this order."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from app.contracts.rules import Cap
from app.recommendations.memory.near_cache import Entries

Values = Callable[[Sequence[int]], list[tuple[str, ...]]]
"""Gives the values that each of these items has of a category."""

Lacking = Callable[[Collection[str]], bytes]
"""Gives a byte an item: 1 where it has none of these values of a category."""

Varying = Callable[[Entries, int], Entries]
"""Gives the n best entries in an order that likes variety."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is ordered of a list at one moment.

    tag: another one when that changes. mask: a byte an item, 0 for what may not be shown; None
    where all may. boosts: a factor an item; cap with the values of its column, and who lacks some.
    pins: items and their positions from 1, in the order of these. is_asked_for: by a caller's
    filter.
    """

    tag: str
    mask: bytes | None = None
    boosts: memoryview | None = None
    cap: tuple[Cap, Values, Lacking] | None = None
    vary: Varying | None = None
    pins: tuple[tuple[int, int], ...] = ()
    is_asked_for: bool = False

    def allows(self, item: int) -> bool:
        return self.mask is None or bool(self.mask[item])

    def allowed(self, entries: Entries) -> Entries:
        """Those that may be shown."""
        mask = self.mask
        return entries if mask is None else [each for each in entries if mask[each[0]]]


def below_cap(order: Order, parts: Iterable[Entries], n: int) -> bytes | None:
    """A mask as that of the order, without the items that these parts leave no room for."""
    if order.cap is None:
        return order.mask
    cap, values, lacking = order.cap
    found = ranked(replace(order, vary=None, pins=()), parts, n)
    there = Counter(chain.from_iterable(values([item for item, _ in found])))
    return both(order.mask, lacking([value for value in there if there[value] >= cap.most]))


def both(one: bytes | None, other: bytes) -> bytes:
    """Where both masks hold; None is one that holds everywhere."""
    if one is None:
        return other
    found = int.from_bytes(one, "little") & int.from_bytes(other, "little")
    return found.to_bytes(len(one), "little")


def ranked(
    order: Order, parts: Iterable[Entries], n: int, without: Collection[int] = ()
) -> Entries:
    """The best n of the first part; while they are too few, those of the next behind them.

    Each part has its own scores, best first. without: items that are pinned nowhere.
    """
    pins = [
        (item, position)
        for item, position in order.pins
        if position <= n and item not in without and order.allows(item)
    ]
    found: Entries = []
    for part in parts:
        taken = {item for item, _ in found}
        fresh = [each for each in order.allowed(part) if each[0] not in taken]
        if order.boosts is not None:
            fresh = _boosted(order.boosts, fresh)
        if order.cap is not None:
            fresh = _capped(*order.cap[:2], found, fresh)
        if order.vary is not None:
            fresh = order.vary(fresh, n)
        found += fresh[:n]
        if len({item for item, _ in (*found, *pins)}) >= n:
            break
    return _pinned(pins, found)[:n]


def _boosted(factors: memoryview, entries: Entries) -> Entries:
    boosted = [
        (item, score * factors[item] if score > 0 else score / factors[item])
        for item, score in entries
    ]
    return sorted(boosted, key=lambda each: -each[1])


def _capped(cap: Cap, values: Values, before: Entries, entries: Entries) -> Entries:
    """Those that are at most so many of each value, together with the ones before."""
    there: Counter[str] = Counter()
    for each in values([item for item, _ in before]):
        there.update(each)
    kept = []
    for entry, own in zip(entries, values([item for item, _ in entries]), strict=True):
        if all(there[value] < cap.most for value in own):
            there.update(own)
            kept.append(entry)
    return kept


def _pinned(pins: Sequence[tuple[int, int]], entries: Entries) -> Entries:
    """A pin has the score that its item had in the list, else 0."""
    if not pins:
        return entries
    scores = dict(entries)
    pinned = {item for item, _ in pins}
    found = [each for each in entries if each[0] not in pinned]
    for item, position in pins:
        found.insert(position - 1, (item, scores.get(item, 0.0)))
    return found
