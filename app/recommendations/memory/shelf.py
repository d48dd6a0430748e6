"""Where the workers of a machine share the documents of a generation: one file, mapped by all.

The folder is ours alone, so that nobody else can plant a file in it::

    larder-<our uid>/                     mode 0700
        <cache>-<generation>.documents    complete; a lock holds it while a worker serves from it
        <cache>-<generation>.part         being made by the worker that has locked it
        <cache>.rules                     those that were in force last, with their number

Both parts of a name are digests. A file that was removed serves on where it is mapped, so those of
earlier generations go as soon as one worker has changed. Those of other namespaces go when nobody
holds them: half-made ones at once, complete ones when they are a week old, for their server may
have to start again without its cache. Rules go with the last documents beside them.
"""

import fcntl
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from typing import Any, BinaryIO

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Manifest
from app.contracts.rules import NONE, Version
from app.recommendations.memory.documents import Documents, is_whole

_COMPLETE, _PART, _RULES = ".documents", ".part", ".rules"
_FORGOTTEN_SECONDS = 7 * 86_400
"""So old is a file, at least, that its server will not come back for."""

log = logging.getLogger("larder.cache")


class BeingMade(Exception):
    """Another worker makes the file at this moment."""


class Shelf:
    """The files of one namespace of one cache; ``parent`` is where the folder is, or is made."""

    def __init__(self, parent: str, cache_url: str, namespace: str) -> None:
        self._parent = parent or tempfile.gettempdir()
        place, _, options = cache_url.partition("?")
        self._cache = _digest(place.rpartition("@")[2], options, namespace)  # without a password

    def documents(
        self, manifest: Manifest, write: Callable[[BinaryIO], None], kind: str = ""
    ) -> Documents:
        """Those of the file, which ``write`` fills if there is none, or none that is whole.

        kind: what the file holds; that of another kind is another file.
        Raises BeingMade, OSError when the file cannot be made, and what ``write`` raises.
        """
        name = f"{self._cache}-{_digest(replace(manifest, state='').to_json(), kind)}"
        with self._folder() as folder:
            found = _mapped(folder, name + _COMPLETE)
            if found is None:
                _make(folder, name, write)
                found = _mapped(folder, name + _COMPLETE)
            if found is None:
                raise OSError("a file was damaged as soon as it was written")
            self._tidy(folder, name + _COMPLETE)
        return found

    def latest(self) -> Documents | None:
        """Those of the generation that was served from here last, for when the cache is away."""
        try:
            with self._folder() as folder:
                names = [each for each in os.listdir(folder) if self._is_ours(each)]
                names.sort(key=lambda each: os.stat(each, dir_fd=folder).st_mtime_ns, reverse=True)
                return next(filter(None, (_mapped(folder, each) for each in names)), None)
        except OSError as error:
            log.debug("no generation was left on this machine: %s", error)
            return None

    def keep(self, version: Version) -> None:
        """Leave the rules in force beside documents, for when the cache is away."""
        text = f"{version.number} {version.to_json()}".encode()
        try:
            with self._folder() as folder, suppress(BeingMade):
                if any(map(self._is_ours, os.listdir(folder))):
                    _make(folder, self._cache, lambda file: file.write(text), _RULES)
        except OSError as error:
            log.warning("the rules were not left on this machine: %s", error)

    def rules(self) -> Version:
        """Those that were in force here last; none where nobody can tell."""
        try:
            with self._folder() as folder:
                with os.fdopen(_open(folder, self._cache + _RULES, os.O_RDONLY), "rb") as opened:
                    number, _, text = opened.read().partition(b" ")
            return Version.from_json(int(number), text)
        except (OSError, ValueError, BrokenRecord) as error:
            log.warning("no rules were left on this machine: %s", error)
            return NONE

    def _is_ours(self, name: str) -> bool:
        return name.startswith(f"{self._cache}-") and name.endswith(_COMPLETE)

    def _tidy(self, folder: int, kept: str) -> None:
        names = os.listdir(folder)
        served = {each.partition("-")[0] for each in names if each.endswith(_COMPLETE)}
        for name in names:
            if name.removesuffix(_RULES) in served:
                continue
            with suppress(OSError):  # another worker was first, or somebody serves from it
                if name != kept and (self._is_ours(name) or _is_forgotten(folder, name)):
                    os.unlink(name, dir_fd=folder)

    @contextmanager
    def _folder(self) -> Iterator[int]:
        path = os.path.join(self._parent, f"larder-{os.geteuid()}")
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(folder)
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise PermissionError(f"{path} is open to others: remove it, or chmod 700")
            yield folder
        finally:
            os.close(folder)


def _mapped(folder: int, name: str) -> Documents | None:
    """The documents of a file, held for as long as they are in use; a damaged one is removed."""
    try:
        file = _open(folder, name, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with os.fdopen(file, "rb") as opened:
        fcntl.flock(opened, fcntl.LOCK_SH)
        with suppress(BrokenRecord):
            if is_whole(opened):
                return Documents.of(mmap(opened.fileno(), 0, access=ACCESS_READ))
        log.warning("the file of the documents is damaged: it is made again")
        os.unlink(name, dir_fd=folder)
    return None


def _make(folder: int, name: str, write: Callable[[BinaryIO], Any], kind: str = _COMPLETE) -> None:
    part = name + _PART
    with os.fdopen(_open(folder, part, os.O_RDWR | os.O_CREAT), "r+b") as opened:
        if not _locked(opened) or not _is_still(folder, part, opened):
            raise BeingMade
        try:
            opened.truncate()
            write(opened)
            opened.flush()
            os.rename(part, name + kind, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(part, dir_fd=folder)
            raise


def _open(folder: int, name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW, 0o600, dir_fd=folder)


def _locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(folder: int, name: str, file: BinaryIO) -> bool:
    """Whether nobody has renamed or removed it before it was locked."""
    try:
        return os.path.samestat(os.stat(name, dir_fd=folder), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _is_forgotten(folder: int, name: str) -> bool:
    with os.fdopen(_open(folder, name, os.O_RDONLY), "rb") as opened:
        age_seconds = time.time() - os.fstat(opened.fileno()).st_mtime
        is_old = name.endswith(_PART) or age_seconds > _FORGOTTEN_SECONDS
        return is_old and _locked(opened)


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()
