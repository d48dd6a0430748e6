"""Clients that connect and then take their time, beside those whose answers are measured.

When the API ends one, another comes in its place.
"""

import contextlib
import resource
import selectors
import socket
import ssl
import time
from dataclasses import replace
from itertools import cycle, islice
from threading import Event, Thread
from urllib.parse import urlsplit

from loadtest.api import CannotRun
from loadtest.judge.inside import Dawdled

COUNT = 1000
OTHER_FILES = 200
PATIENCE_SECONDS = 5.0
DRIBBLE_SECONDS = 1.0

_POST = b"POST /recommendations HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\n"
DRIBBLES = b"GET /recommendations/"
KINDS = (
    b"",
    b"GET /recommendations/slow HTTP/1.1\r\nHost: slow\r\n",
    _POST + b"Content-Length: 1000\r\n\r\n{",
    _POST + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    DRIBBLES,
)
"""What they send: nothing, half a head, half a body, half a chunk, one byte a second."""


class Dawdlers:
    """So many slow clients of a URL for as long as the block lasts."""

    def __init__(self, url: str, count: int = COUNT) -> None:
        self._url = urlsplit(url)
        self._selector = selectors.DefaultSelector()
        self._dribbling: set[socket.socket] = set()
        self._seen = Dawdled(count)
        self._stop = Event()
        self._thread = Thread(target=self._work, name="dawdlers")

    def __enter__(self) -> "Dawdlers":
        _allow_files(self._seen.count + OTHER_FILES)
        try:
            for kind in islice(cycle(KINDS), self._seen.count):
                self._open(kind)
        except BaseException:
            self._close()
            raise
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()
        self._close()

    def seen(self) -> Dawdled:
        """What became of them until now."""
        return replace(self._seen)

    def _work(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                self._hear(key.fileobj, key.data)
            if time.monotonic() >= due:
                due += DRIBBLE_SECONDS
                for each in list(self._dribbling):
                    with contextlib.suppress(OSError):  # its end is heard, too
                        each.send(b"a")

    def _hear(self, client: socket.socket, kind: bytes) -> None:
        try:
            came = client.recv(65_536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            came = b""
        self._seen.told += came.startswith(b"HTTP/1.1 408 ")
        if not came:
            self._seen.ended += 1
            self._forget(client)
            self._open(kind)

    def _open(self, kind: bytes) -> None:
        try:
            client = self._connected()
        except OSError:
            self._seen.refused += 1
            return
        self._seen.opened += 1
        self._selector.register(client, selectors.EVENT_READ, kind)
        if kind == DRIBBLES:
            self._dribbling.add(client)
        with contextlib.suppress(OSError):
            client.sendall(kind)
            client.setblocking(False)

    def _connected(self) -> socket.socket:
        secure = self._url.scheme == "https"
        host, port = self._url.hostname or "", self._url.port or (443 if secure else 80)
        client = socket.create_connection((host, port), PATIENCE_SECONDS)
        if secure:
            return ssl.create_default_context().wrap_socket(client, server_hostname=host)
        return client

    def _forget(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        self._dribbling.discard(client)
        client.close()

    def _close(self) -> None:
        for client in [key.fileobj for key in self._selector.get_map().values()]:
            assert isinstance(client, socket.socket)
            self._forget(client)
        self._selector.close()


def _allow_files(count: int) -> None:
    """Let this process open so many files. Raises CannotRun."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, hard) and hard < count:
        raise CannotRun(f"slow connections need {count:,} open files (ulimit -n), not {hard:,}")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
