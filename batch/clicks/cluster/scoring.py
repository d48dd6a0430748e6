"""What executors say of rows by a model: the code of one machine, over some rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from pyspark import Broadcast, TaskContext
from pyspark.sql import DataFrame

from app.contracts.clicks import Column
from batch.clicks.cluster.workers import require_library
from batch.clicks.matrix import sources
from batch.clicks.model import Model
from batch.clicks.pipeline import Part, Report, Scored
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
    require_library()
    for some in chunks(("", batch) for batch in batches):
        table = pa.Table.from_batches([batch for _, batch in some])
        scored = _scored(asked, model.value, table)
        moments = table["moment"].combine_chunks()
        texts = [scored.slices[name] for name in asked.slices]
        arrays = [table["row"].combine_chunks(), scored.clicked, scored.log_odds, moments, *texts]
        names = [each.split()[0] for each in asked.schema.split(", ")]
        yield pa.RecordBatch.from_pydict(dict(zip(names, arrays, strict=True)))


def _scored(asked: Asked, model: Model, table: pa.Table) -> Scored:
    from batch.clicks.one_machine import LocalExamples

    numbered = table.set_column(0, "row", pa.array(range(len(table)), pa.int64()))
    with duckdb.connect() as connection:
        task = TaskContext.get()
        connection.execute(f"SET threads = {task.cpus() if task else 1}")
        connection.execute(f"SET memory_limit = '{ROOM}'")
        connection.register("rows", numbered)
        examples = LocalExamples(
            connection, NOBODY, asked.columns, asked.label, has_time=asked.has_time
        )
        return examples.predict(model, asked.part, asked.slices)
