"""Take users out of the stream and out of exported files.

Whom to take out of files is noted in the server as a SHA-256, until an export has done it.
"""

import hashlib
import json
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path

import duckdb

from app.contracts.events import Actor, Streams
from batch.events.folder import Folder, copy, replace, write_text, writing
from batch.events.stream import Stream
from batch.generations.connect import Client, cache_errors
from batch.interactions.table import literal


@dataclass(frozen=True, slots=True)
class Deleted:
    """What is gone: entries of the stream, recents of the user and of sessions, files changed.

    pending: whether files may still hold the user, until the next export.
    """

    events: int
    recents: int
    files: int
    pending: bool


def digest(user: str) -> str:
    """What stands for a user who is to be taken out of files."""
    return hashlib.sha256(user.encode()).hexdigest()


def wanted(client: Client, keys: Streams) -> frozenset[str]:
    """Who is to be taken out of files."""
    with cache_errors():
        members: set[bytes] = client.smembers(keys.deleted)
    return frozenset(member.decode() for member in members)


def want(client: Client, keys: Streams, user: str) -> None:
    """Note that a user is to be taken out of files: the next export does it."""
    with cache_errors():
        client.sadd(keys.deleted, digest(user))


def done(client: Client, keys: Streams, gone: Set[str]) -> None:
    """Note that these are in no file any more."""
    if gone:
        with cache_errors():
            client.srem(keys.deleted, *gone)


def rewrite(connection: duckdb.DuckDBPyConnection, folder: Folder, gone: Set[str]) -> int:
    """Write the files anew in which users are who must go; return how many these were.

    A file keeps its name, for that says how far the folder reaches, even if nothing is left in it.
    """
    if not gone:
        return 0
    theirs = f"sha256(user) IN ({', '.join(map(literal, sorted(gone)))})"
    changed = 0
    with writing(folder.path):
        for file in folder.files():
            rows = f"read_parquet({literal(str(file.path))}, hive_partitioning = false)"
            found = connection.execute(f"SELECT count(*) FROM {rows} WHERE {theirs}").fetchall()
            if found[0][0]:
                kept = f"SELECT * FROM {rows} WHERE NOT {theirs}"
                replace(file.path, lambda beside: copy(connection, kept, beside))
                changed += 1
            _rewrite_rejects(file.rejects, gone)
    return changed


def sessions(connection: duckdb.DuckDBPyConnection, folder: Folder, user: str) -> set[str]:
    """The sessions that stood with a user in an exported event."""
    found: set[str] = set()
    with writing(folder.path):
        for file in folder.files():
            rows = f"read_parquet({literal(str(file.path))}, hive_partitioning = false)"
            sql = f"SELECT DISTINCT session FROM {rows} WHERE user = ? AND session != ''"
            found.update(row[0] for row in connection.execute(sql, [user]).fetchall())
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
    actors = [Actor.user(user), *map(Actor.session, theirs - {""})]
    with cache_errors():
        recents = sum(client.unlink(*keys.keys_of(actor)) for actor in actors)
        client.xadd(keys.events, {"clear": "1"})
    return events, recents


def _rewrite_rejects(path: Path, gone: Set[str]) -> None:
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if digest(_user(line)) not in gone]
    if len(kept) < len(lines):
        replace(path, lambda beside: write_text(beside, "".join(kept)))


def _user(line: str) -> str:
    return str(json.loads(line)["entry"].get("user", ""))
