"""Rows of Spark as trees see them: the tables of ``encode``, joined to the rows."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from app.contracts.clicks import Column
from batch.clicks.fit.encode import Folds, cells_sql, number_sql, values_sql
from batch.clicks.fit.matrix import named, values_of
from batch.clicks.model import Values
from batch.clicks.terms import Fit

BROADCAST = 500_000
"""Up to how many values a table is sent to every executor; larger ones are joined by a shuffle."""


@dataclass(frozen=True, slots=True)
class Table:
    """What ``values_sql`` says of a category, on the cluster, and what a model keeps of it."""

    frame: DataFrame
    values: Values

    @classmethod
    def of(cls, frame: DataFrame, stack: ExitStack) -> "Table":
        """Make it; it is kept until the stack is closed."""
        kept = frame.persist(StorageLevel.MEMORY_AND_DISK)
        stack.callback(kept.unpersist)
        found = kept.select("value_key", "mean", "share").orderBy("value_key").toArrow()
        return cls(kept, values_of({name: found[name].to_numpy() for name in found.column_names}))

    def to_join(self) -> DataFrame:
        return F.broadcast(self.frame) if len(self.values.keys) <= BROADCAST else self.frame


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes the temporary view ``rows``, whose columns these are."""

    spark: SparkSession
    columns: Sequence[Column]
    prior: float

    def learn(self, folds: Folds, fit: Fit, where: str, stack: ExitStack) -> list[Table]:
        """Make the tables of these rows, one after the other."""
        return [
            Table.of(self.spark.sql(values_sql(name, folds, fit, where)), stack)
            for name in self._of("category")
        ]

    def encode(self, tables: Sequence[Table], where: str, folds: Folds | None) -> DataFrame:
        """row, label, held, then x0, x1 and so on as trees see them, and the codes k0, k1, ...

        folds: of these rows, when the tables are made of them; other rows are held.
        """
        cells = [
            *(f"{number_sql(each)} AS x{at}" for at, each in enumerate(self._of("number"))),
            *(f"{each} AS value_{at}" for at, each in enumerate(self._of("category"))),
        ]
        fold, held = (folds.sql, "false") if folds else ("-1", "true")
        about = f"row, label, {held} AS held, {fold} AS fold"
        frame = self.spark.sql(f"SELECT {', '.join([about, *cells])} FROM rows WHERE {where}")
        for at, table in enumerate(tables):
            frame = self._joined(frame, table, at, folds)
        return frame.drop("fold")

    def _joined(self, frame: DataFrame, table: Table, at: int, folds: Folds | None) -> DataFrame:
        place = len(self._of("number")) + 2 * at
        kept = [name for name in frame.columns if name != f"value_{at}"]
        cells = zip(cells_sql(self.prior, folds), (f"x{place}", f"x{place + 1}", f"k{at}"))
        joined = frame.join(table.to_join(), F.expr(f"value = value_{at}"), "left")
        return joined.selectExpr(*kept, *(f"{sql} AS {name}" for sql, name in cells))

    def _of(self, kind: str) -> list[str]:
        return [name for column, name in named(self.columns).items() if column.kind == kind]
