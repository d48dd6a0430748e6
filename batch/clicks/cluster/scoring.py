"""What executors say of rows by a model: the code of one machine, over some rows at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa
from pyspark import Broadcast, TaskContext
from pyspark.sql import DataFrame
from pyspark.sql.types import DoubleType, StructField, StructType

from app.contracts.clicks import Column
from batch.clicks.cluster.workers import require_library
from batch.clicks.fit.matrix import named
from batch.clicks.model import Model
from batch.clicks.rows import Scored
from batch.spark.read.rows import ROOM, chunks


def score(
    rows: DataFrame, columns: Sequence[Column], slices: Sequence[str], model: "Broadcast[Model]"
) -> pa.Table:
    """row, clicked, log_odds, moment, and texts of slices as slice_0, ..., in the order of rows.

    rows: row, label, moment, and what ``rows`` calls these columns.
    """
    kinds = ["row long", "clicked boolean", "log_odds double", "moment long"]
    kinds += [f"slice_{at} string" for at in range(len(slices))]

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in _tables(batches):
            found = _scored(table, columns, slices, model.value)
            texts = [found.slices[name] for name in slices]
            row, moment = (table[name].combine_chunks() for name in ("row", "moment"))
            arrays = [row, found.clicked, found.log_odds, moment, *texts]
            names = [each.split()[0] for each in kinds]
            yield pa.RecordBatch.from_pydict(dict(zip(names, arrays, strict=True)))

    said = rows.select("row", "label", "moment", *named(columns).values())
    return said.mapInArrow(work, ", ".join(kinds)).toArrow().sort_by("row")


def _scored(
    table: pa.Table, columns: Sequence[Column], slices: Sequence[str], model: Model
) -> Scored:
    from batch.clicks import one_machine

    with _laid(table) as connection:
        return one_machine.scored(connection, columns, model, "1 = 1", slices)


def probabilities(
    rows: DataFrame, columns: tuple[Column, ...], keep: Sequence[str], model: "Broadcast[Model]"
) -> DataFrame:
    """row, what is to be kept of it, and score: how likely a click is.

    rows: row, label, moment, what ``rows`` calls these columns, and k0, k1, ... to keep.
    """
    score = StructField("score", DoubleType())
    kept = [StructField(name, rows.schema[f"k{at}"].dataType) for at, name in enumerate(keep)]

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from batch.clicks import bulk

        for table in _tables(batches):
            with _laid(table) as connection:
                bulk.score(connection, columns, model.value, lambda rows: None)
                found = connection.table("scores").order("row").to_arrow_table()["score"]
            cells = [table["row"], *(table[f"k{at}"] for at in range(len(keep))), found]
            yield from pa.table(cells, ["row", *keep, "score"]).to_batches()

    return rows.mapInArrow(work, StructType([rows.schema["row"], *kept, score]))


def _tables(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    require_library()
    for some in chunks(("", batch) for batch in batches):
        yield pa.Table.from_batches([batch for _, batch in some])


@contextmanager
def _laid(table: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in which these are ``rows``, numbered anew: matrices are as long as numbers go."""
    at = table.schema.get_field_index("row")
    numbered = table.set_column(at, "row", pa.array(range(len(table)), pa.int64()))
    task = TaskContext.get()
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {task.cpus() if task else 1}")
        connection.execute(f"SET memory_limit = '{ROOM}'")
        connection.register("rows", numbered)
        yield connection
