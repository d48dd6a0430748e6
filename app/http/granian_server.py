"""How granian runs the API: a server in Rust for the same WSGI application.

granian's own way from a request to the application is replaced, for it lets a body that does not
come hold a thread, and it closes idle connections, with what is on its way on them, when it ends.
``app.http.granian_worker`` has ours.
"""

import logging
import os
import signal
import socket
import stat
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granian import Granian, _signals
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import mp

from app.http.descriptors import connections
from app.http.factory import LOG_FORMAT, create_app
from app.http.granian_worker import BODIES, DRAIN_SECONDS, GranianWorker
from app.http.workers import Folder
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


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(level=settings.log_level.upper(), format=LOG_FORMAT)
    try:
        where = _where(settings.bind)
    except OSError as error:
        print(f"error: cannot listen on {settings.bind}: {error.strerror}", file=sys.stderr)
        return 1
    folder = Folder.make_if_possible(log.error)
    try:
        server = Granian(
            "the API",
            **where,
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


def _where(bind: str) -> dict[str, Any]:
    """The address as granian takes it. Raises OSError where nothing can listen on it.

    granian would share a port that somebody else of the same user listens on.
    """
    if bind.startswith("unix:"):
        path = Path(bind.removeprefix("unix:"))
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()  # of a server that was killed
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
        path.unlink()
        return {"uds": path, "uds_permissions": 0o777}
    host, _, port = bind.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    family, *_, address = found[0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        return {"address": address[0], "port": probe.getsockname()[1]}
