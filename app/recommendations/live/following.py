"""How what somebody did lately changes the list that they get."""

from collections.abc import Collection, Mapping

from app.contracts.events import ms_of
from app.contracts.recommendations import decode_record, split_value, unmark
from app.recommendations.generation import Generation
from app.recommendations.live.recent import NOTHING, Recents
from app.recommendations.near_cache import Entries, Remembered

MOST_ITEMS = 20
"""So many of the latest items move a list; all of them leave it."""


def remember(
    generation: Generation, value: bytes | None, recents: Recents, excluding: Collection[str]
) -> Remembered | None:
    """What to answer from for a user, of whom this is stored; None for a stranger.

    excluding: types of events whose items the list must not show. Raises BrokenRecord.
    """
    if value is None:
        return _newcomer(generation, b"", recents, excluding) if recents.told else None
    manifest = generation.manifest
    record, vector, _ = split_value(value, manifest.factors, manifest.history)
    remembered = Remembered(*unmark(record))
    if not recents.told:
        return remembered
    if remembered.popular:
        return _newcomer(generation, remembered.record, recents, excluding)
    return _known(generation, remembered.record, vector, recents, excluding)


def from_items(generation: Generation, items: Collection[str]) -> Remembered:
    """What to answer from for somebody of whom only these items are known."""
    found = _indices(generation, items)
    return _first(generation, b"", NOTHING, dict.fromkeys(found.values(), 1.0), found.values())


def _known(
    generation: Generation,
    record: bytes,
    vector: bytes,
    recents: Recents,
    excluding: Collection[str],
) -> Remembered:
    """Whose list loses what it must not show, and is put in order anew when there is a model."""
    found = _indices(generation, recents.items())
    gone = _gone(recents, excluding, found)
    entries = decode_record(record)
    own = [entry for entry in entries if entry[0] not in gone]
    wanted = _wanted(generation, recents, found, ms_of(generation.manifest.events_until))
    if generation.model and wanted and own:
        own = generation.model.again(vector, [item for item, _ in own], wanted)
    k = generation.manifest.k
    if own:
        source = "personal" if own[:k] == entries[:k] else "personal+recent"
        return Remembered(b"", own=own[:k], source=source, version=recents.version)
    popular = _without(generation.popular.record, gone, k)
    return Remembered(b"", own=popular, source="popular", version=recents.version)


def _newcomer(
    generation: Generation, record: bytes, recents: Recents, excluding: Collection[str]
) -> Remembered:
    """Of whom training knew nothing: so all counts that they did, however long ago."""
    found = _indices(generation, recents.items())
    wanted = _wanted(generation, recents, found, 0)
    return _first(generation, record, recents, wanted, _gone(recents, excluding, found))


def _first(
    generation: Generation,
    record: bytes,
    recents: Recents,
    wanted: Mapping[int, float],
    gone: Collection[int],
) -> Remembered:
    k = generation.manifest.k
    if generation.model and wanted and (own := generation.model.first(wanted, gone, k)):
        return Remembered(b"", True, own=own, source="recent", version=recents.version)
    popular = _without(record or generation.popular.record, gone, k)
    return Remembered(b"", True, own=popular, source="popular", version=recents.version)


def _indices(generation: Generation, items: Collection[str]) -> dict[str, int]:
    """Those of the items that the generation holds; the next one may hold more."""
    found = {item: generation.find(item) for item in items}
    return {item: index for item, index in found.items() if index is not None}


def _gone(recents: Recents, excluding: Collection[str], found: Mapping[str, int]) -> set[int]:
    return {found[item] for item in recents.items(excluding) if item in found}


def _wanted(
    generation: Generation, recents: Recents, found: Mapping[str, int], since: int
) -> dict[int, float]:
    if generation.model is None:
        return {}
    wanted = recents.weights(generation.weights, since, MOST_ITEMS)
    return {found[item]: weight for item, weight in wanted.items() if item in found}


def _without(record: bytes, gone: Collection[int], k: int) -> Entries:
    return [entry for entry in decode_record(record) if entry[0] not in gone][:k]
