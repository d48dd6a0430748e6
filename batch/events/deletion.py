"""Take users out of the stream and out of exported files.

Whom to take out of files is noted in the server as a SHA-256, until an export has done it, with the
last entry of the stream at that time: what a user does afterwards stays.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb

from app.contracts.events import Actor, Streams, digest, order
from batch.events.folder import Folder, copy, replace, write_text, writing
from batch.events.stream import Stream
from batch.generations.connect import Client, cache_errors
from batch.interactions.table import literal

Gone = Mapping[str, str]
"""The digest of a user -> the last id of the stream that has to go."""

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


def want(client: Client, keys: Streams, user: str) -> Gone:
    """Note that a user is to be taken out of files, and return it: the next export does it."""
    newest = Stream(client, keys).newest()
    with cache_errors():
        exported: bytes = client.hget(keys.exported, "until") or b""
        ends = [exported.decode(), *(stream_id.decode() for stream_id, _ in newest)]
        gone = {digest(user): max(ends, key=order)}
        client.hset(keys.deleted, mapping=gone)
    return gone


def done(client: Client, keys: Streams, gone: Gone) -> None:
    """Note that these are in no file any more."""
    if gone:
        with cache_errors():
            client.eval(_DONE, 1, keys.deleted, *chain.from_iterable(gone.items()))


def is_gone(gone: Gone, user: str, stream_id: str) -> bool:
    """Whether an entry is one that has to go."""
    return order(stream_id) <= order(gone.get(digest(user), ""))


def rewrite(connection: duckdb.DuckDBPyConnection, folder: Folder, gone: Gone) -> int:
    """Write the files anew in which users are who must go; return how many these were.

    A file keeps its name, for that says how far the folder reaches, even if nothing is left in it.
    """
    if not gone:
        return 0
    theirs, changed = _theirs(gone), 0
    with writing(folder.path):
        for file in folder.files():
            one = f"SELECT 1 FROM {file.rows} WHERE {theirs} LIMIT 1"
            if connection.execute(one).fetchall():
                kept = f"SELECT * FROM {file.rows} WHERE NOT {theirs}"
                replace(file.path, lambda beside: copy(connection, kept, beside))
                changed += 1
            _rewrite_rejects(file.rejects, gone)
    return changed


def sessions(connection: duckdb.DuckDBPyConnection, folder: Folder, gone: Gone) -> set[str]:
    """The sessions that stood with users who must go in an exported event."""
    found: set[str] = set()
    if not gone:
        return found
    theirs = f"session != '' AND {_theirs(gone)}"
    with writing(folder.path):
        for file in folder.files():
            sql = f"SELECT DISTINCT session FROM {file.rows} WHERE {theirs}"
            found.update(row[0] for row in connection.execute(sql).fetchall())
    return found


def forget(
    client: Client, keys: Streams, user: str, sessions: Iterable[str] = ()
) -> tuple[int, int]:
    """Take a user out of the stream, and what they and their sessions did lately.

    sessions: some that are known to be theirs, beside those that the stream knows. Workers of the
    API learn by an entry that what they keep must go. Returns how many entries and recents went.
    """
    stream, name = Stream(client, keys), user.encode()
    theirs, events = set(sessions), 0
    last = stream.newest()  # what comes meanwhile was done after the user was to be forgotten
    for batch in stream.between("", last[0][0].decode()) if last else ():
        mine = [entry for entry in batch if entry[1].get(b"user") == name]
        theirs |= {entry[1].get(b"session", b"").decode(errors="ignore") for entry in mine}
        if mine:
            with cache_errors():
                events += client.xdel(keys.events, *(stream_id for stream_id, _ in mine))
    recents = unlink(client, keys, [Actor.user(user), *map(Actor.session, theirs - {""})])
    tell(client, keys)
    return events, recents


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
    ends = ", ".join(f"{literal(user)}: {[*order(last)]}" for user, last in sorted(gone.items()))
    return (
        f"(sha256(user) IN ({', '.join(map(literal, sorted(gone)))}) AND "
        f"string_split(stream_id, '-')::HUGEINT[] <= "
        f"MAP {{{ends}}}[sha256(user)]::HUGEINT[])"
    )


def _rewrite_rejects(path: Path, gone: Gone) -> None:
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not _is_gone(gone, json.loads(line))]
    if len(kept) < len(lines):
        replace(path, lambda beside: write_text(beside, "".join(kept)))


def _is_gone(gone: Gone, reject: dict[str, Any]) -> bool:
    return is_gone(gone, str(reject["entry"].get("user", "")), reject["stream_id"])
