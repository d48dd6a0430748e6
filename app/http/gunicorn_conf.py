"""How gunicorn runs the API; every figure that a team may want to change is a setting."""

import fcntl
import itertools
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.errors import BadSettings
from app.settings import Settings

try:
    _settings = Settings.from_environment()
except BadSettings as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

bind = _settings.bind
workers = _settings.workers
threads = _settings.threads
worker_class = "gthread"
loglevel = _settings.log_level
accesslog = None  # one line per request costs more than the request; the proxy in front has it
keepalive = 75
timeout = 30
# What is being answered has this long to end; connections that are kept alive, idle, two seconds.
graceful_timeout = 5 + _settings.cache_timeout_ms // 1000
control_socket_disable = True  # it would be written under $HOME, which a read-only root refuses
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

if _settings.metrics:
    _FOLDERS = "larder-metrics-"

    def on_starting(server: Any) -> None:
        """Make the folder in which the workers count. Without one they answer all the same."""
        server.metrics_folder = None
        try:
            server.metrics_folder, server.metrics_hold = _fresh_folder()
        except OSError as error:
            server.log.error("no metrics: %s", error)

    def pre_fork(server: Any, worker: Any) -> None:
        """Number the worker; the number of a dead one is free again."""
        taken = {each.metrics_number for each in server.WORKERS.values()}
        worker.metrics_number = next(each for each in itertools.count() if each not in taken)

    def post_fork(server: Any, worker: Any) -> None:
        """Give the worker its files, before it loads the application."""
        from app.http import metrics

        try:
            if server.metrics_folder:
                metrics.share(server.metrics_folder, worker.metrics_number)
        except OSError as error:
            worker.log.error("no metrics of this worker: %s", error)

    def child_exit(server: Any, worker: Any) -> None:
        """Forget what the dead worker said of the present; what it counted stays."""
        from prometheus_client.multiprocess import mark_process_dead

        if server.metrics_folder:
            mark_process_dead(worker.metrics_number, server.metrics_folder)

    def on_exit(server: Any) -> None:
        """Leave nothing behind."""
        if server.metrics_folder:
            shutil.rmtree(server.metrics_folder, ignore_errors=True)

    def _fresh_folder() -> tuple[str, int]:
        """A new folder and what holds it; folders that nobody holds are of the killed, and go."""
        parent = worker_tmp_dir or tempfile.gettempdir()
        for left in Path(parent).glob(f"{_FOLDERS}*"):
            with suppress(OSError):  # somebody holds it, or it is another user's
                hold = _hold(left)
                shutil.rmtree(left)
                os.close(hold)
        folder = tempfile.mkdtemp(prefix=_FOLDERS, dir=parent)
        return folder, _hold(folder)

    def _hold(folder: str | Path) -> int:
        """Lock it for as long as this process or one of its workers lives."""
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(opened)
            raise
        return opened
