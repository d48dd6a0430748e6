"""How granian runs the API: a server in Rust for the same WSGI application.

granian's own way from a request to the application is replaced, for it lets a body that does not
come hold a thread, and it closes idle connections, with what is on its way on them, when it ends.
``app.http.servers.granian_worker`` has ours.
"""

import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granian import Granian, _signals
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import mp

from app.http.factory import LOG_FORMAT, create_app
from app.http.servers.descriptors import connections
from app.http.servers.granian_worker import BODIES, DRAIN_SECONDS, GranianWorker
from app.http.servers.workers import Folder
from app.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

IDLE_MS = 75_000
"""How long a connection may be silent between two requests, as under gunicorn."""

HEAD_BYTES = 65_536
BACKLOG = 2048
LOGGING: dict[str, Any] = {"handlers": {}, "loggers": {"_granian": {}}}
"""granian's lines go where all others go."""

log = logging.getLogger("larder.granian")


class Worker(mp.WorkerProcess):
    """Of two threads that wait for a process Python tells the later one that it lives on.

    granian has two such threads, and would kill what has ended, and say that it refused to.
    """

    def is_alive(self) -> bool:
        """Whether the kernel still has it."""
        try:
            os.kill(self.inner.pid, 0)
        except ProcessLookupError:
            return False
        return bool(self.inner.is_alive())


def serve(settings: Settings, address: Path | tuple[str, int]) -> int:
    """Run at the address that was found listenable until SIGTERM or SIGINT; the exit code."""
    logging.basicConfig(level=settings.log_level.upper(), format=LOG_FORMAT)
    logging.getLogger("_granian").addFilter(_is_news)
    vars(mp)["WorkerProcess"] = Worker
    folder = Folder.make_if_possible(log.error)
    try:
        server = Granian(
            "the API",
            **_where(address),
            interface=Interfaces.WSGI,
            workers=settings.workers,
            blocking_threads=settings.threads + BODIES,
            backlog=BACKLOG,
            backpressure=connections(),
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=IDLE_MS, max_buffer_size=HEAD_BYTES),
            websockets=False,
            log_level=LogLevels(settings.log_level),
            log_dictconfig=LOGGING,
            respawn_failed_workers=True,
            workers_kill_timeout=graceful_seconds(settings),
        )
        load = partial(_load, server, settings, os.getpid())
        server.serve(target_loader=load, wrap_loader=False)
    finally:
        if folder:
            folder.remove()
    return 0


def graceful_seconds(settings: Settings) -> int:
    """How long a worker may take to end."""
    return int(DRAIN_SECONDS) + 5 + settings.cache_timeout_ms // 1000


def _load(server: Any, settings: Settings, parent: int) -> "WSGIApplication":
    """In a worker: make the application, and put our way to it in the place of granian's.

    Until the worker listens it has the master's handler, which would lose a SIGTERM.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if server.interrupt_signal:
        sys.exit(0)
    application = create_app(settings)
    worker = GranianWorker(application, settings, parent)
    vars(mp)["_wsgi_call_wrap"] = lambda *_: worker
    vars(_signals)["set_sync_signals"] = worker.listen_for_the_end
    worker.watch()
    return application


def _where(address: Path | tuple[str, int]) -> dict[str, Any]:
    """The address as granian takes it."""
    if isinstance(address, Path):
        return {"uds": address, "uds_permissions": 0o777}
    return {"address": address[0], "port": address[1]}


def _is_news(record: logging.LogRecord) -> bool:
    """granian finds threads many that wait for bodies, and mostly sleep."""
    return not record.getMessage().startswith("Configuration allows spawning up to")
