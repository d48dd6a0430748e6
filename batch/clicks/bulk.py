"""``larder clicks score``: what a model says of a whole table, into one file."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
from scipy.special import expit

from app.contracts.clicks import Column
from batch.clicks.fit import members
from batch.clicks.fit.calibrate import served
from batch.clicks.fit.matrix import Encoder
from batch.clicks.model import Model
from batch.clicks.one_machine import LocalExamples
from batch.errors import BadSettings
from batch.events.folder import replace, writing
from batch.interactions.sources.table import literal
from batch.progress import Advance

CHUNK = 250_000
"""How many rows lie in memory as a matrix."""

FORMATS = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER",
    ".tsv": "FORMAT csv, HEADER, DELIMITER '\t'",
}
"""What is written, by how the name of the file ends."""

OWN = ("row", "score")
"""The columns that are always there: which row of the input, from 0, and the probability.

Where nobody knows which row of the input it is, ``row`` is empty.
"""


def check(out: Path, keep: Sequence[str]) -> None:
    """Raise BadSettings when such a file cannot be written."""
    if out.suffix not in FORMATS:
        raise BadSettings(f"{out}: expected a file that ends with {', '.join(FORMATS)}")
    check_kept(keep)


def check_kept(keep: Sequence[str]) -> None:
    """Raise BadSettings when these columns cannot stand beside our own."""
    names = [name.lower() for name in (*OWN, *keep)]
    if len(set(names)) < len(names):
        raise BadSettings(f"--keep-columns must name each once, and neither of {', '.join(OWN)}")


def score(
    connection: duckdb.DuckDBPyConnection,
    columns: Sequence[Column],
    model: Model,
    advance: Advance,
) -> None:
    """Make the table ``scores`` (row, score) of the table ``rows``, whose columns these are."""
    encoder = Encoder(connection, model.columns, columns, model.prior)
    encoder.take(model, "1 = 1")
    connection.execute("CREATE OR REPLACE TABLE scores (row BIGINT, score DOUBLE)")
    last = connection.execute("SELECT coalesce(max(row), -1) FROM rows").fetchall()[0][0]
    for start in range(0, last + 1, CHUNK):
        where = f"row >= {start} AND row < {start + CHUNK}"
        encoded = encoder.encode(where, None, coded=model.linear is not None)
        found = connection.execute(f"SELECT row FROM rows WHERE {where} ORDER BY row").fetchnumpy()
        found["score"] = expit(served(model, members.log_odds(model, encoded)))
        connection.register("scored", found)
        connection.execute("INSERT INTO scores SELECT row, score FROM scored")
        connection.unregister("scored")
        advance(len(encoded.clicked))


def write(rows: LocalExamples, out: Path, keep: Sequence[str]) -> None:
    """Write the scores beside the columns k0, k1 and so on of ``rows``; all of the file or none.

    keep: what those are called. Raises DiskUnavailable, or Terminal when OUT cannot be written.
    """
    number = "rows.row" if rows.numbered else "CAST(NULL AS BIGINT)"
    kept = "".join(f"k{n} AS {literal(name, chr(34))}, " for n, name in enumerate(keep))
    found = (
        f"SELECT {number} AS row, {kept}score FROM rows JOIN scores USING (row) ORDER BY rows.row"
    )
    form = FORMATS[out.suffix]

    def written(path: Path) -> None:
        rows.connection.execute(f"COPY ({found}) TO {literal(str(path))} ({form})")

    with writing(out, "nothing was written"):
        replace(out, written)
