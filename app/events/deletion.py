"""A user is taken out of what is kept of events: the stream and the recents.

Files that were exported are beyond the API. The next export takes the user out of them, up to the
last entry of the stream at the time of the deletion.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.cache.connect import Client
from app.contracts.events import Actor, Entry, Streams, digest, order

_ENTRIES_AT_A_TIME = 1000


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many entries of the stream, and recents of the user and of sessions, are gone.

    pending: whether exported files may hold the user, and tell of more sessions.
    """

    events: int
    recents: int
    pending: bool


def forget(client: Client, streams: Streams, user: str) -> Forgotten:
    """Take a user out of all that the server of the events holds, and have files follow.

    It reads the whole stream, a million events in some seconds. Raises as the client does; then
    ask again.
    """
    server: Any = client
    last = _last(server, streams)
    server.hset(streams.deleted, digest(user), last)
    sessions, events = set[str](), 0
    for entries in _entries(server, streams.events, last):
        mine = [entry for entry in entries if entry[1].get(b"user") == user.encode()]
        sessions |= {told.get(b"session", b"").decode(errors="replace") for _, told in mine}
        if mine:
            events += server.xdel(streams.events, *(name for name, _ in mine))
    actors = [Actor.user(user), *map(Actor.session, sessions - {""})]
    recents = sum(server.unlink(*streams.keys_of(who)) for who in actors)
    pending = server.hexists(streams.exported, "folder")
    if not pending:  # an export that began meanwhile has read who is deleted, or no event of theirs
        server.hdel(streams.deleted, digest(user))
    return Forgotten(events, recents, pending)


def tell(client: Client, streams: Streams) -> None:
    """Have every worker forget the lists that it has near."""
    server: Any = client
    server.xadd(streams.events, {"clear": "1"})


def _last(server: Any, streams: Streams) -> str:
    """The id of the last entry of now, in the stream or in files; "" where there is none."""
    ends: list[bytes] = [server.hget(streams.exported, "until") or b""]
    ends += [stream_id for stream_id, _ in server.xrevrange(streams.events, count=1)]
    return max((end.decode() for end in ends), key=order)


def _entries(server: Any, key: str, last: str) -> Iterator[list[Entry]]:
    """Those up to an id: what comes meanwhile was done after the user was to be forgotten."""
    position = b"-"
    while last and (entries := server.xrange(key, position, last, _ENTRIES_AT_A_TIME)):
        yield entries
        position = b"(" + entries[-1][0]
