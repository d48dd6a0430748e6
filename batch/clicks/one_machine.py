"""One machine: rows in DuckDB, and a fit in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from app.contracts.clicks import Column
from batch.clicks import linear, trees
from batch.clicks.encode import (
    Folds,
    fold_shares,
    fold_sql,
    moments_sql,
    part_sql,
    parts_sql,
    shares_of,
    sizes_sql,
)
from batch.clicks.matrix import Encoded, Encoder, sources
from batch.clicks.model import Model
from batch.clicks.pipeline import EVERYTHING, Part, Report, Scored
from batch.clicks.terms import Fit, Split
from batch.errors import BadSettings
from batch.progress import Progress

Query = Callable[[str], Sequence[tuple[Any, ...]]]
"""Runs SQL on the table ``rows``, and gives all that it finds."""


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
        return int(self._one("SELECT count(*) FROM rows")[0])

    @property
    def clicks(self) -> int:
        return int(self._one("SELECT coalesce(sum(label), 0) FROM rows")[0])

    def fingerprint(self) -> str:
        names = [name for name in sources(self.columns, self.columns) if name]
        cells = f"hash(label, moment, {', '.join(names)})"
        kinds = ",".join(f"{each.kind}:{each.name}" for each in self.columns)
        found = self._one(f"SELECT md5(concat(sum({cells}), count(*), ?)) FROM rows", [kinds])
        return str(found[0])

    def split(self, split: Split) -> Mapping[Part, int]:
        part = part_of(self._query, split, self.has_time)
        self.connection.execute("ALTER TABLE rows ADD COLUMN IF NOT EXISTS part VARCHAR")
        self.connection.execute(f"UPDATE rows SET part = {part}")
        return sizes_of(self._query)

    def fit(
        self, parts: Sequence[Part], stop_on: Part | None, fit: Fit, progress: Progress
    ) -> Model:
        where = parts_sql(parts)
        folds = folds_of(self._query, fit, where, self.has_time)
        encoder = self._encoder(self.columns, folds.prior)
        with progress.step("encode", 3, "steps") as advance:
            tables = encoder.learn(folds, fit, where)
            advance(1)
            rows = encoder.encode(f"{where} AND {folds.trains}", folds, fit.blend)
            advance(1)
            held = encoder.encode(parts_sql([stop_on]), None, fit.blend) if stop_on else None
            advance(1)
        model = Model(self.columns, folds.prior, tables, "", 0, negatives_kept=self.negatives_kept)
        return members(model, rows, held, fit, progress)

    def predict(self, model: Model, part: Part, slices: Sequence[str] = ()) -> Scored:
        where = parts_sql([part])
        encoder = self._encoder(model.columns, model.prior)
        encoder.take(model, where)
        rows = encoder.encode(where, None, coded=model.linear is not None)
        cut = {name: self._texts(name, where) for name in slices}
        return Scored(rows.clicked, log_odds(model, rows), cut)

    def _encoder(self, columns: tuple[Column, ...], prior: float) -> Encoder:
        return Encoder(self.connection, columns, sources(columns, self.columns), prior)

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()

    def _texts(self, name: str, where: str) -> NDArray[np.object_]:
        known = dict(zip([each.name for each in self.columns], sources(self.columns, self.columns)))
        if name not in known:
            raise BadSettings(f"no column is called {name!r}: there are {', '.join(known)}")
        sql = f"SELECT coalesce(CAST({known[name]} AS VARCHAR), '') AS text FROM rows WHERE {where}"
        found = self.connection.execute(f"{sql} ORDER BY row").fetchnumpy()["text"]
        return np.asarray(found, object)

    def _one(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self.connection.execute(sql, values).fetchall()[0]
        return found


def part_of(query: Query, split: Split, has_time: bool) -> str:
    """SQL for the part of a row of ``rows``."""
    return part_sql(split, query(moments_sql(shares_of(split)))[0] if has_time else None)


def sizes_of(query: Query) -> Mapping[Part, int]:
    """How many rows each part has. Raises BadSettings, see ``Examples.split``."""
    found = query("SELECT part, count(*), min(label), max(label) FROM rows GROUP BY part")
    sizes: dict[Part, int] = {part: 0 for part in EVERYTHING}
    sizes.update({part: size for part, size, _, _ in found})
    one_kind = {part for part, _, low, high in found if low == high}
    wrong = [part for part in EVERYTHING if not sizes[part] or part in one_kind]
    if wrong:
        raise BadSettings(
            f"the part to {wrong[0]} on has {sizes[wrong[0]]:,} of {sum(sizes.values()):,} rows, "
            "and not both clicks and rows without one: give more rows, or make that part larger"
        )
    return sizes


def folds_of(query: Query, fit: Fit, where: str, has_time: bool) -> Folds:
    """The folds of these rows. Raises BadSettings when they cannot be trained on."""
    moments = query(moments_sql(fold_shares(fit), where))[0] if has_time else None
    sql = fold_sql(fit, moments)
    found = query(sizes_sql(sql, where))
    folds = Folds.of(sql, {fold: (n, clicks) for fold, n, clicks in found}, has_time)
    if not 0 < folds.clicks < folds.rows:
        raise BadSettings("there must be rows with a click and rows without one to train on")
    if has_time and len(found) < 2:
        raise BadSettings(
            "all rows to train on are of one moment: leave --time-column away, or give more"
        )
    return folds


def members(
    model: Model,
    rows: Encoded,
    held: Encoded | None,
    fit: Fit,
    progress: Progress,
    **extra: Any,
) -> Model:
    """Fit a model that has all but its members. extra: more of LightGBM's parameters."""
    with progress.step("grow trees", fit.trees, "trees") as advance:
        judged = (held.matrix, held.clicked) if held else None
        grown = trees.fit(rows.matrix, rows.clicked, fit, advance, judged, **extra)
    model = replace(model, trees=grown.text, tree_count=grown.count)
    if not fit.blend:
        return model
    with progress.step("fit the linear member", 1, "fits") as advance:
        blended = _blended(model, rows)
        advance(1)
    return blended if held is None or _is_better(blended, model, held) else model


def log_odds(model: Model, rows: Encoded) -> NDArray[np.float64]:
    """(rows,), the mean of what the members say."""
    found = trees.log_odds(model.trees, rows.matrix)
    if model.linear is None:
        return found
    return (found + linear.log_odds(model.linear, model.tables, rows)) / 2


def _blended(model: Model, rows: Encoded) -> Model:
    member, tables = linear.fit(rows, model.tables)
    return replace(model, linear=member, tables=tables)


def _is_better(blended: Model, alone: Model, held: Encoded) -> bool:
    both = (_log_loss(log_odds(model, held), held.clicked) for model in (blended, alone))
    return next(both) < next(both)


def _log_loss(log_odds: NDArray[np.float64], clicked: NDArray[np.bool_]) -> float:
    return float((np.logaddexp(0.0, log_odds) - clicked * log_odds).mean())
