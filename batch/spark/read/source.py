"""The input as a frame of checked rows; the driver looks at names, headers and types only."""

import math
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path

import duckdb
import pyarrow as pa
from pyarrow.parquet import write_table
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_type
from pyspark.sql.types import BinaryType, DataType

from batch.errors import BadInteractions
from batch.interactions.sources import files
from batch.interactions.sources.files import Header
from batch.interactions.sources.layout import Layout
from batch.interactions.sources.table import Table, are_parquet, of_same_columns
from batch.spark.read.rows import Input, Meaning, of_parquet, of_text, schema
from batch.spark.read.storage import HEAD, File, Storage

READERS = 16
"""Files whose first bytes are read at once: object stores answer slowly, but many at a time."""
SAMPLED_FILES, SAMPLED_BYTES, SAMPLED_ROWS = 16, 1 << 24, 100_000
"""Of texts, and of Parquet."""
LITERALLY = {"__globPaths__": "false"}
"""Spark reads paths as patterns unless told; its own name for this has no other."""


@dataclass(frozen=True, slots=True)
class Source:
    """What there is to read."""

    rows: DataFrame
    """As `batch.spark.read.rows` says."""
    table: Table
    """All columns of the input."""
    files: int


def open_source(spark: SparkSession, uri: str, layout: Layout, meaning: Meaning) -> Source:
    """Find the files under a URI and check their columns.

    Raises BadInteractions when nothing is there, or when it is laid out in another way.
    """
    kept = _to_read(Storage(spark, uri))
    if are_parquet(uri, (Path(file.path) for file in kept), layout):
        return _of_parquet(spark, uri, layout, list(kept), meaning)
    return _of_text(spark, uri, layout, kept, meaning)


def sample(spark: SparkSession, uri: str, layout: Layout, folder: Path, more: str) -> None:
    """Copy the beginnings of some of the files to a folder of this machine, and one called more.

    Raises as ``open_source`` does.
    """
    storage = Storage(spark, uri)
    kept = list(_to_read(storage))
    some = kept[:: math.ceil(len(kept) / SAMPLED_FILES)]
    if are_parquet(uri, (Path(file.path) for file in kept), layout):
        table = spark.read.options(mergeSchema="true", **LITERALLY)
        rows = table.parquet(*(file.path for file in some)).limit(SAMPLED_ROWS)
        write_table(rows.toArrow(), folder / "sample.parquet")
    else:
        for number, file in enumerate(some):
            kind = files.kind(Path(file.path)) or ".csv"
            beginning = _beginning(storage, file, SAMPLED_BYTES // len(some))
            (folder / f"{number:06}{kind}").write_bytes(beginning)
    if (told := storage.beside(more)) is not None:
        (folder / more).write_bytes(storage.head(told))


def _beginning(storage: Storage, file: File, size: int) -> bytes:
    """Whole lines of a text, unzipped."""
    raw = storage.head(file, size)
    text = _unzipped(file, raw, size) if file.path.lower().endswith(".gz") else raw
    return text if len(raw) < size else text[: text.rfind(b"\n") + 1]


def _to_read(storage: Storage) -> dict[File, bytes]:
    """The files to read, with the first bytes of texts."""
    found = storage.find()
    known = [file for file in found if files.kind(Path(file.path)) or not storage.is_folder()]
    heads = _heads(storage, known)
    kept = [file for file in known if not files.begins_rejects(heads[file].split(b"\n")[0])]
    if not kept:
        raise files.none_to_read(storage.uri, [Path(file.path).name for file in found])
    return {file: heads[file] for file in kept}


def _heads(storage: Storage, found: list[File]) -> dict[File, bytes]:
    """Read the first bytes of texts; Parquet has its columns elsewhere."""
    texts = [file for file in found if files.kind(Path(file.path)) not in files.PARQUET]
    heads: dict[File, bytes] = dict.fromkeys(found, b"")
    if len(texts) == 1:
        return heads | {texts[0]: storage.head(texts[0])}
    with ThreadPoolExecutor(READERS) as pool:
        return heads | dict(zip(texts, pool.map(storage.head, texts), strict=True))


def _of_text(
    spark: SparkSession, uri: str, layout: Layout, heads: dict[File, bytes], meaning: Meaning
) -> Source:
    _refuse_wide(uri, layout)
    headers = ((file.path, _header(file, head, layout)) for file, head in heads.items())
    full = dict(of_same_columns(uri, headers))
    kept = [file for file in heads if file.path in full]
    first = kept[0].path
    columns = full[first].columns
    plan = Input(
        uri,
        layout,
        columns,
        ("VARCHAR",) * len(columns),
        files.delimiter(Path(first), layout),
        {file.uri: (file.path, full[file.path].lines) for file in kept},
        meaning,
    )
    lines = spark.read.options(**LITERALLY).text([file.path for file in kept])
    rows = lines.select(
        F.col("value").cast("binary"),
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("start"),
    ).mapInArrow(lambda batches: of_text(plan, batches), from_arrow_schema(schema(plan.said())))
    return Source(rows, plan.table(), len(kept))


def _refuse_wide(uri: str, layout: Layout) -> None:
    """Spark cuts lines at the bytes of ASCII's newlines."""
    encoding = layout.encoding
    if "x\n".encode(encoding) != "x".encode(encoding) + b"\n":
        raise BadInteractions(
            f"{uri}: Spark cannot cut lines in the encoding {encoding}: write the text in UTF-8"
        )


def _header(file: File, head: bytes, layout: Layout) -> Header | None:
    plain = _unzipped(file, head) if file.path.lower().endswith(".gz") else head
    encoding = files.without_mark(layout.encoding)
    with TextIOWrapper(BytesIO(plain), encoding, "surrogateescape", newline="") as stream:
        return files.header_of(stream, file.path, layout)


def _unzipped(file: File, head: bytes, size: int = HEAD) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, size)
    except zlib.error as error:
        raise BadInteractions(
            f"{file.path}: cannot be read ({error}): check that it is whole, readable and of the "
            "kind that its name says"
        ) from error


def _of_parquet(
    spark: SparkSession, uri: str, layout: Layout, found: list[File], meaning: Meaning
) -> Source:
    paths = [file.path for file in found]
    table = spark.read.options(mergeSchema="true", **LITERALLY).parquet(*paths)
    types = _types(table, meaning.roles(layout))
    whole = Input(uri, layout, tuple(table.columns), types, "", {}, meaning)
    names, described = whole.said().used, whole.table()
    plan = Input(
        uri,
        layout,
        names,
        tuple(map(described.type_of, names)),
        "",
        {file.uri: (file.path, 0) for file in found},
        meaning,
    )
    cells = (_cell(table, name).alias(f"c{number}") for number, name in enumerate(names))
    rows = table.select(*cells, F.col("_metadata.file_path").alias("file")).mapInArrow(
        lambda batches: of_parquet(plan, batches), from_arrow_schema(schema(plan.said()))
    )
    return Source(rows, described, len(found))


def _cell(table: DataFrame, name: str) -> Column:
    cell = table["`" + name.replace("`", "``") + "`"]
    return cell.cast("string") if isinstance(table.schema[name].dataType, BinaryType) else cell


def _types(table: DataFrame, roles: set[str]) -> tuple[str, ...]:
    """Return DuckDB's names of the columns' types, where a column may have a role."""
    kinds = [_arrow(field.dataType) if field.name in roles else pa.null() for field in table.schema]
    fields = [pa.field(f"c{number}", kind) for number, kind in enumerate(kinds)]
    with duckdb.connect() as connection:
        connection.register("columns", pa.schema(fields).empty_table())
        return tuple(row[1] for row in connection.execute("DESCRIBE columns").fetchall())


def _arrow(kind: DataType) -> pa.DataType:
    return pa.string() if isinstance(kind, BinaryType) else to_arrow_type(kind, timezone="UTC")
