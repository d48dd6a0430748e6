"""What is asked of the cache in a request: one round trip, or none when the answer is near.

When the cache goes away, requests stop asking until the watcher has reached it again, so that
nobody waits for a time-out twice.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.contracts.recommendations import decode_sample
from app.errors import CacheUnavailable
from app.recommendations.connect import CACHE_ERRORS, Client, is_away, no_answer
from app.recommendations.generation import Generation
from app.recommendations.near_cache import Remembered
from app.recommendations.watcher import Watcher


class Lookup:
    """The records of the generations that a watcher finds."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._namespace = watcher.namespace

    def users(
        self, generation: Generation, users: Sequence[str]
    ) -> tuple[list[Remembered | None], bool]:
        """The users' lists and whether they are degraded, in one round trip at most.

        A list is None for a stranger and, when degraded, for everyone who is not near.
        """
        found = {user: generation.near.get(user) for user in users}
        missing = [user for user, remembered in found.items() if remembered is None]
        degraded = not self._watcher.reachable
        if missing and not degraded:
            try:
                found.update(self._look_up(generation, missing))
            except CacheUnavailable:
                degraded = True
        return [found[user] for user in users], degraded

    def similar(self, generation: Generation, item: str) -> Remembered | None:
        """The list of the item's neighbours, None when the generation does not hold the item.

        Raises CacheUnavailable.
        """
        place = generation.manifest.item_place(self._namespace, item)
        with self._asking() as client:
            record: bytes | None = client.hget(*place)
        return None if record is None else Remembered(record)

    def sample(self, generation: Generation) -> list[str]:
        """Up to 1,000 of the generation's users. Raises CacheUnavailable or BrokenRecord."""
        with self._asking() as client:
            found: bytes | None = client.get(self._namespace.sample(generation.manifest.generation))
        return decode_sample(found or b"")

    def _look_up(
        self, generation: Generation, users: Sequence[str]
    ) -> dict[str, Remembered | None]:
        places = [generation.manifest.user_place(self._namespace, user) for user in users]
        with self._asking() as client:
            if len(places) == 1:
                records: list[bytes | None] = [client.hget(*places[0])]
            else:
                pipeline = client.pipeline(transaction=False)
                for place in places:
                    pipeline.hget(*place)
                records = pipeline.execute()
        found: dict[str, Remembered | None] = dict.fromkeys(users)
        for user, record in zip(users, records, strict=True):
            if record is not None:
                found[user] = remembered = Remembered(record)
                generation.near.put(user, remembered)
        return found

    @contextmanager
    def _asking(self) -> Iterator[Client]:
        """Lend the watcher's client and translate its errors.

        When nobody answers, the watcher is told. An answer that is an error, or one lost node of a
        cluster, are one request's.
        """
        client = self._watcher.client()
        try:
            yield client
        except CACHE_ERRORS as error:
            if is_away(client, error):
                self._watcher.lost(error)
            raise CacheUnavailable(no_answer(error)) from error
