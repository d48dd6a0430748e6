"""A user is taken out of what is kept of events: the stream and the recents.

Files that were exported are beyond the API. The next export takes the user out of them, up to the
last entry of the stream at the time of the deletion.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.cache.connect import Client
from app.contracts.events import Actor, Entry, Streams, digest, digest_of, order

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

    With the user go the sessions that the stream names beside them, also where an event names no
    user. It reads the whole stream twice, a million events in some seconds. Raises as the client
    does; then ask again.
    """
    server: Any = client
    name, last = user.encode(), _last(server, streams)
    sessions = _sessions(server, streams, name, last)
    gone = {digest(user), *(digest_of("", session.decode()) for session in sessions)}
    server.hset(streams.deleted, mapping=dict.fromkeys(gone, last))
    actors = [Actor.user(user), *(Actor.session(session.decode()) for session in sessions)]
    recents = sum(server.unlink(*streams.keys_of(who)) for who in actors)
    events = 0
    for entries in _entries(server, streams.events, last):
        if mine := [entry for entry, told in entries if _is_of(told, name, sessions)]:
            events += server.xdel(streams.events, *mine)
    pending = server.hexists(streams.exported, "folder")
    if not pending:  # an export that began meanwhile has read who is deleted, or no event of theirs
        server.hdel(streams.deleted, *gone)
    return Forgotten(events, recents, pending)


def _sessions(server: Any, streams: Streams, user: bytes, last: str) -> set[bytes]:
    """Those that the stream names beside the user."""
    found = {
        told.get(b"session", b"")
        for entries in _entries(server, streams.events, last)
        for _, told in entries
        if told.get(b"user") == user
    }
    return {session for session in found if session}


def _is_of(told: Mapping[bytes, bytes], user: bytes, sessions: set[bytes]) -> bool:
    """Whether an event is the user's, or one that names a session of theirs and nobody."""
    by = told.get(b"user")
    return by == user or (not by and told.get(b"session") in sessions)


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
