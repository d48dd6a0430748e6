"""What is asked of the cache in a request: one round trip, or none when the answer is near.

When the cache goes away, requests stop asking until the watcher has reached it again, so that
nobody waits for a time-out twice.
"""

from collections.abc import Iterable, Sequence, Set

from app.cache.buckets import Asked, Found, fetch
from app.contracts.recommendations import Manifest, Place, decode_sample, split_value, unmark
from app.errors import CacheUnavailable
from app.recommendations.generation import Generation
from app.recommendations.memory.near_cache import Remembered, Who
from app.recommendations.watcher import Watcher


class Lookup:
    """The records of the generations that a watcher finds."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._namespace = watcher.namespace

    def users(
        self, generation: Generation, users: Sequence[str]
    ) -> tuple[list[Remembered | None], Set[Who]]:
        """The users' lists, and whose of them are degraded, in one round trip at most.

        A list is None for a stranger and, when degraded, for whoever is not near: the cache is
        away, or it does not hold the bucket that the user would be in.
        """
        found = {user: generation.near.get(user) for user in users}
        missing = [user for user, remembered in found.items() if remembered is None]
        degraded: Set[Who] = frozenset()
        if not self._watcher.reachable:
            degraded = set(users)
        elif missing:
            try:
                degraded = self._look_up(generation, missing, found)
            except CacheUnavailable:
                degraded = set(users)
        return [found[user] for user in users], degraded

    def similar(self, generation: Generation, item: str) -> Remembered | None:
        """The list of the item's neighbours, None when the generation does not hold the item.

        Raises CacheUnavailable, also when the bucket that the item would be in is gone.
        """
        place = generation.manifest.item_place(self._namespace, item)
        records, lost = self._ask([place])
        if lost:
            raise CacheUnavailable(f"the cache has lost what it held of items like {item!r}")
        record = records.get(place)
        return None if record is None else Remembered(record)

    def sample(self, generation: Generation) -> list[str]:
        """Up to 1,000 of the generation's users. Raises CacheUnavailable or BrokenRecord."""
        with self._watcher.asking() as client:
            found: bytes | None = client.get(self._namespace.sample(generation.manifest.generation))
        if found is None:
            raise CacheUnavailable("the cache has lost the sample of the users")
        return decode_sample(found)

    def etag(self, generation: Generation, found: Remembered | None) -> str:
        """What changes when the answer made from it does."""
        return generation.etag

    def _look_up(
        self, generation: Generation, users: Sequence[str], found: dict[str, Remembered | None]
    ) -> set[str]:
        """Add the lists that the cache holds; returns the users of whom it can not tell."""
        manifest = generation.manifest
        places = {user: manifest.user_place(self._namespace, user) for user in users}
        records, lost = self._ask(list(places.values()))
        for user, place in places.items():
            if (value := records.get(place)) is not None:
                found[user] = remembered = stored(manifest, value)
                generation.near.put(user, remembered, generation.near.ticket())
        return {user for user, place in places.items() if place[0] in lost} if lost else set()

    def _ask(self, places: Sequence[Place]) -> tuple[dict[Place, bytes], set[str]]:
        """The records at these places, and the buckets that are gone.

        No bucket of a generation is empty. So one that is not there was deleted, evicted or lost,
        and says nothing of who was in it. Raises CacheUnavailable.
        """
        asked = by_bucket(places)
        with self._watcher.asking() as client:
            found = fetch(client, asked)
        return records_of(asked, found), {key for key, values in found.items() if values is None}


def stored(manifest: Manifest, value: bytes) -> Remembered:
    """What the cache holds of a user. Raises BrokenRecord."""
    record, vector, history = split_value(value, manifest.factors, manifest.history)
    record, popular = unmark(record)
    return Remembered(record, popular, vector=b"" if popular else vector, history=history)


def by_bucket(places: Iterable[Place]) -> dict[str, list[bytes]]:
    """The fields to ask for of each bucket."""
    asked: dict[str, list[bytes]] = {}
    for key, name in places:
        asked.setdefault(key, []).append(name)
    return asked


def records_of(asked: Asked, found: Found) -> dict[Place, bytes]:
    """What the buckets hold at the places that were asked for."""
    return {
        (key, name): record
        for key, values in found.items()
        for name, record in zip(asked[key], values or (), strict=False)
        if record is not None
    }
