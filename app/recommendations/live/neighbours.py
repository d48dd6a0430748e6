"""How lists follow what somebody did where no model does: by the similar items of the latest ones.

How *near* an item is to what somebody did is the mean of its scores beside each of those items, by
the weights of the events, and 0 beside one that does not list it.
"""

from collections.abc import Collection, Mapping

from app.recommendations.memory.near_cache import Entries

MOST_ITEMS = 5
"""The similar items of so many of the latest items count."""

_RISE = 2
_SHARE = 0.25
"""What being near adds to an item's share of all users: the most that helps after one event."""

Lists = Mapping[int, Entries]
"""The similar items of items, by their indices."""


def nearness(lists: Lists, weights: Mapping[int, float]) -> dict[int, float]:
    """How near items are, see above, to those whose lists are given; all others are not near."""
    whole = sum(weights[item] for item in lists)
    found: dict[int, float] = {}
    for item, entries in lists.items():
        share = weights[item] / whole
        for other, score in entries:
            found[other] = found.get(other, 0.0) + share * score
    return found


def again(entries: Entries, near: Mapping[int, float]) -> Entries:
    """A known user's list in order anew: what is nearest rises by twice what its scores span.

    None is added, for the list alone is known to hold nothing that its user had before.
    """
    most = max(near.values(), default=0.0)
    if not (entries and most):
        return entries
    more = _RISE * (entries[0][1] - entries[-1][1]) / most
    return _sorted([(item, score + more * near.get(item, 0.0)) for item, score in entries])


def first(popular: Entries, near: Mapping[int, float], without: Collection[int]) -> Entries:
    """A newcomer's list: what is near and what is popular, which decides where little is near."""
    scores = dict(popular)
    for item, score in near.items():
        scores[item] = scores.get(item, 0.0) + _SHARE * score
    return _sorted([entry for entry in scores.items() if entry[0] not in without])


def _sorted(entries: Entries) -> Entries:
    return sorted(entries, key=lambda entry: entry[1], reverse=True)
