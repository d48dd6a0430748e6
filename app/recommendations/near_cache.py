"""What a worker has answered lately, so that it can answer again without asking the cache."""

from dataclasses import dataclass
from threading import Lock

from cachetools import LRUCache


@dataclass(slots=True)
class Remembered:
    """A record and what was last rendered of it: how many entries, and their JSON.

    popular: the record is what is popular, for a user of whom the model knows nothing.
    """

    record: bytes
    popular: bool = False
    rendered: tuple[int, bytes] = (0, b"")


class NearCache:
    """The lists of the users asked for most recently, shared by a worker's threads.

    It belongs to one generation and goes with it, so nothing in it can be out of date. Only users
    whom the generation knows are kept: a crowd of made-up ids cannot push the real ones out.
    """

    def __init__(self, users: int) -> None:
        self._lists: LRUCache[str, Remembered] = LRUCache(maxsize=max(users, 1))
        self._enabled = users > 0
        self._lock = Lock()

    def get(self, user: str) -> Remembered | None:
        """The user's list, or None when it is not here."""
        with self._lock:
            return self._lists.get(user)

    def put(self, user: str, remembered: Remembered) -> None:
        """Keep the list in place of the one not asked for the longest."""
        if self._enabled:
            with self._lock:
                self._lists[user] = remembered
