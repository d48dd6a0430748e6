"""How what somebody did lately changes the list that they get."""

from array import array
from collections.abc import Collection, Mapping
from itertools import islice

from app.contracts.events import ms_of
from app.contracts.recommendations import NEIGHBOURS, decode_record
from app.recommendations.generation import Generation
from app.recommendations.live import neighbours
from app.recommendations.live.neighbours import Lists
from app.recommendations.live.recent import NOTHING, Recents
from app.recommendations.lookup import stored
from app.recommendations.memory.near_cache import Remembered

MOST_ITEMS = 20
"""So many of the latest items move a list; all of them leave it."""

NONE: Lists = {}
NOBODY = Remembered(b"")


def near_to(generation: Generation, value: bytes | None, recents: Recents) -> dict[str, int]:
    """The items whose similar items ``remember`` wants to know, and their indices.

    None where a model says more, or nothing that weighs was done since training.
    """
    if generation.follows != NEIGHBOURS or not recents.told:
        return {}
    is_new = value is None or stored(generation.manifest, value).popular
    wanted = recents.weights(generation.weights, _since(generation, is_new), MOST_ITEMS)
    return _latest(_indices(generation, wanted))


def near_to_items(generation: Generation, items: Collection[str]) -> dict[str, int]:
    """The same for ``from_items``."""
    return _latest(_indices(generation, items)) if generation.follows == NEIGHBOURS else {}


def remember(
    generation: Generation,
    value: bytes | None,
    recents: Recents,
    excluding: Collection[str],
    similar: Lists = NONE,
) -> Remembered | None:
    """What to answer from for a user, of whom this is stored; None for a stranger.

    excluding: types of events whose items the list must not show. similar: see ``near_to``.
    Raises BrokenRecord.
    """
    stays = NOBODY if value is None else stored(generation.manifest, value)
    if not recents.told:
        return None if value is None else stays
    is_new = value is None or stays.popular
    found = _indices(generation, recents.items())
    weights = recents.weights(generation.weights, _since(generation, is_new), MOST_ITEMS)
    wanted = {found[item]: weight for item, weight in weights.items() if item in found}
    gone = {found[item] for item in recents.items(excluding) if item in found}
    make = _first if is_new else _known
    return make(generation, stays, recents, wanted, gone, similar)


def from_items(generation: Generation, items: Collection[str], similar: Lists = NONE) -> Remembered:
    """What to answer from for somebody of whom only these items are known."""
    found = _indices(generation, items)
    wanted = dict.fromkeys(found.values(), 1.0)
    return _first(generation, NOBODY, NOTHING, wanted, found.values(), similar)


def _since(generation: Generation, is_new: bool) -> int:
    """Of whom training knew nothing all counts that they did, however long ago."""
    return 0 if is_new else ms_of(generation.manifest.events_until)


def _known(
    generation: Generation,
    stays: Remembered,
    recents: Recents,
    wanted: Mapping[int, float],
    gone: Collection[int],
    similar: Lists,
) -> Remembered:
    """Whose list loses what it must not show, and is put in order anew by what they wanted."""
    entries = decode_record(stays.record)
    own = [entry for entry in entries if entry[0] not in gone]
    if generation.model and wanted and own:
        own = generation.model.again(stays.vector, own, wanted)
    elif similar:
        own = neighbours.again(own, neighbours.nearness(similar, wanted))
    k, most = generation.manifest.k, generation.manifest.stored
    moved = Remembered(b"", version=recents.version, history=stays.history, gone=_packed(gone))
    if generation.model and stays.history and len(own) < k:
        own = generation.model.over(stays.vector, wanted, None, moved.had(), most)
    if own:
        moved.source = "personal" if own[:k] == entries[:k] else "personal+recent"
        moved.vector, moved.wanted = stays.vector, wanted
        moved.follow(own, k)
    else:
        popular = decode_record(generation.popular.record)
        moved.own = [entry for entry in popular if entry[0] not in gone][:k]
        moved.source = "popular"
    return moved


def _first(
    generation: Generation,
    stays: Remembered,
    recents: Recents,
    wanted: Mapping[int, float],
    gone: Collection[int],
    similar: Lists,
) -> Remembered:
    k = generation.manifest.k
    most = generation.manifest.stored or k if generation.rules.acts else k
    moved = Remembered(b"", True, version=recents.version, history=stays.history)
    moved.wanted, moved.gone, moved.source = wanted, _packed(gone), "recent"
    if generation.model and wanted and (own := generation.model.first(wanted, gone, most)):
        moved.follow(own, k)
        return moved
    popular = decode_record(stays.record or generation.popular.record)
    near = neighbours.nearness(similar, wanted)
    moved.follow(neighbours.first(popular, near, gone), k)
    if not near.keys() - gone:
        moved.source = "popular"
    return moved


def _packed(gone: Collection[int]) -> "array[int]":
    """A user may have bought hundreds, and what is near is to stay small."""
    return array("I", sorted(gone))


def _indices(generation: Generation, items: Collection[str]) -> dict[str, int]:
    """Those of the items that the generation holds; the next one may hold more."""
    found = {item: generation.find(item) for item in items}
    return {item: index for item, index in found.items() if index is not None}


def _latest(found: Mapping[str, int]) -> dict[str, int]:
    return dict(islice(found.items(), neighbours.MOST_ITEMS))
