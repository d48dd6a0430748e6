"""What of a user's items makes their list, and how it would be without some of them or with others.

A list here is what one step of training makes of the items alone: the user's vector is computed
anew from the history that the generation holds and from what the user did since.
"""

import struct
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from app.api import sources
from app.api.lists.rules import difference
from app.contracts.recommendations import decode_history
from app.recommendations.generation import Generation
from app.recommendations.memory.near_cache import Remembered
from app.recommendations.why import why as reasons

if TYPE_CHECKING:  # it imports numpy, which need not be there
    from app.recommendations.model import Model

SHOWN = 20
MOST_REASONS = 5


def remembered(generation: Generation, user: str) -> Remembered | None:
    """What is known of a user; None for a stranger."""
    (found,), _ = sources().lookup.users(generation, [user])
    return found


def history(generation: Generation, found: Remembered | None) -> list[dict[str, Any]]:
    """The user's own items, the ones that weigh most first, as training and events have them."""
    weights = found.weights() if found else {}
    first = sorted(weights, key=lambda item: -weights[item])[:SHOWN]
    return [{**generation.document(item), "weight": weights[item]} for item in first]


def what_if(
    generation: Generation, user: str, drop: Collection[str], add: Collection[str]
) -> dict[str, Any] | None:
    """What enters and leaves the list; None where the generation has no model here.

    Raises UnknownItem for one that nobody can add or drop.
    """
    found = remembered(generation, user)
    if generation.model is None:
        return None
    dropped, added = (set(map(generation.index_of, each)) for each in (drop, add))
    before = found.weights() if found else {}
    after = {item: weight for item, weight in before.items() if item not in dropped}
    after |= dict.fromkeys(added, max(before.values(), default=1.0))
    shut = found.had() - before.keys() if found else set()
    mask = _mask(generation, found, dropped)
    lists = [_list(generation, generation.model, each, shut, mask) for each in (before, after)]
    told = difference(generation, user, *lists)
    return {
        **told,
        "list": [generation.document(item) for item in lists[1]],
        "entered": [generation.document(item) for item in lists[1] if item not in lists[0]],
        "left": [generation.document(item) for item in lists[0] if item not in lists[1]],
    }


def why(generation: Generation, user: str, item: str) -> dict[str, Any]:
    """What each of the user's items adds to the score of another, the most first.

    Raises UnknownItem, or NoReasons where the generation has no model here.
    """
    found = reasons(generation, remembered(generation, user), item)
    because = [
        {
            **generation.document(each),
            "contribution": added,
            "share": added / found.score if found.score else 0.0,
        }
        for each, added in found.because[:MOST_REASONS]
    ]
    return {
        "user": user,
        **generation.document(found.item),
        "score": found.score,
        "covered": found.covered,
        "because": because,
    }


def _list(
    generation: Generation,
    model: "Model",
    weights: Mapping[int, float],
    shut: Collection[int],
    mask: bytes | None,
) -> list[int]:
    start = struct.pack("<f", 0.0) + bytes(generation.manifest.factors) if weights else b""
    without = {*weights, *shut}
    return [item for item, _ in model.over(start, weights, mask, without, generation.manifest.k)]


def _mask(
    generation: Generation, found: Remembered | None, dropped: Collection[int]
) -> bytes | None:
    """What the rules let through; of whom too much is known to be stored, only what is new to them.

    That is what their stored list holds: the generation knows no longer what else they had.
    """
    order = generation.order(sources().answers.now)
    mask = order.mask if order else None
    if found is None or len(decode_history(found.history)) < generation.manifest.history:
        return mask
    stored = {item for item, _ in found.entries()} | {*dropped}
    items = range(generation.manifest.items)
    return bytes(item in stored and (mask is None or mask[item] > 0) for item in items)
