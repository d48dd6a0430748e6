"""Lists as the owner of a namespace and the caller want them, and what fills those that are short.

A list is short when too little of it may be shown. Then the user's vector is multiplied with all
items that may be, which is exact; whoever has none gets what is popular, then what the mean user
likes.
"""

from collections.abc import Iterable, Iterator

from app.contracts.recommendations import MAX_K, decode_record
from app.recommendations.generation import Generation
from app.recommendations.memory.near_cache import Entries, Remembered
from app.recommendations.rules.ranking import Order, below_cap, ranked

_DEEP = 4
"""So many times the length of a list is looked at, at least, before it is boosted and varied."""


def ruled(
    generation: Generation, order: Order, found: Remembered, source: str, fallback: str
) -> Remembered:
    """The list in place of what was found, as long as the generation's if there is enough.

    Raises BrokenRecord.
    """
    key = order.tag, fallback
    known = found.ruled  # another thread may put another one there
    if known is None or known[0] != key:
        known = key, _ruled(generation, order, found, source, fallback)
        if not order.is_asked_for:
            found.ruled = known
    return known[1]


def allowed(order: Order, found: Remembered) -> Remembered:
    """What of a list may be shown, such as of an item's neighbours. Raises BrokenRecord."""
    return Remembered(b"", own=order.allowed(decode_record(found.record)))


def _ruled(
    generation: Generation, order: Order, found: Remembered, source: str, fallback: str
) -> Remembered:
    k = generation.manifest.k
    own = found.entries()
    entries = ranked(order, [own], k, found.gone)
    if len(entries) < k and generation.model and (found.vector or found.wanted):
        entries = ranked(order, _live(generation, order, found), k, found.gone)
    elif len(entries) < k and fallback == "popular":
        entries = ranked(order, _filled(generation, order, found, own), k, found.gone)
        source = source if order.allowed(own) else "popular"
    return Remembered(b"", own=entries, source=source)


def _filled(
    generation: Generation, order: Order, found: Remembered, own: Entries
) -> Iterator[Entries]:
    had = found.had()
    popular = [each for each in decode_record(generation.popular.record) if each[0] not in had]
    yield own
    yield popular
    if generation.model:
        yield from _live(generation, order, found, (own, popular))


def _live(
    generation: Generation, order: Order, found: Remembered, before: Iterable[Entries] = ()
) -> Iterator[Entries]:
    """The best of all items that may be shown and are new to the user.

    While they are too few under a cap: then the best of those that it leaves room for.
    """
    assert generation.model
    manifest = generation.manifest
    n = manifest.k + len(order.pins)
    if order.boosts is not None or order.vary:
        n = max(manifest.stored, _DEEP * n)
    if order.cap:
        n = MAX_K
    parts, mask, had = [*before], order.mask, found.had()
    while True:
        parts.append(generation.model.over(found.vector, found.wanted, mask, had, n))
        yield parts[-1]
        if not order.cap or len(parts[-1]) < n:
            return
        mask = below_cap(order, parts, manifest.k)
