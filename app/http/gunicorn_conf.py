"""How gunicorn runs the API; every figure that a team may want to change is a setting."""

import sys
from typing import Any, NoReturn

from app.contracts.keys import problem_of
from app.errors import BadSettings
from app.http.connections.shares import Shares
from app.http.connections.worker import PatientWorker
from app.http.servers.workers import IN_MEMORY, Folder
from app.settings import Settings


def _fail(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


try:
    _settings = Settings.from_environment()
except BadSettings as error:
    _fail(str(error))

bind = _settings.bind
workers = _settings.workers
threads = _settings.threads
worker_class = PatientWorker
worker_connections = 4096  # of one worker; beyond that the connection that idles longest goes
http_parser = "python"  # a faster one that happens to be installed refuses other things
forwarder_headers = ""  # SCRIPT_NAME of a client is not ours, even from this machine
loglevel = _settings.log_level
accesslog = None  # one line per request costs more than the request; the proxy in front has it
keepalive = 75
timeout = 30
# What is being answered has this long to end; connections that are kept alive, idle, two seconds.
graceful_timeout = 5 + _settings.cache_timeout_ms // 1000
control_socket_disable = True  # it would be written under $HOME, which a read-only root refuses
worker_tmp_dir = IN_MEMORY

_PLACES = 4 * workers + 16  # while it is reloaded a server has twice its workers


def on_starting(server: Any) -> None:
    """Make what the workers share. An address of gunicorn's own options is no way around keys."""
    for address in server.cfg.settings["bind"].get():
        if problem := problem_of(_settings.auth, address):
            _fail(problem)
    server.shares = Shares(_PLACES)
    server.workers_folder = Folder.make_if_possible(server.log.error)


def pre_fork(server: Any, worker: Any) -> None:
    """Give a worker its place among those that share new connections."""
    if isinstance(worker, PatientWorker):
        worker.share = server.shares.take()


def child_exit(server: Any, worker: Any) -> None:
    """Let nobody leave connections to a worker that is gone."""
    if isinstance(worker, PatientWorker) and worker.share:
        worker.share.give_back()


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    if server.workers_folder:
        server.workers_folder.remove()
