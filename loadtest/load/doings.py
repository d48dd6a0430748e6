"""What the load's users click and buy, and what must follow from it: in their lists, in no others.

Every other user does nothing in the whole run, so that their lists must stay as they are. Of those
who do something, each belongs to one process of the load generator, which alone acts and checks.
"""

from collections.abc import Mapping
from dataclasses import replace
from zlib import crc32

from loadtest.load.population import Caller, Role

FELT_SECONDS = 0.6
"""So long after the 202 every worker must know: a watch interval of 500 ms and the poll itself."""
MOST = 30
"""How many items a user has done something with at the end: lists of 50 stay full, and the API
remembers at least 100."""


class Doings:
    """What was done by the users of one process, and when it was acknowledged."""

    def __init__(self, index: int = 0, processes: int = 1) -> None:
        self._index, self._processes = index, processes
        self._done: dict[str, dict[str, tuple[str, float]]] = {}

    def caller(self, caller: Caller, now: float) -> Caller:
        """The same caller, who knows what must not be shown to whoever asks now."""
        gone = {
            item: type
            for item, (type, at) in self._done.get(caller.user, {}).items()
            if now >= at + FELT_SECONDS
        }
        return replace(caller, role=self._role(caller), gone=gone)

    def may_act(self, caller: Caller) -> bool:
        """Whether this process may let the user do more."""
        if len(self._done.get(caller.user, ())) >= MOST:
            return False
        if caller.is_stranger:
            return True
        number = crc32(caller.user.encode())
        return number % 2 == 1 and number // 2 % self._processes == self._index

    def did(self, user: str, deeds: Mapping[str, str], now: float) -> None:
        """Note what the API has taken at that moment: the types by their items."""
        done = self._done.setdefault(user, {})
        for item, type in deeds.items():
            done.setdefault(item, (type, now))

    def _role(self, caller: Caller) -> Role:
        if caller.is_stranger:
            return Role.ACTS if caller.user in self._done else Role.STANDS_BY
        return Role.ACTS if crc32(caller.user.encode()) % 2 else Role.STANDS_BY
