"""The lists of a generation as files, for what sends e-mails or prints catalogues.

A file is first made in pieces in a private folder, so that no more than a piece is in memory. It
gets its name when it is whole and durable, see ``batch.events.folder.replace``.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from app.contracts.recommendations import PLAIN_ID_BYTES, Manifest, Namespace, field, plain_id
from batch.errors import BadSettings
from batch.events.folder import copy, replace, writing
from batch.generations.connect import Client
from batch.interactions.reading import Reading
from batch.interactions.table import database, literal, literals
from batch.interactions.users import long_users
from batch.progress import Advance
from batch.recommendations.published.read import Block, Reader
from batch.recommendations.published.wish import Wish

_OPTIONS = {"parquet": "FORMAT parquet, COMPRESSION zstd", "csv": "FORMAT csv, HEADER"}

_ENTRY = "rank::INTEGER AS rank, item::VARCHAR AS {}, score::FLOAT AS score"
_SOURCE = "CASE WHEN popular THEN 'popular' ELSE 'personal' END AS source"
_USERS = f"who::VARCHAR AS user, {_ENTRY.format('item')}, {_SOURCE}"
_SIMILAR = f"who::VARCHAR AS item, {_ENTRY.format('similar')}"

Ids = Callable[[Sequence[bytes]], Sequence[str | None]]
"""Digests -> the ids that they are of; None for one that nobody knows."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: so many users and items with their lists, and the files.

    popular: of these users, whose list is what is popular; exhausted: other users, whose list is
    empty; unnamed: other users, left out because no file has their id.
    """

    generation: str
    k: int
    users: int
    popular: int
    exhausted: int
    unnamed: int
    similar: int
    files: list[str]


def export(
    client: Client,
    namespace: Namespace,
    manifest: Manifest,
    folder: Path,
    wish: Wish,
    how: Reading = Reading(),
    advance: Advance = lambda done: None,
) -> Exported:
    """Write the lists of all users, and with ``similar`` of all items, into files of the folder.

    how: to read the files with the ids of users.
    Raises GenerationGone, CacheUnavailable, DiskUnavailable, BrokenRecord, and
    BadSettings where only digests of ids are known, and no file is named that has them.
    """
    if wish.similar and not manifest.similar_buckets:
        raise BadSettings(f"generation {manifest.generation} was published without similar items")
    reader = Reader(client, namespace, manifest, min(wish.k or manifest.k, manifest.k))
    with writing(folder, "no file is half-written"), database() as (connection, spill):
        items = reader.items()
        ids = np.array(items, np.object_)
        users = _Lists(connection, spill / "recommendations", _USERS, ids)
        told = users.write(reader.users(), _known_users(connection, wish.users, how), advance)
        made, similar = [users], Counter[str]()
        if wish.similar:
            made.append(_Lists(connection, spill / "similar", _SIMILAR, ids))
            similar = made[1].write(reader.similar(), _known_items(items), lambda done: None)
        reader.expect_whole()
        files = [each.put(folder, manifest.generation, wish.format) for each in made]
    return Exported(
        manifest.generation,
        reader.k,
        told["listed"],
        told["popular"],
        told["exhausted"],
        told["unnamed"],
        similar["listed"],
        files,
    )


@dataclass(frozen=True, slots=True)
class _Lists:
    """A file in the making. columns: SQL for its columns; items: (items,), their ids."""

    connection: duckdb.DuckDBPyConnection
    pieces: Path
    columns: str
    items: NDArray[np.object_]

    def write(self, blocks: Iterable[Block], known: Ids, advance: Advance) -> Counter[str]:
        """Write a piece for each block; count the lists in them, and those left out."""
        counts = Counter[str]()
        self.pieces.mkdir()
        for number, block in enumerate(blocks):
            who = list(map(plain_id, block.names))
            unknown = [row for row, each in enumerate(who) if each is None]
            for row, found in zip(unknown, known([block.names[row] for row in unknown])):
                who[row] = found
            is_unnamed = np.array([each is None for each in who], bool)
            is_empty = block.items[:, 0] < 0
            is_listed = ~(is_unnamed | is_empty)
            piece, ids = self.pieces / f"{number:06}.parquet", np.array(who, np.object_)
            self._write(piece, ids, block, is_listed)
            counts["listed"] += int(is_listed.sum())
            counts["popular"] += int((is_listed & block.popular).sum())
            counts["exhausted"] += int((is_empty & ~is_unnamed).sum())
            counts["unnamed"] += int(is_unnamed.sum())
            advance(len(who))
        return counts

    def _write(
        self, piece: Path, who: NDArray[np.object_], block: Block, is_listed: NDArray[np.bool_]
    ) -> None:
        rows, ranks = np.nonzero((block.items >= 0) & is_listed[:, np.newaxis])
        given = {
            "who": who[rows],
            "rank": ranks + 1,
            "item": self.items[block.items[rows, ranks]],
            "score": _answered()[block.scores[rows, ranks].view(np.uint16)],
            "popular": block.popular[rows],
        }
        self.connection.register("given", given)
        copy(self.connection, f"SELECT {self.columns} FROM given", piece)
        self.connection.unregister("given")

    def put(self, folder: Path, generation: str, form: str) -> str:
        """Make one file of the pieces, in their order; return its path."""
        rows = f"SELECT * FROM read_parquet({literals(sorted(self.pieces.iterdir()))})"
        target = folder / f"{self.pieces.name}-{generation}.{form}"
        options = f"({_OPTIONS[form]}, USE_TMP_FILE false)"

        def write(beside: Path) -> None:
            self.connection.execute(f"COPY ({rows}) TO {literal(str(beside))} {options}")

        replace(target, write)
        return str(target)


@cache
def _answered() -> NDArray[np.float32]:
    """Each half float as the API answers it, by its bits."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).tolist()
    return np.array([float(f"{half:.4g}") for half in halves], np.float32)


def _known_items(items: Iterable[str]) -> Ids:
    ids = {field(item): item for item in items}
    return lambda digests: [ids.get(digest) for digest in digests]


def _known_users(connection: duckdb.DuckDBPyConnection, paths: Sequence[str], how: Reading) -> Ids:
    connection.execute("CREATE TEMP TABLE ids (digest BLOB, id VARCHAR)")

    def take(users: list[str]) -> None:
        given = {"digest": np.array(list(map(field, users)), np.object_)}
        connection.register("long", {**given, "id": np.array(users, np.object_)})
        connection.execute("INSERT INTO ids SELECT digest::BLOB, id FROM long")
        connection.unregister("long")

    for path in paths:
        long_users(Path(path), how, PLAIN_ID_BYTES, take)
    return partial(_found, connection) if paths else _refuse


def _found(connection: duckdb.DuckDBPyConnection, digests: Sequence[bytes]) -> list[str | None]:
    found: list[str | None] = [None] * len(digests)
    asked = {"digest": np.array(digests, np.object_), "row": np.arange(len(digests))}
    connection.register("asked", asked)
    ids = "SELECT row, id FROM (SELECT digest::BLOB AS digest, row FROM asked) JOIN ids"
    for row, user in connection.execute(f"{ids} USING (digest)").fetchall():
        found[row] = user
    connection.unregister("asked")
    return found


def _refuse(digests: Sequence[bytes]) -> list[str | None]:
    if digests:
        raise BadSettings(
            f"the cache holds no ids of more than {PLAIN_ID_BYTES} bytes, but digests of them: "
            "name the files that have them, such as --users orders.csv"
        )
    return []
