"""gunicorn's worker: one loop for all clients, and threads for whole requests alone.

    listener -> loop reads -> whole request -> thread answers -> loop sends what was not taken
                  |    ^                             |
                  |    |________ kept alive _________|
                  |
                  |__ refused: wrong, or not there in time

No thread waits for a client: not for the rest of a head or body, not for one that does not read
its answer, not for one that does not close.
"""

import errno
import io
import math
import os
import socket
import sys
import time
from datetime import datetime
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

from gunicorn.errors import ConfigError
from gunicorn.http import wsgi
from gunicorn.workers.base import Worker

from app.http.connections import refusals
from app.http.connections.clients import Clients, Limits
from app.http.connections.connection import Connection
from app.http.connections.incoming import Whole
from app.http.connections.shares import Share
from app.http.servers.descriptors import connections
from app.settings import Settings

STOP_SECONDS = 2.0
"""A worker that stops keeps idle connections so long, for a request that is on its way."""

SWITCH_SECONDS = 0.001
"""So long a thread computes before the loop has its turn. With Python's own 5 ms the loop, which
gives way at each client that it reads, leaves the last ones of a turn waiting for long."""

BURST = 64
"""So many connections are taken before those that are there have their turn."""

PAUSE_SECONDS = 0.001
"""So long a connection is not looked at that was left to another worker."""

_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class PatientWorker(Worker):  # type: ignore[misc]
    """One process that answers. gunicorn makes it before it forks."""

    share: Share | None = None
    """What it knows of the other workers, if anything."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse what this worker would take for plain HTTP. Raises ConfigError."""
        if cfg.is_ssl or cfg.protocol != "http":
            raise ConfigError("the API speaks plain HTTP: leave TLS and uwsgi to a proxy")

    def init_process(self) -> None:
        """Get ready after the fork, then run."""
        settings = Settings.from_environment()
        limits = Limits(
            timeout_seconds=settings.request_timeout_ms / 1000,
            keep_alive_seconds=self.cfg.keepalive,
            body_bytes=settings.max_body_bytes,
            connections=min(self.cfg.worker_connections, connections()),
        )
        self._whole: SimpleQueue[tuple[Connection, Whole]] = SimpleQueue()
        self._clients = Clients(self.cfg, self.log, limits, self._enqueue)
        self._listens = self._is_asked = False
        self._listen_at = 0.0
        super().init_process()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """SIGTERM: finish what was begun."""
        self._stop()

    def _stop(self) -> None:
        self.alive = False
        self._clients.wake()

    def run(self) -> None:
        """Answer until the worker is told to stop, then finish."""
        sys.setswitchinterval(SWITCH_SECONDS)
        for listener in self.sockets:
            listener.setblocking(False)
        for _ in range(self.cfg.threads):
            Thread(target=self._work, daemon=True).start()
        while self.alive and self.ppid == os.getppid():
            self._listen()
            self._turn(math.inf if self._listens else PAUSE_SECONDS)
        self._finish()

    def _turn(self, seconds: float) -> None:
        self.notify()
        self._is_asked = False
        self._clients.turn(seconds)
        if self.share:
            self.share.write(len(self._clients))
            if self._listens and not self._is_asked:
                self.share.went()

    def _finish(self) -> None:
        self.alive = False
        share, self.share = self.share, None
        if share:
            share.close()
        for listener in self.sockets:
            self._accept(listener, 0)  # those that were left to others, too
        self._ignore()
        self._clients.stop(STOP_SECONDS)
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while len(self._clients) and time.monotonic() < deadline:
            self._turn(math.inf)
        self._clients.close()

    def _listen(self) -> None:
        if not self._listens and time.monotonic() >= self._listen_at:
            for listener in self.sockets:
                self._clients.listen(listener, partial(self._accept, listener))
            self._listens = True

    def _ignore(self) -> None:
        """Leave what waits at the listeners for a moment."""
        if self._listens:
            for listener in self.sockets:
                self._clients.ignore(listener)
        self._listens = False
        self._listen_at = time.monotonic() + PAUSE_SECONDS

    def _accept(self, listener: socket.socket, _: int) -> None:
        """Take connections one at a time, until another worker has fewer."""
        self._is_asked = True
        for _ in range(BURST):
            if self.share and not self.share.is_next(len(self._clients), time.monotonic()):
                return self._ignore()
            try:
                sock, address = listener.accept()
            except OSError as error:
                return self._not_accepted(error)
            self._clients.welcome(sock, address, listener.getsockname())
            if self.share:
                self.share.write(len(self._clients))

    def _not_accepted(self, error: OSError) -> None:
        if error.errno in _FULL:
            self._clients.make_room()
            self._ignore()
        elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
            self.log.warning("a connection was not accepted: %s", error)

    def _enqueue(self, connection: Connection, whole: Whole) -> None:
        self._whole.put((connection, whole))

    def _work(self) -> None:
        """What each thread does for as long as the process lives."""
        while True:
            connection, whole = self._whole.get()
            try:
                is_last = self._respond(connection, whole)
            except Exception:  # whatever it is, the thread goes on
                self.log.exception("Error handling request %s", whole.request.uri)
                connection.forget()
                connection.sendall(refusals.failed())
                is_last = True
            self._clients.answered(connection, is_last)

    def _respond(self, connection: Connection, whole: Whole) -> bool:
        """Have the application answer; returns whether the connection then closes."""
        began = datetime.now()
        server = connection.server
        response, environ = wsgi.create(
            whole.request, connection, connection.client, server, self.cfg
        )
        _complete(environ, whole)
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self._stop()
        if not self.alive or not self.cfg.keepalive or len(whole.body) < whole.length:
            response.force_close()
        parts = self.wsgi(environ, response.start_response)
        try:
            for part in parts:
                response.write(part)
            response.close()
        finally:
            if hasattr(parts, "close"):
                parts.close()
        self.log.access(response, whole.request, environ, datetime.now() - began)
        return bool(response.should_close())


def _complete(environ: dict[str, Any], whole: Whole) -> None:
    """Say that the body is there, and how long it is, however it came."""
    environ["wsgi.multithread"] = True
    environ["wsgi.input"] = io.BytesIO(whole.body)
    if environ.pop("HTTP_TRANSFER_ENCODING", None) or whole.length:
        environ["CONTENT_LENGTH"] = str(whole.length)
    del environ["wsgi.input_terminated"]
