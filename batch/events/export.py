"""From the stream into files, each event exactly once, whenever a run dies.

A run goes on behind the last id in the names of the files, so a renamed file is all that has to
last. A server that does not know the folder, since it lost its data, is read from the start. Only
what is in files is trimmed, and not of the last minute, which workers of the API may
still be reading. What a client sent twice is in the files twice, under one id: readers merge it.
"""

import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import duckdb

from app.contracts.events import Actor, Entry, Streams, ms_of, order
from app.contracts.generations import Manifest, Space
from batch.errors import BadSettings, LostLock
from batch.events import columns, deletion, folder
from batch.events.deletion import Deleted, Gone
from batch.events.folder import Folder
from batch.events.stream import Stream
from batch.generations.connect import Client, cache_errors
from batch.generations.lock import Lease, hold
from batch.interactions.sources.table import database
from batch.progress import Advance

log = logging.getLogger("larder.events")

PIECE = 100_000
PIECE_BYTES = 1 << 26
_UNREAD_MS = 60_000
_DAY_MS = 86_400_000

# DEL first: a server without free memory refuses HSET, and nothing but an export can free some.
_NOTE = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV))
"""


class Events(Space[Manifest]):
    """The keys of a tenant's exports: of these only the lock is used."""

    __slots__ = ()
    infix: ClassVar[str] = "events:"


@dataclass(frozen=True, slots=True)
class Exported:
    """What a run did: events and rejects that it put into so many files; bytes they take.

    until: the last id in files, of this run or one before; deleted: users whose events it took out.
    """

    events: int
    rejects: int
    files: int
    bytes: int
    until: str
    deleted: int


@contextmanager
def alone(client: Client, namespace: str) -> Iterator[Lease]:
    """Hold the lock of a namespace's files. Raises Locked, LostLock or CacheUnavailable."""
    try:
        with hold(client, Events(namespace), doing="exported") as lease:
            yield lease
    except LostLock as error:
        raise LostLock(
            "another export took over while this one stood still; nothing is lost: run it again"
        ) from error


@dataclass(frozen=True, slots=True)
class Exporter:
    """An export of one namespace into one folder, for the holder of the lock."""

    client: Client
    namespace: str
    path: Path
    lease: Lease
    connection: duckdb.DuckDBPyConnection
    now: Callable[[], float]

    @property
    def stream(self) -> Stream:
        """The stream that is exported."""
        return Stream(self.client, Streams(self.namespace))

    def claim(self, take_over: bool) -> tuple[Folder, str]:
        """Make the folder, and note it as the one that these events go to.

        Returns it, and the id behind which it goes on. Raises BadSettings for a folder of other
        events, when another one is noted, or when the stream ends before the folder does.
        """
        there = folder.find(self.path, self.namespace)
        noted = noted_folder(self.client, self.stream.keys)
        is_noted = there is not None and there.id == noted
        if noted and not (is_noted or take_over):
            raise BadSettings(
                f"the events of namespace {self.namespace!r} go to another folder than "
                f"{self.path} (its id is {noted}): name that one, "
                "or let this one get what comes from now on with --take-over"
            )
        self._expect_later(there.until() if there else "")
        ours = folder.make(self.path, self.namespace)
        ours.clean()
        until = self.note(ours)
        return ours, until if is_noted else ""

    def _expect_later(self, until: str) -> None:
        """Raise BadSettings for entries that could not follow those in files."""
        last = self.stream.last()
        if last and order(last) < order(until):
            raise BadSettings(
                f"the stream of namespace {self.namespace!r} ends at {last}, before the files of "
                f"{self.path} do, at {until}: its server was restored, or its clock is behind; "
                "set the clock, or export into a new folder with --take-over and refresh from both"
            )

    def note(self, ours: Folder) -> str:
        """Tell the server how far the folder reaches, and return it."""
        until = ours.until()
        values = ["folder", ours.id, *(["until", until] if until else [])]
        with cache_errors():
            self.client.eval(_NOTE, 1, self.stream.keys.exported, *values)
        return until

    def forget_sessions(self, ours: Folder, gone: Gone) -> tuple[Gone, int]:
        """Take users' sessions out of the files, and what they did lately out of the server.

        Returns who must go, with the sessions that the files know, and how many recents went.
        """
        known = deletion.sessions(self.connection, ours, gone)
        recents = deletion.unlink(self.client, self.stream.keys, map(Actor.session, known))
        theirs = deletion.with_sessions(gone, known)
        deletion.rewrite(self.connection, ours, deletion.only_sessions(theirs))
        return theirs, recents

    def move(self, ours: Folder, piece: list[Entry], gone: Gone) -> tuple[int, int, int] | None:
        """Put a piece of the stream into a file; returns its events, its rejects and its bytes.

        None where there is nothing to put: a file of no rows would be one more for each deletion.
        """
        first, last = piece[0][0].decode(), piece[-1][0].decode()
        kept = deletion.without(self.client, self.stream.keys, piece, gone)
        rejects = columns.lay(self.connection, kept)
        if not self.lease.held():
            raise LostLock("another run has taken the lock")
        (events,) = self.connection.execute("SELECT count(*) FROM entries").fetchall()[0]
        if not events and not rejects:
            self.drop_read([name for name, _ in kept])
            return None
        size = ours.write(self.connection, first, last, rejects)
        self.note(ours)
        self.trim(last)
        return events, len(rejects), size

    def drop_read(self, names: Sequence[bytes]) -> None:
        """Delete entries, but not what workers of the API may still be reading."""
        self.stream.drop([name for name in names if ms_of(name.decode()) < self._read_ms()])

    def trim(self, until: str) -> None:
        """Drop what is in files from the stream, but not what is still read."""
        if until:
            self.stream.trim(until, self._read_ms())

    def _read_ms(self) -> int:
        return int(self.now() * 1000) - _UNREAD_MS


def export(
    client: Client,
    namespace: str,
    path: Path,
    *,
    take_over: bool = False,
    advance: Advance = lambda done: None,
    now: Callable[[], float] = time.time,
) -> Exported:
    """Put all that is in the stream now into the folder, and trim the stream.

    Users whose deletion was asked for are taken out of all files. Raises BadSettings for a
    folder that is not for these events, DiskUnavailable, CacheUnavailable, Locked or LostLock.
    """
    moved: list[tuple[int, int, int]] = []
    with alone(client, namespace) as lease, database() as (connection, _), _no_collection():
        run = Exporter(client, namespace, path, lease, connection, now)
        ours, position = run.claim(take_over)
        run.trim(position)
        wanted = deletion.wanted(client, run.stream.keys)
        gone, recents = run.forget_sessions(ours, wanted)
        for piece in _pieces(run.stream, position):
            if done := run.move(ours, piece, gone):
                moved.append(done)
            advance(len(piece))
        if recents:
            deletion.tell(client, run.stream.keys)
        deletion.rewrite(connection, ours, wanted)  # last: these rows say whose a session is
        deletion.done(client, run.stream.keys, wanted)
    users = len(wanted) - len(deletion.only_sessions(wanted))
    events, rejects, size = map(sum, zip((0, 0, 0), *moved, strict=True))
    if rejects:
        where = path / folder.REJECTS
        log.warning("%s entries of the stream are no events: see %s", rejects, where)
    return Exported(events, rejects, len(moved), size, ours.until(), users)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Look for no garbage: a piece is very many objects without a cycle, and that took a third."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _pieces(stream: Stream, after: str) -> Iterator[list[Entry]]:
    """What is behind an id, up to the last one of now, cut into pieces of one day each."""
    piece: list[Entry] = []
    size, last = 0, stream.newest()
    for batch in stream.between(after, last[0][0].decode()) if last else ():
        for some in _by_day(batch):
            if piece and (
                len(piece) >= PIECE or size >= PIECE_BYTES or _day(piece[0]) != _day(some[0])
            ):
                yield piece
                piece, size = [], 0
            piece += some
            size += sum([sum(map(len, entry.values())) for _, entry in some])
    if piece:
        yield piece


def _by_day(batch: list[Entry]) -> Iterable[list[Entry]]:
    if _day(batch[0]) == _day(batch[-1]):
        return [batch]
    return [list(some) for _, some in groupby(batch, _day)]


def _day(entry: Entry) -> int:
    return ms_of(entry[0].decode()) // _DAY_MS


def noted_folder(client: Client, keys: Streams) -> str:
    """The id of the folder that these events go to; "" for none."""
    with cache_errors():
        noted: bytes = client.hget(keys.exported, "folder") or b""
    return noted.decode()


def delete_user(client: Client, keys: Streams, user: str, path: Path | None) -> Deleted:
    """Take a user out of the stream, the recents and, where a folder is given, its files.

    Without the folder the next export does that. Raises as ``export`` does.
    """
    gone, known = deletion.want(client, keys, user)
    if path is None:
        events, recents = deletion.forget(client, keys, user, known, gone)
        return Deleted(events, recents, 0, _is_pending(client, keys, gone, ""))
    with alone(client, keys.name), database() as (connection, _):
        ours = folder.find(path, keys.name)
        if ours is None:
            raise BadSettings(f"{path} is no folder of events: name the one that has them")
        ours.clean()
        named = dict.fromkeys(gone, max(ours.until(), *gone.values(), key=order))
        in_files = deletion.sessions(connection, ours, named)
        theirs = deletion.with_sessions(named, in_files)
        events, recents = deletion.forget(client, keys, user, known | in_files.keys(), theirs)
        files = deletion.rewrite(connection, ours, deletion.only_sessions(theirs))
        files |= deletion.rewrite(connection, ours, theirs)
    return Deleted(events, recents, len(files), _is_pending(client, keys, gone, ours.id))


def _is_pending(client: Client, keys: Streams, gone: Gone, cleaned: str) -> bool:
    """Whether a folder is left to clean; when none is, nothing has to be noted any more."""
    pending = noted_folder(client, keys) not in ("", cleaned)
    if not pending:
        deletion.done(client, keys, gone)
    return pending
