"""What the driver asks the file system of a URI, whichever of Hadoop's it is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from batch.errors import BadInteractions
from batch.interactions.sources import files

HEAD = 1 << 16
"""Bytes of a file that are read for its header."""
UNREADABLE = re.compile(
    r"\[(FAILED_READ_FILE|CANNOT_READ_FILE_FOOTER|CANNOT_MERGE_SCHEMAS|PARQUET_TYPE_ILLEGAL|"
    r"COLUMN_ALREADY_EXISTS|UNABLE_TO_INFER_SCHEMA)|"
    r"^: (java\.n?io\.[\w.]*Exception|org\.apache\.hadoop\.security\.\w*Exception)\b|"
    r"(Relative path in absolute URI)",
    re.MULTILINE,
)
"""Spark's conditions anywhere; Java's only of what the driver itself asked: in a task they may
mean a dead worker or a full disk."""
DOUBLED = re.compile("column `(.+?)` already exists")


@dataclass(frozen=True, slots=True)
class File:
    """A file of the input: what people call it, and how Spark's metadata do."""

    path: str
    uri: str


class Storage:
    """The file or folder at a URI, which need not exist."""

    def __init__(self, spark: SparkSession, uri: str) -> None:
        jvm: Any = spark._jvm
        context: Any = spark._jsc
        self.uri = uri
        self._path = jvm.org.apache.hadoop.fs.Path
        root = self._path(uri)
        self._system = root.getFileSystem(context.hadoopConfiguration())
        self._root = self._system.makeQualified(root)

    def exists(self) -> bool:
        """Say whether there is anything."""
        return bool(self._system.exists(self._root))

    def is_folder(self) -> bool:
        """Say whether it is a folder."""
        return bool(self._system.getFileStatus(self._root).isDirectory())

    def within(self, other: "Storage") -> bool:
        """Say whether this is the other one, or below it."""
        own, above = (str(place._root.toUri().toString()) for place in (self, other))
        return f"{own}/".startswith(f"{above.rstrip('/')}/")

    def names(self) -> list[str]:
        """List what lies in this folder, by name."""
        return sorted(status.getPath().getName() for status in self._system.listStatus(self._root))

    def find(self) -> list[File]:
        """List what `batch.interactions.sources.files.find` would, but rejects with the rest.

        Raises BadInteractions when nothing is there.
        """
        if not self.exists():
            raise files.no_such(self.uri)
        if not self.is_folder():
            return [self._single()]
        return sorted(self._below(self._root), key=lambda file: file.path)

    def _single(self) -> File:
        name = str(self._root.getName())
        files.refuse_foreign(self.uri, name)
        if files.is_skipped(name):
            raise BadInteractions(
                f"{self.uri}: Spark skips names that begin with '.' or '_': rename it"
            )
        return self._file(self._root)

    def _below(self, folder: Any) -> Iterator[File]:
        for status in self._system.listStatus(folder):
            if files.is_skipped(status.getPath().getName()):
                continue
            if status.isDirectory():
                yield from self._below(status.getPath())
            else:
                yield self._file(status.getPath())

    def _file(self, path: Any) -> File:
        text = str(path.toString())
        # A listing says file:///x%20y where the metadata of rows say file:/x%20y.
        return File(shown(text), str(self._path(text).toUri().toString()))

    def head(self, file: File, size: int = HEAD) -> bytes:
        """Read the first bytes of a file."""
        stream = self._system.open(self._path(file.path))
        try:
            return bytes(stream.readNBytes(size))
        finally:
            stream.close()

    def beside(self, name: str) -> File | None:
        """The file of this name in the folder; None where there is none."""
        path = self._path(self._root, name)
        return self._file(path) if self.is_folder() and self._system.exists(path) else None

    def mark(self, name: str) -> None:
        """Put an empty file of this name into the folder, which is made when it is not there."""
        self._system.create(self._path(self._root, name)).close()

    def remove(self) -> None:
        """Remove the folder and all in it."""
        self._system.delete(self._root, True)


def shown(path: str) -> str:
    """Return a path as people write it."""
    return re.sub("^file:/+", "/", path)


@contextmanager
def readable(uri: str) -> Iterator[None]:
    """Turn what Spark raises when it cannot read an input into BadInteractions."""
    try:
        yield
    except (PySparkException, Py4JError) as error:
        text = str(error)
        found = UNREADABLE.search(text)
        if found is None or "batch.errors." in text:
            raise
        raise _unreadable(uri, found[1] or "", text) from error


def _unreadable(uri: str, condition: str, text: str) -> BadInteractions:
    if condition == "CANNOT_MERGE_SCHEMAS":
        return BadInteractions(
            f"{uri}: its files have columns of one name and different types: give each one type"
        )
    if condition == "COLUMN_ALREADY_EXISTS" and (name := DOUBLED.search(text)):
        return BadInteractions(f"{uri}: expected one column {name[1]!r}, found several")
    return BadInteractions(
        f"{uri}: cannot be read ({reason(text)}): check that it is whole, readable and of the kind "
        "that its name says"
    )


def reason(text: str) -> str:
    """Return the line of a Java error that says most: its deepest cause."""
    causes = re.findall(r"^(?:Caused by|): (?:[\w.$]+: )?(.+)$", text, re.MULTILINE)
    return str(causes[-1] if causes else text.splitlines()[0])[:300]
