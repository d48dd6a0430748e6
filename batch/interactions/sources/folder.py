"""A private folder for temporary files: gone at the end, or after a kill by the next run."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "larder-"
MARK = ".larder-run"
"""A file that its run keeps locked; the system unlocks it when the run dies, however it does."""


@contextmanager
def private_folder(parent: Path | None = None, prefix: str = PREFIX) -> Iterator[Path]:
    """Give an empty folder, where TMPDIR says or there; remove those of runs that are dead."""
    _remove_dead(parent or Path(tempfile.gettempdir()), prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name:
        folder = Path(name)
        with open(folder / "new", "wb") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX)
            os.rename(mark.name, folder / MARK)  # nobody finds it unlocked
            yield folder


def _remove_dead(parent: Path, prefix: str) -> None:
    for mark in parent.glob(f"{prefix}*/{MARK}"):
        with suppress(OSError):  # it lives, is somebody else's, or is gone already
            with open(mark, "rb", opener=_open) as stream:
                found = os.fstat(stream.fileno())
                if found.st_uid == os.geteuid() and stat.S_ISREG(found.st_mode):
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(mark.parent, ignore_errors=True)


def _open(path: str, flags: int) -> int:
    """Open what anybody may have put there: no pipe is waited for, no link followed."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
