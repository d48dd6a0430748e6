"""The connections that this process has accepted, as the kernel sees them.

granian does not tell which they are. The kernel does: they are among the files that the process has
open, and of a TCP connection it knows when bytes came and went (Linux; elsewhere none is found).
"""

import os
import socket
import stat
import struct
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress

_TCP_INFO = struct.Struct("=44xI4xI72xQ64xQ")
"""Of the kernel's tcp_info: ms since data was sent, and came; bytes that came, and were sent."""


def is_connected(bind: str) -> bool:
    """Whether anybody is connected to the address that the server listens on."""
    return any(True for _ in _accepted(bind))


def sent_bytes(bind: str) -> dict[int, int]:
    """How much was sent on each TCP connection so far, by the kernel's number."""
    return {number: _info(each)[3] for number, each in _accepted(bind) if _is_tcp(each)}


def end_where_sent(bind: str, before: Mapping[int, int], count: int) -> None:
    """End the connections on which just so many bytes were sent since ``sent_bytes``."""
    for number, each in _accepted(bind):
        if _is_tcp(each) and _info(each)[3] - before.get(number, 0) == count:
            _end(each)


class LateHeads:
    """Ends connections on which a request has begun and does not become whole.

    A connection that is silent between two requests is not late.
    """

    def __init__(self, bind: str, limit_seconds: float) -> None:
        self._bind = bind
        self._limit = limit_seconds
        self._begun: dict[int, tuple[int, float]] = {}
        self._looked = 0.0

    def end(self, spared: Collection[str]) -> None:
        """Look, and end what is late; not what comes from an address with a request in work."""
        now = time.monotonic()
        if now - self._looked > self._limit:  # this process was stopped, or looks the first time
            self._begun = {}
        self._looked = now
        begun: dict[int, tuple[int, float]] = {}
        for number, connection in _accepted(self._bind):
            sent = _begun(connection)
            if sent is None:
                continue
            since = begun[number] = self._begun.get(number, (sent, now))
            if since[0] != sent:  # something was answered meanwhile
                begun[number] = sent, now
            elif now - since[1] >= self._limit and connection.getpeername()[0] not in spared:
                _end(connection)
        self._begun = begun


def _begun(connection: socket.socket) -> int | None:
    """How many bytes were sent in all, when some have come since the last of them; else None."""
    if not _is_tcp(connection):
        return None
    sent_ms, came_ms, came, sent = _info(connection)
    return sent if came and (came_ms < sent_ms or not sent) else None


def _is_tcp(connection: socket.socket) -> bool:
    return connection.family != socket.AF_UNIX


def _info(connection: socket.socket) -> tuple[int, int, int, int]:
    found = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    sent_ms, came_ms, came, sent = _TCP_INFO.unpack(found)
    return sent_ms, came_ms, came, sent


def _end(connection: socket.socket) -> None:
    with suppress(OSError):  # it ended by itself
        connection.shutdown(socket.SHUT_RDWR)


def _accepted(bind: str) -> Iterator[tuple[int, socket.socket]]:
    """Each connection to this address, with the number that the kernel has for it."""
    for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else ():
        with suppress(OSError), _borrowed(int(name)) as (number, connection):
            connection.getpeername()  # else it listens, or is held in reserve
            if _is_at(connection, bind):
                yield number, connection


@contextmanager
def _borrowed(descriptor: int) -> Iterator[tuple[int, socket.socket]]:
    """The socket behind a descriptor, whatever becomes of that. Raises OSError for other files."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise OSError
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        yield os.fstat(connection.fileno()).st_ino, connection


def _is_at(connection: socket.socket, bind: str) -> bool:
    here = connection.getsockname()
    if connection.family == socket.AF_UNIX:
        return bind == f"unix:{here}"
    return bind.rpartition(":")[2] == str(here[1])
