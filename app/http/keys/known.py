"""The keys of a tenant as the cache held them last: asked for in a thread, never in a request."""

import logging
from collections.abc import Mapping
from functools import partial

from app.cache.connect import no_answer
from app.cache.link import Link
from app.cache.rounds import Rounds
from app.contracts.generations import BrokenRecord
from app.contracts.keys import MARK, Key, keys_key
from app.errors import CacheUnavailable, KeysUnknown

log = logging.getLogger("larder.keys")


class KnownKeys:
    """Follows the keys; while the cache is away the last ones hold."""

    def __init__(self, namespace: str) -> None:
        self._name = keys_key(namespace)
        self._records: Mapping[bytes, bytes] = {}
        self._keys: Mapping[str, Key] | None = None
        self._problem = ""

    @property
    def are_known(self) -> bool:
        """Whether the cache has told which there are."""
        return self._keys is not None

    def start(self, link: Link, interval_seconds: float) -> None:
        """Ask now, and again and again in a thread."""
        self.poll(link)
        Rounds("larder-keys", partial(self.poll, link), lambda: interval_seconds).start()

    def find(self, name: str) -> Key | None:
        """The key of that id, None when there is none. Raises KeysUnknown before the first look."""
        if self._keys is None:
            raise KeysUnknown(f"nobody can be let in yet: {self._problem}")
        return self._keys.get(name)

    def poll(self, link: Link) -> None:
        """Ask which keys there are. Never raises: without it a revoked key would hold for good."""
        problem = ""
        try:
            records = link.client().hgetall(self._name)
            if self._keys and not records:  # who revokes the last key leaves the mark
                problem = "the cache has lost the keys: make them anew by 'larder key add'"
            else:
                self._take(records)
        except CacheUnavailable as error:
            problem = str(error)
        except Exception as error:
            problem = no_answer(error)
        if problem and problem != self._problem:
            log.warning("the keys that were known last hold: %s", problem)
        self._problem = problem

    def _take(self, records: Mapping[bytes, bytes]) -> None:
        if self._keys is not None and records == self._records:
            return
        keys = {}
        for name, record in records.items():
            if name == MARK:
                continue
            try:
                keys[name.decode()] = Key.decode(record)
            except (BrokenRecord, UnicodeDecodeError) as error:
                log.error("a key is left out: %s", error)
        self._keys, self._records = keys, records
        hint = "" if keys else ": nobody gets in before 'larder key add' has made one"
        log.info("%d keys are known%s", len(keys), hint)
