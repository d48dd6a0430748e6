"""What a worker has answered lately, so that it can answer again without asking the cache."""

import struct
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from cachetools import LRUCache

from app.contracts.events import Actor
from app.contracts.recommendations import decode_history, decode_record

Entries = list[tuple[int, float]]
Who = str | Actor
"""A user, or somebody else."""

NOTHING: Mapping[int, float] = {}

_EVICTIONS = 10_000
_PAIR = struct.Struct("<If")


@dataclass(slots=True)
class Remembered:
    """A record and what was last rendered of it: how many entries, and their JSON.

    popular: the record is what is popular, for a user of whom the model knows nothing.
    own: the list that follows from what the user did lately, in place of the record, and what its
    source is called; rest: what follows it, packed; version: that of what they did, which changes
    when they do more.
    vector, history: as the cache holds them; wanted: how much the user wanted what the list follows
    from; gone: the items that it must not show. ruled: what the rules made of it, under their tag.
    """

    record: bytes
    popular: bool = False
    rendered: tuple[int, bytes] = (0, b"")
    own: Entries | None = None
    rest: bytes = b""
    source: str = "personal"
    version: int = 0
    vector: bytes = b""
    history: bytes = b""
    wanted: Mapping[int, float] = field(default_factory=lambda: NOTHING)
    gone: Collection[int] = ()
    ruled: "tuple[tuple[str, str], Remembered] | None" = None

    def follow(self, own: Entries, k: int) -> None:
        """Answer from the first k of these; the others wait until rules or a filter want more."""
        self.own = own[:k]
        self.rest = b"".join([_PAIR.pack(*entry) for entry in own[k:]])

    def entries(self) -> Entries:
        """All that rules and filters choose from. Raises BrokenRecord."""
        if self.own is None:
            return decode_record(self.record)
        return [*self.own, *_PAIR.iter_unpack(self.rest)]

    def weights(self) -> dict[int, float]:
        """How much the user wanted items, before training and since; hidden ones weigh nothing."""
        weights = {item: weight for item, weight in decode_history(self.history) if weight > 0}
        for item, weight in self.wanted.items():
            weights[item] = weights.get(item, 0.0) + weight
        return weights

    def had(self) -> set[int]:
        """What must not come back, hidden items among it. Raises BrokenRecord."""
        return {*self.gone, *(item for item, _ in decode_history(self.history))}


class NearCache:
    """The lists of the users asked for most recently, shared by a worker's threads.

    It belongs to one generation and goes with it. Only users whom the generation knows are kept,
    or who did something: a crowd of made-up ids cannot push the real ones out.

    A list that is on its way while its user does something must not be kept. So whoever fetches
    one takes a ticket first, and one that is older than the user's eviction is refused.
    """

    def __init__(self, users: int) -> None:
        self._lists: LRUCache[Who, Remembered] = LRUCache(maxsize=max(users, 1))
        self._enabled = users > 0
        self._lock = Lock()
        self._evicted: OrderedDict[Who, int] = OrderedDict()  # of a dict the oldest is far away
        self._now = self._forgotten = 0

    def get(self, user: Who) -> Remembered | None:
        """The user's list, or None when it is not here."""
        with self._lock:
            return self._lists.get(user)

    def ticket(self) -> int:
        """Take it before a list is fetched, for ``put``."""
        return self._now

    def put(self, user: Who, remembered: Remembered, ticket: int) -> None:
        """Keep the list in place of the one not asked for the longest, unless it is out of date."""
        if self._enabled:
            with self._lock:
                if ticket >= self._evicted.get(user, self._forgotten):
                    self._lists[user] = remembered

    def evict(self, users: Iterable[Who]) -> None:
        """Forget these, and lists of theirs that are on their way."""
        with self._lock:
            self._now += 1
            for user in users:
                self._lists.pop(user, None)
                self._evicted[user] = self._now
                self._evicted.move_to_end(user)
            while len(self._evicted) > _EVICTIONS:
                _, self._forgotten = self._evicted.popitem(last=False)

    def clear(self) -> None:
        """Forget all, and all lists that are on their way."""
        with self._lock:
            self._now += 1
            self._forgotten = self._now
            self._lists.clear()
            self._evicted.clear()
