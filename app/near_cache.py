"""What a worker has answered lately, so that it can answer again without asking the cache."""

from threading import Lock

from cachetools import LRUCache


class NearCache:
    """The records of the users asked for most recently, shared by a worker's threads.

    It belongs to one generation and goes with it, so nothing in it can be out of date. Only users
    whom the generation knows are kept: a crowd of made-up ids cannot push the real ones out.
    """

    def __init__(self, users: int) -> None:
        self._records: LRUCache[str, bytes] = LRUCache(maxsize=max(users, 1))
        self._enabled = users > 0
        self._lock = Lock()

    def get(self, user: str) -> bytes | None:
        """The user's record, or None when it is not here."""
        with self._lock:
            return self._records.get(user)

    def put(self, user: str, record: bytes) -> None:
        """Keep the record in place of the one not asked for the longest."""
        if self._enabled:
            with self._lock:
                self._records[user] = record
