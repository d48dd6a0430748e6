"""Small tables of impressions for tests, with a known truth."""

from dataclasses import replace

import duckdb
import numpy as np

from app.contracts.clicks import Column
from batch.clicks.one_machine import LocalExamples
from batch.clicks.rows import Report, Schema

COLUMNS = (
    Column("age", "number"),
    Column("noise", "category"),
    Column("price", "number"),
    Column("brand", "category"),
)
"""Age and brand matter; a value of noise is in few rows, and says nothing."""


def examples(count: int, seed: int = 1, has_time: bool = False) -> LocalExamples:
    """Rows of COLUMNS, every tenth price missing; moment: a second for each row."""
    rng = np.random.default_rng(seed)
    age, brand = rng.normal(size=count), rng.integers(0, 12, count)
    chance = 1 / (1 + np.exp(1 - age - np.linspace(-1.5, 1.5, 12)[brand]))
    price = np.where(np.arange(count) % 10, rng.random(count), np.nan)
    connection = duckdb.connect(config={"threads": 1})
    connection.register(
        "drawn",
        {
            "row": np.arange(count),
            "label": (rng.random(count) < chance).astype(np.int8),
            "moment": np.arange(count) * 1_000_000,
            "n0": age.astype(np.float32),
            "c0": rng.integers(0, count // 8, count),
            "n1": price.astype(np.float32),
            "c1": brand,
        },
    )
    connection.execute(
        "CREATE TABLE rows AS SELECT row, label, moment, n0, CAST(c0 AS VARCHAR) AS c0, "
        "if(isnan(n1), NULL, n1) AS n1, concat('b', c1) AS c1 FROM drawn"
    )
    connection.unregister("drawn")
    (clicks,) = connection.execute("SELECT sum(label)::INT FROM rows").fetchall()[0]
    schema = Schema("label", "time" if has_time else None, COLUMNS)
    return LocalExamples(Report(1, count, {}), schema, (), clicks, 1.0, connection)


def seeing(some: LocalExamples, columns: tuple[Column, ...]) -> LocalExamples:
    """The same rows, of whose columns n0 and so on these are the names."""
    return replace(some, schema=replace(some.schema, columns=columns))
