"""A folder of exported events::

    _larder_events.json                        whose events they are, and the folder's own id
    day=2026-11-21/<first id>_<last id>.parquet   entries of the stream, from the first to the last
    _rejects/<first id>.jsonl                  entries of that file's that are no events

A file is written beside, made durable, then renamed: that is when its events are exported. The last
id in the names is how far the folder reaches, so that nothing else has to be kept in step with it.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from app.contracts.events import ms_of, order
from batch.errors import BadSettings, DiskUnavailable, Terminal
from batch.events.columns import ROWS, Reject
from batch.events.inputs import MARK
from batch.interactions.sources.table import is_disk_trouble, literal, sentence

REJECTS = "_rejects"
_NAME = re.compile(r"([0-9]+-[0-9]+)_([0-9]+-[0-9]+)\.parquet")
_LOST = "nothing is lost, for what is in no file stays in the stream"
_COPY = "FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false"


@dataclass(frozen=True, slots=True)
class File:
    """A file of events; first, last: ids of the stream."""

    path: Path
    first: str
    last: str

    @property
    def rows(self) -> str:
        """SQL for its events."""
        return f"read_parquet({literal(str(self.path))}, hive_partitioning = false)"

    @property
    def rejects(self) -> Path:
        """Where the entries that are no events are, if there are any."""
        return self.path.parent.parent / REJECTS / f"{self.first}.jsonl"


@dataclass(frozen=True, slots=True)
class Folder:
    """id: told apart by it from another folder of the same events."""

    path: Path
    id: str

    def files(self) -> list[File]:
        """Its files, in the order of the stream."""
        return files_of(self.path)

    def until(self) -> str:
        """The last id in files; "" when there are none."""
        return until([file.path.name for file in self.files()])

    def write(
        self,
        connection: duckdb.DuckDBPyConnection,
        first: str,
        last: str,
        rejects: Sequence[Reject],
    ) -> int:
        """Keep the table ``entries`` (see ``columns``) and the rejects; return the bytes taken."""
        moment = datetime.fromtimestamp(ms_of(first) / 1000, UTC)
        file = File(
            self.path / f"day={moment:%Y-%m-%d}" / f"{first}_{last}.parquet",
            first,
            last,
        )
        with writing(self.path):
            if rejects:
                lines = "".join(f"{_line(each)}\n" for each in rejects)
                replace(file.rejects, lambda beside: write_text(beside, lines))
            rows = f"SELECT {ROWS} FROM entries"
            replace(file.path, lambda beside: copy(connection, rows, beside))
            return file.path.stat().st_size

    def clean(self) -> None:
        """Remove what a run that died was writing. Only for the holder of the lock."""
        for parent in (self.path, *self.path.glob("day=*"), self.path / REJECTS):
            for left in parent.glob(".*.beside"):
                left.unlink()


def find(path: Path, namespace: str) -> Folder | None:
    """The folder, None when it is empty or not there. Raises BadSettings for any other."""
    try:
        said = json.loads((path / MARK).read_bytes())
        theirs, identity = str(said["namespace"]), str(said["folder"])
    except FileNotFoundError:
        if path.exists() and _holds_anything(path):
            raise BadSettings(
                f"{path} is no folder of events: expected one that 'larder events export' made, "
                "or an empty one"
            ) from None
        return None
    except (ValueError, KeyError, TypeError, NotADirectoryError) as error:
        raise BadSettings(f"{path} is no folder of events: its {MARK} cannot be read") from error
    if theirs != namespace:
        raise BadSettings(
            f"{path} holds the events of namespace {theirs!r}, not of {namespace!r}: "
            "name another folder"
        )
    return Folder(path, identity)


def make(path: Path, namespace: str) -> Folder:
    """The folder, made when it is not there. Raises as ``find`` does. For the lock's holder."""
    found = find(path, namespace)
    if found is not None:
        return found
    folder = Folder(path, secrets.token_hex(8))
    told = json.dumps({"namespace": namespace, "folder": folder.id})
    with writing(path):
        replace(path / MARK, lambda beside: write_text(beside, told + "\n"))
    return folder


def files_of(path: Path) -> list[File]:
    """The files of events in a folder, in the order of the stream."""
    found = ((each, _NAME.fullmatch(each.name)) for each in path.glob("day=*/*.parquet"))
    files = [File(each, name[1], name[2]) for each, name in found if name is not None]
    return sorted(files, key=lambda file: (order(file.last), order(file.first)))


def until(names: Sequence[str]) -> str:
    """The last id of the stream that files of these names hold; "" for none."""
    found = [name[2] for each in names if (name := _NAME.fullmatch(each))]
    return max(found, key=order, default="")


def copy(
    connection: duckdb.DuckDBPyConnection, rows: str, target: Path, level: int = 3, at_once: int = 0
) -> None:
    """Write the rows of a query as Parquet.

    level: of Zstandard, 1 is the fastest; at_once: rows of a group, 0 for as many as usual.
    """
    groups = f", ROW_GROUP_SIZE {at_once}" if at_once else ""
    options = f"({_COPY}, COMPRESSION_LEVEL {level}{groups})"
    connection.execute(f"COPY ({rows}) TO {literal(str(target))} {options}")


def replace(target: Path, write: Callable[[Path], None]) -> None:
    """Put a file in place, whole and durable, in one step; its folder is made if need be."""
    _make_folder(target.parent)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.beside")
    try:
        write(beside)
        sync(beside)
        os.replace(beside, target)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    sync(target.parent)


@contextmanager
def writing(path: Path, lost: str = _LOST) -> Iterator[None]:
    """Turn what goes wrong into DiskUnavailable, or Terminal where a retry is vain.

    lost: what to say of what is not in a file then.
    """
    try:
        yield
    except (duckdb.Error, OSError) as error:
        if is_disk_trouble(error):
            raise DiskUnavailable(
                f"{path}: a disk is full or fails ({sentence(error)}); {lost}: "
                "make room and run it again"
            ) from error
        if isinstance(error, duckdb.InterruptException):
            raise KeyboardInterrupt from error
        raise Terminal(f"{path}: cannot be written ({sentence(error)})") from error


def _holds_anything(path: Path) -> bool:
    return not path.is_dir() or any(not each.name.startswith(".") for each in path.iterdir())


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8."""
    path.write_text(text, encoding="utf-8")


def _line(reject: Reject) -> str:
    stream_id, entry = reject.entry
    fields = {text(name): text(value) for name, value in entry.items()}
    return json.dumps(
        {"stream_id": text(stream_id), "reason": reject.reason, "entry": fields},
        ensure_ascii=False,
    )


def text(value: bytes) -> str:
    """A value of an entry that is perhaps no event."""
    return value.decode(errors="backslashreplace")
