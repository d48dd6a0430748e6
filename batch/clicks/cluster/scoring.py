"""What executors say of rows by a model: the code of one machine, over some rows at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from pyspark import Broadcast, TaskContext
from pyspark.sql import DataFrame
from pyspark.sql.types import DoubleType, StructField, StructType

from app.contracts.clicks import Column
from batch.clicks.cluster.workers import require_library
from batch.clicks.fit.matrix import sources
from batch.clicks.model import Model
from batch.clicks.pipeline import Report, Scored
from batch.clicks.terms import Part
from batch.spark.read.rows import ROOM, chunks

NOBODY = Report(0, 0, {})


@dataclass(frozen=True, slots=True)
class Asked:
    """What to say of the rows of a part: the texts of some columns beside the score."""

    columns: tuple[Column, ...]
    label: str
    has_time: bool
    part: Part
    slices: tuple[str, ...]

    @property
    def schema(self) -> str:
        """Of the answer."""
        texts = (f", slice_{at} string" for at in range(len(self.slices)))
        return f"row long, clicked boolean, log_odds double, moment long{''.join(texts)}"


def score(rows: DataFrame, asked: Asked, model: "Broadcast[Model]") -> pa.Table:
    """All that is known of these rows of the view ``rows``, in order."""
    names = [name for name in sources(asked.columns, asked.columns) if name]
    found = rows.select("row", "label", "moment", "part", *names).mapInArrow(
        lambda batches: _answers(asked, model, batches), asked.schema
    )
    return found.toArrow().sort_by("row")


def _answers(
    asked: Asked, model: "Broadcast[Model]", batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for table in _tables(batches):
        scored = _scored(asked, model.value, table)
        moments = table["moment"].combine_chunks()
        texts = [scored.slices[name] for name in asked.slices]
        arrays = [table["row"].combine_chunks(), scored.clicked, scored.log_odds, moments, *texts]
        names = [each.split()[0] for each in asked.schema.split(", ")]
        yield pa.RecordBatch.from_pydict(dict(zip(names, arrays, strict=True)))


def _scored(asked: Asked, model: Model, table: pa.Table) -> Scored:
    from batch.clicks.one_machine import LocalExamples

    with _laid(table) as connection:
        examples = LocalExamples(
            connection, NOBODY, asked.columns, asked.label, has_time=asked.has_time
        )
        return examples.predict(model, asked.part, asked.slices)


def probabilities(
    rows: DataFrame, columns: tuple[Column, ...], keep: Sequence[str], model: "Broadcast[Model]"
) -> DataFrame:
    """row, what is to be kept of it, and score: how likely a click is.

    rows: row, label, moment, what ``rows`` calls these columns, and k0, k1, ... to keep.
    """
    score = StructField("score", DoubleType())
    kept = [replaced(rows.schema[f"k{at}"], name) for at, name in enumerate(keep)]

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from batch.clicks import bulk

        for table in _tables(batches):
            with _laid(table) as connection:
                bulk.score(connection, columns, model.value, lambda rows: None)
                found = connection.table("scores").order("row").to_arrow_table()["score"]
            cells = [table["row"], *(table[f"k{at}"] for at in range(len(keep))), found]
            yield from pa.table(cells, ["row", *keep, "score"]).to_batches()

    return rows.mapInArrow(work, StructType([rows.schema["row"], *kept, score]))


def replaced(field: StructField, name: str) -> StructField:
    """The same by another name."""
    return StructField(name, field.dataType)


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
