"""The workers of one server, which share no memory: who lives, and who can answer.

The process that starts workers makes a folder and tells of it in its environment. Each worker
claims the lowest free number there, and a lock that ends with its process holds the number::

    larder-workers-<random>/    locked by the process that made it, so that others can tell it lives
        claims                  whoever looks at numbers, or takes one, locks this meanwhile
        0, 1, ...               one worker's; its byte is 0 when it serves, 1 when it has loaded
"""

import fcntl
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.http.keys.known import KnownKeys

VARIABLE = "_LARDER_WORKERS_FOLDER"
"""Where the folder is; no setting, for nobody but the process that starts the workers sets it."""

IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A folder that no disk slows down; None where there is none."""

_FOLDERS = "larder-workers-"
_SERVING, _LOADED = b"\x00", b"\x01"

log = logging.getLogger("larder.workers")


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder as the process has it that starts the workers."""

    path: Path
    hold: int

    @classmethod
    def make(cls, parent: str | None = None) -> "Folder":
        """Make one, and remove those that nobody holds: they are of the killed. Raises OSError."""
        parent = parent or tempfile.gettempdir()
        for left in Path(parent).glob(f"{_FOLDERS}*"):
            with suppress(OSError):  # somebody holds it, or it is another user's
                hold = _hold(left)
                try:
                    shutil.rmtree(left)
                finally:
                    os.close(hold)
        new = tempfile.mkdtemp(prefix="larder-new-", dir=parent)
        hold = _hold(new)
        path = Path(new).rename(Path(parent, _FOLDERS + new.rpartition("-")[2]))  # held by now
        os.environ[VARIABLE] = str(path)
        return cls(path, hold)

    @classmethod
    def make_if_possible(cls, tell: Callable[[str], None]) -> "Folder | None":
        """Make one in memory where there is such a place; without it the API answers, too."""
        try:
            return cls.make(IN_MEMORY)
        except OSError as error:
            tell(f"the workers are alone, and there are no metrics: {error}")
            return None

    def remove(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.hold)


@dataclass(frozen=True, slots=True)
class Worker:
    """This process among the workers."""

    folder: Path
    number: int
    file: int

    @classmethod
    def claim(cls, folder: Path) -> "Worker":
        """Take the lowest number that no living worker has. Raises OSError."""
        with _looking(folder):
            for number in itertools.count():
                file = os.open(folder / str(number), os.O_RDWR | os.O_CREAT, 0o600)
                if _lock(file):
                    os.ftruncate(file, 0)
                    return cls(folder, number, file)
                os.close(file)
        raise AssertionError("the numbers have no end")

    def serves(self) -> None:
        """Say that this worker takes requests, though it may have nothing to answer from yet."""
        if not os.pread(self.file, 1, 0):
            os.pwrite(self.file, _SERVING, 0)

    def has_loaded(self) -> None:
        """Say that this worker has something to answer from."""
        os.pwrite(self.file, _LOADED, 0)

    def all_have_loaded(self) -> bool:
        """Whether no living worker takes requests with nothing to answer from."""
        return all(os.pread(file, 1, 0) != _SERVING for _, file in self._living())

    def living(self) -> list[int]:
        """The numbers of all living workers, this one's among them."""
        return [number for number, _ in self._living()]

    def _living(self) -> Iterator[tuple[int, int]]:
        with _looking(self.folder):
            for path in sorted(self.folder.glob("[0-9]*")):
                file = os.open(path, os.O_RDWR)
                try:
                    if not _lock(file):
                        yield int(path.name), file
                finally:
                    os.close(file)


def this_worker() -> Worker | None:
    """Claim a number for this process; None when nobody made a folder, or it cannot be used."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    try:
        return Worker.claim(Path(folder))
    except OSError as error:
        log.error("this worker is alone: %s", error)
        return None


def all_have_loaded(worker: Worker | None, known: "KnownKeys | None") -> bool:
    """Whether all workers of this server can answer; known: the keys, where it asks for them."""
    if known and not known.are_known:
        return False
    try:
        return worker is None or worker.all_have_loaded()
    except OSError as error:
        log.warning("this worker speaks for itself, it does not find the others: %s", error)
        return True


@contextmanager
def _looking(folder: Path) -> Iterator[None]:
    """Be the only one who tries locks: to find a number free is to lock it for a moment."""
    claims = os.open(folder / "claims", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(claims, fcntl.LOCK_EX)
        yield
    finally:
        os.close(claims)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _hold(folder: str | Path) -> int:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        raise
    return opened
