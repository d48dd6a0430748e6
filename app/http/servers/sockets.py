"""The connections that this process has accepted, as the kernel sees them.

granian does not tell which they are. The kernel does: they are among the files that the process has
open, and of a TCP connection it knows when bytes came and went (Linux; elsewhere none is found).
"""

import fcntl
import os
import socket
import stat
import struct
import termios
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress

_TCP_INFO = struct.Struct("=44xI4xI64xQQ")
"""Of the kernel's tcp_info: ms since data was sent, and came; bytes acknowledged, and that came."""
_QUEUED = struct.Struct("=i")


def is_connected(bind: str) -> bool:
    """Whether anybody is connected to the address that the server listens on."""
    return any(True for _ in _accepted(bind))


def written_bytes(bind: str) -> dict[int, int]:
    """How much was written on each TCP connection so far, by the kernel's number.

    What its client has not read counts as well: it waits in the kernel.
    """
    return {number: _written(each) for number, each in _accepted(bind) if _is_tcp(each)}


def end_where_written(bind: str, before: Mapping[int, int], count: int) -> None:
    """End the connections on which just so many bytes were written since ``written_bytes``."""
    for number, each in _accepted(bind):
        if _is_tcp(each) and _written(each) - before.get(number, 0) == count:
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
            written = _begun(connection)
            if written is None:
                continue
            since = begun[number] = self._begun.get(number, (written, now))
            if since[0] != written:  # something was answered meanwhile
                begun[number] = written, now
            elif now - since[1] >= self._limit and connection.getpeername()[0] not in spared:
                _end(connection)
        self._begun = begun


def _begun(connection: socket.socket) -> int | None:
    """How many bytes were written in all, when some have come since the last went; else None."""
    if not _is_tcp(connection):
        return None
    sent_ms, came_ms, _, came = _info(connection)
    written = _written(connection)
    return written if came and (came_ms < sent_ms or not written) else None


def _written(connection: socket.socket) -> int:
    queued = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(_QUEUED.size))
    return _info(connection)[2] + int(_QUEUED.unpack(queued)[0])


def _is_tcp(connection: socket.socket) -> bool:
    return connection.family != socket.AF_UNIX


def _info(connection: socket.socket) -> tuple[int, int, int, int]:
    found = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    sent_ms, came_ms, acknowledged, came = _TCP_INFO.unpack(found)
    return sent_ms, came_ms, acknowledged, came


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
    if connection.family == socket.AF_UNIX or bind.startswith("unix:"):
        return bind == f"unix:{here}"
    return int(bind.rpartition(":")[2]) == int(here[1])
