"""A worker of granian: what happens between granian and the application.

* A request without a body is answered by the thread that granian calls us in. One with a body is
  handed to a thread that may wait for it, so that bodies that do not come stop nothing else.
* A head or a body that has not come within ``LARDER_REQUEST_TIMEOUT_MS`` is not waited for.
* Before a worker ends, its answers ask the clients for two seconds to close their connections.
"""

import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from threading import Event, Semaphore, Thread
from typing import TYPE_CHECKING, Any

from granian._granian import WorkerSignal

from app.http.problems import CUT_SHORT, TOO_SLOW, of_http
from app.http.servers.sockets import LateHeads, end_where_written, is_connected, written_bytes
from app.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

DRAIN_SECONDS = 2.0
FULL_SECONDS = 0.02
"""How long a body is waited for once all threads that may wait do."""

BODIES = 16
"""How many bodies are waited for; each holds a thread beside ``LARDER_THREADS``."""

_CONSTANT = {
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "granian",
    "wsgi.errors": sys.stderr,
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}
log = logging.getLogger("larder.granian")

Answer = tuple[int, list[tuple[str, str]], bytes]


@dataclass(slots=True)
class Request:
    """One that is read or worked on: from which address, and since when."""

    address: str
    since: float
    is_refused: bool = False

    def has_waited(self, seconds: float) -> bool:
        """Whether it has begun so long ago."""
        return time.monotonic() - self.since > seconds


class GranianWorker:
    """Called by granian for each request, in one of ``LARDER_THREADS`` threads and BODIES more."""

    def __init__(self, application: "WSGIApplication", settings: Settings, parent: int) -> None:
        self._application = application
        self._settings = settings
        self._parent = parent
        self._limit_seconds = settings.request_timeout_ms / 1000
        self._bodies: dict[Any, Request] = {}
        self._works: dict[Any, Request] = {}
        self._parsing = Semaphore(settings.threads)  # what a body says may take 30 times its memory
        self._full = Event()
        self._farewell: list[tuple[str, str]] = []

    def __call__(self, protocol: Any, scope: "WSGIEnvironment") -> None:
        """Answer a request."""
        environ = _CONSTANT | scope
        if scope["REQUEST_METHOD"] != "POST" or not self._has_body(environ):
            self._answer(protocol, environ)
        elif (body := self._read(protocol, environ)) is not None:
            environ["wsgi.input"] = BytesIO(body)
            with self._parsing:
                self._answer(protocol, environ)

    def _has_body(self, environ: "WSGIEnvironment") -> bool:
        if "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input_terminated"] = True  # it tells by itself where it ends
            return True
        return int(environ.get("CONTENT_LENGTH", 0)) > 0

    def _read(self, protocol: Any, environ: "WSGIEnvironment") -> bytes | None:
        """The body; None for one that was refused meanwhile, or is not whole.

        Of one that is too long, more than may be taken: a client that is cut off while it sends
        may never read why.
        """
        enough = self._settings.max_body_bytes + 1
        request = self._bodies[protocol] = Request(environ["REMOTE_ADDR"], time.monotonic())
        if len(self._bodies) >= BODIES:
            self._full.set()
        try:
            body: bytes = environ["wsgi.input"].read(enough)
        finally:
            del self._bodies[protocol]
        if request.is_refused:
            return None
        if len(body) < min(int(environ.get("CONTENT_LENGTH", 0)), enough):
            protocol.response_bytes(*_problem(HTTPStatus.BAD_REQUEST, CUT_SHORT))
            return None
        return body

    def _answer(self, protocol: Any, environ: "WSGIEnvironment") -> None:
        self._works[protocol] = Request(environ["REMOTE_ADDR"], time.monotonic())
        try:
            status, headers, body = self._ask(environ)
        except Exception:  # the application answers its own errors, this it did not foresee
            log.exception("unexpected error")
            answer = _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected error")
            status, headers, body = answer
        finally:
            del self._works[protocol]
        protocol.response_bytes(status, headers + self._farewell, body)

    def _ask(self, environ: "WSGIEnvironment") -> Answer:
        status, headers = 500, []

        def start(line: str, given: list[tuple[str, str]], *_: Any) -> Any:
            nonlocal status, headers
            status, headers = int(line[:3]), given

        chunks = self._application(environ, start)
        try:
            return status, headers, b"".join(chunks)
        finally:
            if close := getattr(chunks, "close", None):
                close()

    def watch(self) -> None:
        """Look after late requests, from a thread of its own."""
        Thread(target=self._watch, name="late", daemon=True).start()

    def _watch(self) -> None:
        heads = LateHeads(self._settings.bind, self._limit_seconds)
        pause = min(self._limit_seconds / 4, 1.0)
        while os.getppid() == self._parent:
            self._full.wait(pause)
            try:
                self._end_late_bodies(self._limit_seconds)
                self._make_room()
                held = [*self._bodies.values(), *self._works.values()]
                heads.end({each.address for each in held if each.has_waited(pause)})
            except Exception:
                log.exception("late requests were not ended")
        os.kill(os.getpid(), signal.SIGTERM)  # nobody else would end this worker any more

    def _make_room(self) -> None:
        """While every thread that may wait for a body does, bodies are not waited for long."""
        self._full.clear()
        while len(self._bodies) >= BODIES:
            time.sleep(FULL_SECONDS)
            self._end_late_bodies(FULL_SECONDS / 2)

    def _end_late_bodies(self, limit_seconds: float) -> None:
        """Refuse them, and end the connections on which that was sent, else their threads stay."""
        waiting = list(self._bodies.items())
        late = {protocol: each for protocol, each in waiting if each.has_waited(limit_seconds)}
        if not late:
            return
        problem = _problem(HTTPStatus.REQUEST_TIMEOUT, TOO_SLOW.format(limit_seconds))
        written = written_bytes(self._settings.bind)
        for protocol, each in late.items():
            each.is_refused = True
            protocol.response_bytes(*problem)
        until = time.monotonic() + 1.0
        while time.monotonic() < until and any(each in self._bodies for each in late):
            end_where_written(self._settings.bind, written, wire_bytes(problem))
            time.sleep(0.002)

    def listen_for_the_end(self) -> Any:
        """What granian waits for: set when this worker was told to end and has taken its leave.

        Python calls handlers in the main thread, which sleeps through a signal that comes just as
        it begins to wait. What is written to a pipe is read at once.
        """
        end = WorkerSignal()
        told, tell = os.pipe()
        os.set_blocking(tell, False)
        signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda number, frame: None)
        Thread(target=self._leave, args=[told, end], name="leave", daemon=True).start()
        return end

    def _leave(self, told: int, end: Any) -> None:
        """Ask clients to close, so that none sends a request on a connection that we close."""
        os.read(told, 1)
        self._farewell = [("Connection", "close")]
        until = time.monotonic() + DRAIN_SECONDS
        time.sleep(DRAIN_SECONDS / 8)  # for those that the kernel has taken, and granian not yet
        while time.monotonic() < until and is_connected(self._settings.bind):
            time.sleep(0.02)
        end.set()


def wire_bytes(answer: Answer) -> int:
    """How long an answer is on the wire, where granian adds lines of its own."""
    _, headers, body = answer
    own = [("server", "granian"), ("content-length", str(len(body))), ("date", "-" * 29)]
    lines = sum(len(name) + len(value) + 4 for name, value in headers + own)
    return len("HTTP/1.1 408 Request Timeout\r\n") + lines + 2 + len(body)


def _problem(status: HTTPStatus, detail: str) -> Answer:
    headers = [("Content-Type", "application/problem+json"), ("Connection", "close")]
    return status.value, headers, of_http(status, detail).encode()
