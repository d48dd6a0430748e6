"""Rows of DuckDB as arrays: what trees and the linear member see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from app.contracts.clicks import Column, row_names
from batch.clicks.fit.encode import Folds, encoded_sql, known_sql, number_sql, values_sql
from batch.clicks.model import Clicked, Model, Values
from batch.clicks.terms import Fit

Codes = NDArray[np.int32]
"""(rows, categories): the place of a value in its table, the first being 1; 0 for one in none."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows in their order. matrix: (rows, numbers of a row), column by column in memory.

    codes: only for a linear member.
    """

    clicked: Clicked
    matrix: NDArray[np.float32]
    codes: Codes | None = None


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes rows by the tables in DuckDB called ``values_<n>``, for the nth category.

    columns: of a model; rows: those of the table ``rows``.
    """

    connection: duckdb.DuckDBPyConnection
    columns: Sequence[Column]
    rows: Sequence[Column]
    prior: float

    def encode(self, where: str, folds: Folds | None, coded: bool) -> Encoded:
        """folds: of these rows, when it is they that the tables are made of."""
        rows = self._fetch(f"SELECT row, label FROM rows WHERE {where} ORDER BY row")
        start, end = (rows["row"][0], rows["row"][-1] + 1) if len(rows["row"]) else (0, 0)
        places = np.empty(end - start, np.int32)  # rows may begin far from 0, see ``bulk``
        places[rows["row"] - start] = np.arange(len(rows["row"]), dtype=np.int32)
        shape = len(rows["row"]), len(row_names(self.columns))
        matrix, categories = np.empty(shape, np.float32, order="F"), self._of("category")
        codes = np.empty((len(rows["row"]), len(categories)), np.int32, "F") if coded else None
        for at, source in enumerate(self._of("number")):
            number = number_sql(source)
            found = self._fetch(f"SELECT row, {number} AS number FROM rows WHERE {where}")
            matrix[places[found["row"] - start], at] = found["number"]
        for at, source in enumerate(categories):
            name = source or "''"
            found = self._fetch(encoded_sql(name, f"values_{at}", self.prior, where, folds))
            taken, first = places[found["row"] - start], shape[1] - 2 * (len(categories) - at)
            matrix[taken, first], matrix[taken, first + 1] = found["mean"], found["share"]
            if codes is not None:
                codes[taken, at] = found["code"]
        return Encoded(rows["label"].astype(bool), matrix, codes)

    def learn(self, folds: Folds, fit: Fit, where: str) -> list[Values]:
        """Make the tables of these rows; the weights in them are 0."""
        return [
            self._learnt(at, values_sql(source or "''", folds, fit, where))
            for at, source in enumerate(self._of("category"))
        ]

    def take(self, model: Model, where: str) -> None:
        """Make the tables of what a model knows of these rows."""
        for at, (source, table) in enumerate(zip(self._of("category"), model.tables, strict=True)):
            self.connection.register("known", _rows_of(table))
            known = known_sql(source or "''", "known", where)
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE values_{at} AS {known}")
            self.connection.unregister("known")

    def _learnt(self, at: int, sql: str) -> Values:
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE values_{at} AS {sql}")
        found = self._fetch(f"SELECT value_key, mean, share FROM values_{at} ORDER BY code")
        return values_of(found)

    def _of(self, kind: str) -> list[str | None]:
        return sources(kind, self.columns, self.rows)

    def _fetch(self, sql: str) -> dict[str, NDArray[Any]]:
        return self.connection.execute(sql).fetchnumpy()


def values_of(found: Mapping[str, NDArray[Any]]) -> Values:
    """The table of these value_key, mean and share; the weights in it are 0."""
    keys = np.frombuffer(bytes.fromhex("".join(found["value_key"])), ">u8").astype("<u8")
    return Values(keys, found["mean"], found["share"], np.zeros(len(keys), np.float32))


def sources(kind: str, model: Sequence[Column], rows: Sequence[Column]) -> list[str | None]:
    """Which column of ``rows`` is each of a kind of a model's; None for one that is not there."""
    names = named(rows)
    return [names.get(column) for column in model if column.kind == kind]


def named(rows: Sequence[Column]) -> dict[Column, str]:
    """What each column is called in the table ``rows``."""
    names, seen = {}, {"number": 0, "category": 0}
    for column in rows:
        names[column] = f"{column.kind[0]}{seen[column.kind]}"
        seen[column.kind] += 1
    return names


def _rows_of(table: Values) -> dict[str, NDArray[Any]]:
    written = table.keys.astype(">u8").tobytes().hex()
    return {
        "value_key": np.array([written[at : at + 16] for at in range(0, len(written), 16)], object),
        "code": np.arange(1, len(table.keys) + 1, dtype=np.int32),
        "mean": np.ascontiguousarray(table.means, np.float32),
        "share": np.ascontiguousarray(table.shares, np.float32),
    }
