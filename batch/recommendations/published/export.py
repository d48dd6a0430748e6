"""The lists of a generation as files, for what sends e-mails or prints catalogues.

A file is first made in pieces in a private folder, so that no more than a piece is in memory. It
gets its name when it is whole and durable, see ``batch.events.folder.replace``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from app.contracts.recommendations import PLAIN_ID_BYTES, field, plain_id
from batch.errors import BadSettings
from batch.events.folder import copy, replace, writing
from batch.interactions.reading import Reading
from batch.interactions.sources.table import database, literal, literals
from batch.interactions.users import long_users
from batch.progress import Advance
from batch.recommendations.published.read import Block, Reader
from batch.recommendations.published.wish import Wish

_FORMATS = {"parquet": "FORMAT parquet, COMPRESSION zstd", "csv": "FORMAT csv, HEADER"}

_ENTRY = "rank::INTEGER AS rank, item::VARCHAR AS {}, score::FLOAT AS score"
_SOURCE = "CASE WHEN popular THEN 'popular' ELSE 'personal' END AS source"
_USERS = f"who::VARCHAR AS user, {_ENTRY.format('item')}, {_SOURCE}"
_SIMILAR = f"who::VARCHAR AS item, {_ENTRY.format('similar')}"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the lists of so many users and items, and the files.

    popular: of these users, whose list is what is popular; unnamed: other users, left out because
    no file has their id.
    """

    users: int
    popular: int
    unnamed: int
    similar: int
    files: list[str]


def export(
    reader: Reader,
    folder: Path,
    wish: Wish,
    how: Reading = Reading(),
    advance: Advance = lambda done: None,
) -> Exported:
    """Write the lists of all users, and of items if they are wished for, into files of the folder.

    how: to read the files with the ids of users. Raises GenerationGone, CacheUnavailable,
    DiskUnavailable, BrokenRecord, and BadSettings for similar items that were not published, or
    where ids are known by their digests alone and no file is named that has them.
    """
    generation, similar = reader.manifest.generation, 0
    if wish.similar and not reader.manifest.similar_buckets:
        raise BadSettings(f"generation {generation} was published without similar items")
    with writing(folder, "no file is half-written"), database() as (connection, pieces):
        items = np.array(reader.items(), np.object_)
        made = [_Lists(connection, pieces / "recommendations", _USERS, items)]
        long = (user for path in wish.users for user in long_users(Path(path), how, PLAIN_ID_BYTES))
        known = {field(user): user for user in long}
        users, popular, unnamed = made[0].write(reader.users(), known, advance)
        if wish.similar:
            made.append(_Lists(connection, pieces / "similar", _SIMILAR, items))
            known = {field(item): item for item in items}
            similar, *_ = made[1].write(reader.similar(), known, lambda done: None)
        reader.expect_whole()
        files = [each.put(folder, generation, wish.format) for each in made]
    return Exported(users, popular, unnamed, similar, files)


@dataclass(frozen=True, slots=True)
class _Lists:
    """A file in the making. columns: SQL for its columns; items: (items,), their ids."""

    connection: duckdb.DuckDBPyConnection
    pieces: Path
    columns: str
    items: NDArray[np.object_]

    def write(
        self, blocks: Iterable[Block], known: Mapping[bytes, str], advance: Advance
    ) -> list[int]:
        """Write a piece for each block; known: digests -> ids.

        Returns how many lists there are, how many of them are what is popular, how many left out.
        """
        counts = np.zeros(3, np.int64)
        self.pieces.mkdir()
        for number, block in enumerate(blocks):
            who = [plain_id(name) or known.get(name) for name in block.names]
            is_named = np.array([each is not None for each in who], bool)
            if not (known or is_named.all()):
                raise BadSettings(
                    f"the cache holds no ids of more than {PLAIN_ID_BYTES} bytes, but digests of "
                    "them: name the files that have them, such as --users orders.csv"
                )
            rows, ranks = np.nonzero((block.items >= 0) & is_named[:, np.newaxis])
            given = {
                "who": np.array(who, np.object_)[rows],
                "rank": ranks + 1,
                "item": self.items[block.items[rows, ranks]],
                "score": _answered()[block.scores[rows, ranks].view(np.uint16)],
                "popular": block.popular[rows],
            }
            self.connection.register("given", given)
            piece = self.pieces / f"{number:09}.parquet"
            copy(self.connection, f"SELECT {self.columns} FROM given", piece)
            first = rows[ranks == 0]
            counts += len(first), block.popular[first].sum(), (~is_named).sum()
            advance(len(who))
        return list(map(int, counts))

    def put(self, folder: Path, generation: str, form: str) -> str:
        """Make one file of the pieces, in their order; return its path."""
        rows = f"SELECT * FROM read_parquet({literals(sorted(self.pieces.iterdir()))})"
        target = folder / f"{self.pieces.name}-{generation}.{form}"
        options = f"({_FORMATS[form]}, USE_TMP_FILE false)"

        def write(beside: Path) -> None:
            self.connection.execute(f"COPY ({rows}) TO {literal(str(beside))} {options}")

        replace(target, write)
        return str(target)


@cache
def _answered() -> NDArray[np.float32]:
    """Each half float as the API answers it, by its bits."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).tolist()
    return np.array([float(f"{half:.4g}") for half in halves], np.float32)
