"""A user is taken out of what is kept of events: the stream and the recents.

Files that were exported are beyond the API. The next export takes the user out of them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.cache.connect import Client
from app.contracts.events import Actor, Streams

_ENTRIES_AT_A_TIME = 1000

Entry = tuple[bytes, Mapping[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many entries of the stream, and recents of the user and of sessions, are gone."""

    events: int
    recents: int


def forget(client: Client, streams: Streams, user: str) -> Forgotten:
    """Take a user out of all that the server of the events holds, and have files follow.

    It reads the whole stream, a million events in some seconds. Raises as the client does; then
    ask again.
    """
    server: Any = client
    server.sadd(streams.deleted, hashlib.sha256(user.encode()).hexdigest())
    sessions, events = set[str](), 0
    for entries in _entries(server, streams.events):
        mine = [entry for entry in entries if entry[1].get(b"user") == user.encode()]
        sessions |= {told.get(b"session", b"").decode(errors="replace") for _, told in mine}
        if mine:
            events += server.xdel(streams.events, *(name for name, _ in mine))
    actors = [Actor.user(user), *map(Actor.session, sessions - {""})]
    return Forgotten(events, sum(server.unlink(*streams.keys_of(who)) for who in actors))


def tell(client: Client, streams: Streams) -> None:
    """Have every worker forget the lists that it has near."""
    server: Any = client
    server.xadd(streams.events, {"clear": "1"})


def _entries(server: Any, key: str) -> Iterator[list[Entry]]:
    """Those of now: what comes meanwhile was done after the user was to be forgotten."""
    last = server.xrevrange(key, count=1)
    position = b"-"
    while last and (entries := server.xrange(key, position, last[0][0], _ENTRIES_AT_A_TIME)):
        yield entries
        position = b"(" + entries[-1][0]
