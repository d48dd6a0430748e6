"""Where the workers count: gunicorn's hooks, while ``LARDER_METRICS`` is true.

The master keeps a folder and numbers the workers. Each counts in files of its number; a new worker
takes the number of a dead one and goes on in its files, so that nothing is lost and nothing piles
up. Without space for the files the API answers all the same.
"""

import fcntl
import itertools
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own variable: where the files are. It is set in a worker, once it has its files."""

FILES = {"counter": 128 * 1024, "histogram": 64 * 1024, "gauge_livemin": 4096}
"""The files of a worker, as the library names them, and bytes for all that they may ever hold."""

_FOLDERS = "larder-metrics-"


def on_starting(server: Any) -> None:
    """Make the folder in which the workers count."""
    server.metrics_folder = None
    try:
        server.metrics_folder, server.metrics_hold = _fresh_folder(server.cfg.worker_tmp_dir)
    except OSError as error:
        server.log.error("no metrics: %s", error)


def pre_fork(server: Any, worker: Any) -> None:
    """Number the worker; the number of a dead one is free again."""
    taken = {each.metrics_number for each in server.WORKERS.values()}
    worker.metrics_number = next(each for each in itertools.count() if each not in taken)


def post_fork(server: Any, worker: Any) -> None:
    """Give the worker its files, before it loads the application."""
    try:
        if server.metrics_folder:
            share(server.metrics_folder, worker.metrics_number)
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


def share(folder: str, worker: int) -> None:
    """Count in the folder, as the worker of that number; no other that lives may have it.

    Raises OSError when the files can not be made.
    """
    from prometheus_client import values  # here, so that the master does not load the library

    os.environ.pop(FOLDER, None)
    for kind, size in FILES.items():
        _reserve(Path(folder, f"{kind}_{worker}.db"), size)
    values.ValueClass = values.MultiProcessValue(lambda: worker)
    os.environ[FOLDER] = folder


def _reserve(path: Path, size: int) -> None:
    """Make a file without holes: to write into one on a full file system ends the process."""
    if not path.exists():
        part = path.with_suffix(".part")  # whoever reads the folder takes what ends in .db
        with part.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        part.rename(path)


def _fresh_folder(parent: str | None) -> tuple[str, int]:
    """A new folder and what holds it; folders that nobody holds are of the killed, and go."""
    parent = parent or tempfile.gettempdir()
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
