"""Where the workers count, while ``LARDER_METRICS`` is true: in the folder that they share.

Each counts in files of its number. A new worker takes the number of a dead one and goes on in its
files, so that nothing is lost and nothing piles up. Without space for the files the API answers all
the same.
"""

import os
from pathlib import Path

from app.http.servers.workers import Worker

FILES = {"counter": 192 * 1024, "histogram": 64 * 1024, "gauge_livemin": 4096}
"""The files of a worker, as the library names them, and bytes for all that they may ever hold."""

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own variable: where the files are."""


def share(worker: Worker) -> None:
    """Count in this worker's files, from the first metric on. Raises OSError without space."""
    from prometheus_client import values

    (worker.folder / f"gauge_livemin_{worker.number}.db").unlink(missing_ok=True)  # a dead one's
    for kind, size in FILES.items():
        _reserve(worker.folder / f"{kind}_{worker.number}.db", size)
    os.environ[_FOLDER] = str(worker.folder)
    values.ValueClass = values.MultiProcessValue(lambda: worker.number)


def forget_the_dead(worker: Worker) -> None:
    """Remove what the dead said of the present; what they counted stays."""
    living = set(worker.living())
    for path in worker.folder.glob("gauge_livemin_*.db"):
        if int(path.stem.rpartition("_")[2]) not in living:
            path.unlink(missing_ok=True)


def _reserve(path: Path, size: int) -> None:
    """Make a file without holes: to write into one on a full file system ends the process."""
    if not path.exists():
        part = path.with_suffix(".part")  # whoever reads the folder takes what ends in .db
        with part.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        part.rename(path)
