"""A private folder for temporary files: gone at the end, or after a kill by the next run."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "larder-"
MARK = ".larder-run"
"""A file that its run keeps locked; the system unlocks it when the run dies, however it does."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """Give an empty folder where TMPDIR says; remove those of runs that are dead."""
    _remove_dead(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = Path(name)
        with open(folder / "new", "wb") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX)
            os.rename(mark.name, folder / MARK)  # nobody finds it unlocked
            yield folder


def _remove_dead(parent: Path) -> None:
    for mark in parent.glob(f"{PREFIX}*/{MARK}"):
        try:
            with open(mark, "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(stream.fileno()).st_uid == os.geteuid():
                    shutil.rmtree(mark.parent, ignore_errors=True)
        except OSError:  # it lives, is somebody else's, or is gone already
            continue
