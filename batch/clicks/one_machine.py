"""One machine: rows in DuckDB, and a fit in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import md5
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from app.contracts.clicks import Column
from batch.clicks.fit import division, members
from batch.clicks.fit.encode import MILLION, Folds, hashed_sql, part_sql, parts_sql
from batch.clicks.fit.matrix import Encoded, Encoder, named
from batch.clicks.model import Model
from batch.clicks.rows import Examples, Scored
from batch.clicks.terms import Fit, Part, Split
from batch.errors import BadSettings
from batch.progress import Progress


@dataclass(frozen=True, slots=True)
class LocalExamples(Examples):
    """The table ``rows`` of a connection, see ``encode``.

    numbered: whether ``row`` says which row of the input it is.
    """

    connection: duckdb.DuckDBPyConnection
    numbered: bool = True

    def fingerprint(self) -> str:
        cells = f"hash(label, moment, {', '.join(named(self.columns).values())})"
        found = self._query(f"SELECT sum({cells}), count(*) FROM rows")
        return md5(repr((found, self.columns)).encode(), usedforsecurity=False).hexdigest()

    def split(self, split: Split) -> Mapping[Part, int]:
        moments = division.bounds(self._query, split) if self.has_time else None
        self.connection.execute("ALTER TABLE rows ADD COLUMN IF NOT EXISTS part VARCHAR")
        self.connection.execute(f"UPDATE rows SET part = {part_sql(split, moments)}")
        return division.sizes(self._query)

    def thin(self, share: float, seed: int) -> None:
        """Leave all but a share of the rows to train on away, until the next time or ``split``."""
        kept = f"{hashed_sql(seed + 2, MILLION)} < {round(share * MILLION)}"
        self.connection.execute(
            f"UPDATE rows SET part = CASE WHEN {kept} THEN 'train' ELSE 'spare' END "
            "WHERE part IN ('train', 'spare')"
        )

    def fit(
        self, parts: Sequence[Part], stop_on: Part | None, fit: Fit, progress: Progress
    ) -> Model:
        with progress.step("encode", 2, "steps") as advance:
            model, rows = self.learn(parts, fit)
            advance(1)
            held = None
            if stop_on:
                encoder = self._encoder(model.prior)
                held = encoder.encode(parts_sql([stop_on]), None, fit.blend)
            advance(1)
        return members.fitted(model, rows, held, fit, progress)

    def learn(self, parts: Sequence[Part], fit: Fit) -> tuple[Model, Encoded]:
        """A model that has no members yet, and the rows that these can learn from."""
        where = parts_sql(parts)
        folds = self._folded(division.folds(self._query, fit, parts, self.has_time))
        encoder = self._encoder(folds.prior)
        tables = encoder.learn(folds, fit, where)
        rows = encoder.encode(f"{where} AND {folds.trains}", folds, fit.blend)
        kept = self.negatives_kept
        return Model(self.columns, folds.prior, tables, "", 0, negatives_kept=kept), rows

    def predict(self, model: Model, part: Part, slices: Sequence[str] = ()) -> Scored:
        where = parts_sql([part])
        found = scored(self.connection, self.columns, model, where, slices)
        if not self.has_time:
            return found
        sql = f"SELECT moment FROM rows WHERE {where} ORDER BY row"
        return replace(found, moments=self.connection.execute(sql).fetchnumpy()["moment"])

    def _folded(self, folds: Folds) -> Folds:
        """The same, as a column: for each category it would be computed anew."""
        self.connection.execute("ALTER TABLE rows ADD COLUMN IF NOT EXISTS fold INTEGER")
        self.connection.execute(f"UPDATE rows SET fold = {folds.sql}")
        return replace(folds, sql="fold")

    def _encoder(self, prior: float) -> Encoder:
        return Encoder(self.connection, self.columns, self.columns, prior)

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()


def scored(
    connection: duckdb.DuckDBPyConnection,
    columns: Sequence[Column],
    model: Model,
    where: str,
    slices: Sequence[str],
) -> Scored:
    """What a model says of some of the table ``rows``, whose columns these are.

    Raises BadSettings for a slice that is none of them.
    """
    encoder = Encoder(connection, model.columns, columns, model.prior)
    encoder.take(model, where)
    rows = encoder.encode(where, None, coded=model.linear is not None)
    known = {column.name: name for column, name in named(columns).items()}
    if unknown := [name for name in slices if name not in known]:
        raise BadSettings(f"no column is called {unknown[0]!r}: there are {', '.join(known)}")
    texts = {name: _texts(connection, known[name], where) for name in slices}
    return Scored(rows.clicked, members.log_odds(model, rows), texts)


def _texts(connection: duckdb.DuckDBPyConnection, column: str, where: str) -> NDArray[np.object_]:
    sql = f"SELECT coalesce(CAST({column} AS VARCHAR), '') AS text FROM rows WHERE {where}"
    return np.asarray(connection.execute(f"{sql} ORDER BY row").fetchnumpy()["text"], object)
