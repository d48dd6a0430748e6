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
from batch.clicks.fit.matrix import Encoded, Encoder, sources
from batch.clicks.model import Model
from batch.clicks.pipeline import Report, Scored
from batch.clicks.terms import Fit, Part, Split
from batch.errors import BadSettings
from batch.progress import Progress


@dataclass(frozen=True, slots=True)
class LocalExamples:
    """A ``pipeline.Examples``: the table ``rows`` of a connection, see ``encode``."""

    connection: duckdb.DuckDBPyConnection
    report: Report
    columns: tuple[Column, ...]
    label: str
    negatives_kept: float = 1.0
    has_time: bool = False

    @property
    def rows(self) -> int:
        return int(self._query("SELECT count(*) FROM rows")[0][0])

    @property
    def clicks(self) -> int:
        return int(self._query("SELECT coalesce(sum(label), 0) FROM rows")[0][0])

    def fingerprint(self) -> str:
        names = [name for name in sources(self.columns, self.columns) if name]
        cells = f"hash(label, moment, {', '.join(names)})"
        found = self._query(f"SELECT sum({cells}), count(*) FROM rows")
        return md5(repr((found, self.columns)).encode(), usedforsecurity=False).hexdigest()

    def split(self, split: Split) -> Mapping[Part, int]:
        moments = division.bounds(self._query, split) if self.has_time else None
        self.connection.execute("ALTER TABLE rows ADD COLUMN IF NOT EXISTS part VARCHAR")
        self.connection.execute(f"UPDATE rows SET part = {part_sql(split, moments)}")
        return division.sizes(self._query)

    def thin(self, share: float, seed: int) -> None:
        """See ``tune.Thinned``."""
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
                encoder = self._encoder(self.columns, model.prior)
                held = encoder.encode(parts_sql([stop_on]), None, fit.blend)
            advance(1)
        return members.fitted(model, rows, held, fit, progress)

    def learn(self, parts: Sequence[Part], fit: Fit) -> tuple[Model, Encoded]:
        """A model that has no members yet, and the rows that these can learn from."""
        where = parts_sql(parts)
        folds = self._folded(division.folds(self._query, fit, parts, self.has_time))
        encoder = self._encoder(self.columns, folds.prior)
        tables = encoder.learn(folds, fit, where)
        rows = encoder.encode(f"{where} AND {folds.trains}", folds, fit.blend)
        kept = self.negatives_kept
        return Model(self.columns, folds.prior, tables, "", 0, negatives_kept=kept), rows

    def predict(self, model: Model, part: Part, slices: Sequence[str] = ()) -> Scored:
        where = parts_sql([part])
        encoder = self._encoder(model.columns, model.prior)
        encoder.take(model, where)
        rows = encoder.encode(where, None, coded=model.linear is not None)
        cut = {name: self._texts(name, where) for name in slices}
        moments = None
        if self.has_time:
            sql = f"SELECT moment FROM rows WHERE {where} ORDER BY row"
            moments = self.connection.execute(sql).fetchnumpy()["moment"]
        return Scored(rows.clicked, members.log_odds(model, rows), cut, moments)

    def _folded(self, folds: Folds) -> Folds:
        """The same, as a column: for each category it would be computed anew."""
        self.connection.execute("ALTER TABLE rows ADD COLUMN IF NOT EXISTS fold INTEGER")
        self.connection.execute(f"UPDATE rows SET fold = {folds.sql}")
        return replace(folds, sql="fold")

    def _encoder(self, columns: tuple[Column, ...], prior: float) -> Encoder:
        return Encoder(self.connection, columns, sources(columns, self.columns), prior)

    def _texts(self, name: str, where: str) -> NDArray[np.object_]:
        known = dict(zip([each.name for each in self.columns], sources(self.columns, self.columns)))
        if name not in known:
            raise BadSettings(f"no column is called {name!r}: there are {', '.join(known)}")
        sql = f"SELECT coalesce(CAST({known[name]} AS VARCHAR), '') AS text FROM rows WHERE {where}"
        found = self.connection.execute(f"{sql} ORDER BY row").fetchnumpy()["text"]
        return np.asarray(found, object)

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()
