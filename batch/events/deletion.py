"""Take users out of the stream and out of exported files.

Whom to take out of files is noted in the server as a SHA-256, until an export has done it, with the
last entry of the stream at that time: what a user does afterwards stays. A session that an event
names beside the user is the user's: what names that session, and nobody, goes too.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb

from app.contracts.events import SESSION, Actor, Entry, Streams, digest, digest_of, order
from batch.events.folder import Folder, copy, replace, write_text, writing
from batch.events.stream import Stream
from batch.generations.connect import Client, cache_errors
from batch.interactions.sources.table import literal

Gone = Mapping[str, str]
"""The digest of a user, or of a session -> the last id of the stream that has to go."""

# Who was deleted again meanwhile has another id by now, and is still to be taken out.
_DONE = """
for place = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[place]) == ARGV[place + 1] then
    redis.call('HDEL', KEYS[1], ARGV[place])
  end
end
"""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What is gone: entries of the stream, recents of the user and of sessions, files changed.

    pending: whether files may still hold the user, and the server what sessions did that only the
    files know to be theirs, until the next export.
    """

    events: int
    recents: int
    files: int
    pending: bool


def wanted(client: Client, keys: Streams) -> Gone:
    """Who is to be taken out of files."""
    with cache_errors():
        found: dict[bytes, bytes] = client.hgetall(keys.deleted)
    return {user.decode(): last.decode() for user, last in found.items()}


def want(client: Client, keys: Streams, user: str) -> tuple[Gone, set[str]]:
    """Note that a user is to be taken out of files: the next export does it.

    Returns what was noted, and the sessions that the stream knows to be theirs.
    """
    stream = Stream(client, keys)
    with cache_errors():
        exported: bytes = client.hget(keys.exported, "until") or b""
    ends = [exported.decode(), *(stream_id.decode() for stream_id, _ in stream.newest())]
    last = max(ends, key=order)
    sessions = _sessions_in(stream, user, last)
    gone = dict.fromkeys([digest(user), *(digest_of("", each) for each in sessions)], last)
    with cache_errors():
        client.hset(keys.deleted, mapping=gone)
    return gone, sessions


def _sessions_in(stream: Stream, user: str, last: str) -> set[str]:
    name = user.encode()
    found = {
        told.get(b"session", b"").decode(errors="ignore")
        for batch in (stream.between("", last) if last else ())
        for _, told in batch
        if told.get(b"user") == name
    }
    return found - {""}


def done(client: Client, keys: Streams, gone: Gone) -> None:
    """Note that these are in no file any more."""
    if gone:
        with cache_errors():
            client.eval(_DONE, 1, keys.deleted, *chain.from_iterable(gone.items()))


def is_gone(gone: Gone, user: str, session: str, stream_id: str) -> bool:
    """Whether an entry is one that has to go."""
    return order(stream_id) <= order(gone.get(digest_of(user, session), ""))


def only_sessions(gone: Gone) -> Gone:
    """Those of these that are sessions."""
    return {name: last for name, last in gone.items() if name.startswith(SESSION)}


def rewrite(connection: duckdb.DuckDBPyConnection, folder: Folder, gone: Gone) -> set[Path]:
    """Write the files anew in which is who must go; return which these were.

    A file keeps its name, for that says how far the folder reaches, even if nothing is left in it.
    Of a user whose sessions only the files know, these must have gone before the user does, or a
    run that dies between would leave them.
    """
    changed: set[Path] = set()
    if not gone:
        return changed
    theirs = _theirs(gone)
    with writing(folder.path):
        for file in folder.files():
            one = f"SELECT 1 FROM {file.rows} WHERE {theirs} LIMIT 1"
            if connection.execute(one).fetchall():
                kept = f"SELECT * FROM {file.rows} WHERE NOT {theirs}"
                replace(file.path, lambda beside: copy(connection, kept, beside))
                changed.add(file.path)
            _rewrite_rejects(file.rejects, gone)
    return changed


def sessions(connection: duckdb.DuckDBPyConnection, folder: Folder, gone: Gone) -> dict[str, str]:
    """The sessions that stood with users who must go in an exported event -> the last id to go."""
    found: dict[str, str] = {}
    if not gone:
        return found
    theirs = f"user != '' AND session != '' AND {_theirs(gone)}"
    with writing(folder.path):
        for file in folder.files():
            sql = f"SELECT DISTINCT session, sha256(user) FROM {file.rows} WHERE {theirs}"
            for session, user in connection.execute(sql).fetchall():
                found[session] = max(found.get(session, ""), gone[user], key=order)
    return found


def with_sessions(gone: Gone, sessions: Mapping[str, str]) -> Gone:
    """These, and sessions of theirs."""
    found = dict(gone)
    for session, last in sessions.items():
        name = digest_of("", session)
        found[name] = max(found.get(name, ""), last, key=order)
    return found


def forget(
    client: Client, keys: Streams, user: str, sessions: Iterable[str], gone: Gone
) -> tuple[int, int]:
    """Take who must go out of the stream, and what they did lately.

    sessions: those of the user. Workers of the API learn by an entry that what they keep must go.
    Returns how many entries and recents went.
    """
    recents = unlink(client, keys, [Actor.user(user), *map(Actor.session, sessions)])
    events, last = 0, max(gone.values(), key=order)
    for batch in Stream(client, keys).between("", last) if last else ():
        events += len(batch) - len(without(client, keys, batch, gone))
    tell(client, keys)
    return events, recents


def without(client: Client, keys: Streams, entries: list[Entry], gone: Gone) -> list[Entry]:
    """The entries that may stay; the others are taken out of the stream."""
    if not gone:
        return entries
    kept = [entry for entry in entries if not is_gone(gone, *_whose(entry[1]), entry[0].decode())]
    left = {stream_id for stream_id, _ in kept}
    Stream(client, keys).drop([name for name, _ in entries if name not in left])
    return kept


def unlink(client: Client, keys: Streams, actors: Iterable[Actor]) -> int:
    """Delete what these did lately; return how many keys that were."""
    with cache_errors():
        return sum(client.unlink(*keys.keys_of(actor)) for actor in actors)


def tell(client: Client, keys: Streams) -> None:
    """Have every worker of the API forget the lists that it has near."""
    with cache_errors():
        client.xadd(keys.events, {"clear": "1"})


def _theirs(gone: Gone) -> str:
    """SQL for the rows that must go."""
    ends = ", ".join(f"{literal(who)}: {[*order(last)]}" for who, last in sorted(gone.items()))
    whose = f"if(user != '', sha256(user), {literal(SESSION)} || sha256(session))"
    return (
        f"({whose} IN ({', '.join(map(literal, sorted(gone)))}) AND "
        f"string_split(stream_id, '-')::HUGEINT[] <= MAP {{{ends}}}[{whose}]::HUGEINT[])"
    )


def _whose(told: Mapping[bytes, bytes]) -> tuple[str, str]:
    user, session = (told.get(name, b"").decode(errors="replace") for name in (b"user", b"session"))
    return user, session


def _rewrite_rejects(path: Path, gone: Gone) -> None:
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not _is_gone(gone, json.loads(line))]
    if len(kept) < len(lines):
        replace(path, lambda beside: write_text(beside, "".join(kept)))


def _is_gone(gone: Gone, reject: dict[str, Any]) -> bool:
    user, session = (str(reject["entry"].get(name, "")) for name in ("user", "session"))
    return is_gone(gone, user, session, reject["stream_id"])
