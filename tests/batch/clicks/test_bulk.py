"""Scores of a whole table in a file."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy.special import expit

from app.contracts.clicks import Calibration, Column
from batch.clicks import bulk
from batch.clicks.examples.layout import Reading
from batch.clicks.examples.read import read_for
from batch.clicks.fit.matrix import Encoder
from batch.clicks.model import Model
from batch.clicks.one_machine import LocalExamples
from batch.clicks.terms import Fit, Split
from batch.errors import BadInteractions, BadSettings, Terminal
from batch.progress import Silent
from tests.batch.clicks.rows import examples

KEEP = ("who", 'a "name"')


@pytest.fixture(scope="module")
def some() -> LocalExamples:
    found = examples(2_500)
    found.split(Split(0.2, 0.2))
    return found


@pytest.fixture(scope="module")
def model(some: LocalExamples) -> Model:
    fitted = some.fit(("train",), None, Fit(trees=10, blend=True, threads=1), Silent())
    return replace(fitted, calibration=Calibration(0.9, 0.1), negatives_kept=0.5)


@pytest.fixture(scope="module")
def table(some: LocalExamples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of the part to test on, with columns of which the model knows nothing."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    some.connection.execute(
        "COPY (SELECT concat('u', row) AS who, n0 AS age, c0 AS noise, n1 AS price, c1 AS brand, "
        f'row % 7 AS "a ""name""" FROM rows WHERE part = \'test\' ORDER BY row) TO \'{path}\''
    )
    return path


def scored(model: Model, table: Path, out: Path) -> list[tuple[int, str, str, float]]:
    with read_for([table], Reading(), model.columns, keep=KEEP) as rows:
        bulk.score(rows.connection, rows.columns, model, lambda done: None)
        bulk.write(rows, out, KEEP)
    return duckdb.connect().execute(f"FROM '{out}'").fetchall()


def test_scores_are_those_of_the_rows_one_by_one(
    some: LocalExamples,
    model: Model,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 100)
    found = scored(model, table, tmp_path / "scores.parquet")
    log_odds = some.predict(model, "test").log_odds
    expected = expit(0.9 * log_odds + 0.1 + np.log(0.5))
    assert [score for *_, score in found] == pytest.approx(expected, abs=1e-6)
    assert [row for row, *_ in found] == list(range(len(log_odds)))
    rows = some.connection.execute("SELECT row FROM rows WHERE part = 'test' ORDER BY row")
    assert [(who, name) for _, who, name, _ in found] == [
        (f"u{row}", str(row % 7)) for (row,) in rows.fetchall()
    ]


def test_rows_with_nothing_to_check_are_scored(model: Model, table: Path, tmp_path: Path) -> None:
    """Of Parquet a text and a whole number are never wrong."""
    whole = tmp_path / "rows.parquet"
    cells = "* REPLACE (age::BIGINT AS age, price::BIGINT AS price)"
    duckdb.execute(f"COPY (SELECT {cells} FROM '{table}') TO '{whole}'")
    duckdb.execute(f"COPY (FROM '{whole}') TO '{tmp_path / 'rows.csv'}'")
    found = scored(model, whole, tmp_path / "scores.parquet")
    texts = scored(model, tmp_path / "rows.csv", tmp_path / "scores.csv")
    assert [row[-1] for row in found] == pytest.approx([row[-1] for row in texts])


def test_rows_far_from_the_first_take_no_more_memory() -> None:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(
        "CREATE TABLE rows AS SELECT 400_000_000 + 3 * i AS row, i % 2 AS label, "
        "i::FLOAT AS n0, concat('b', i) AS c0 FROM range(5) AS r(i)"
    )
    connection.execute(
        "CREATE TABLE values_0 AS SELECT 'b1' AS value, .7 AS mean, .2 AS share, 1 AS code"
    )
    columns = Column("age", "number"), Column("brand", "category")
    tracemalloc.start()
    try:
        encoder = Encoder(connection, columns, columns, 0.5)
        found = encoder.encode("row > 400_000_000", None, coded=False)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert found.matrix[:, 0].tolist() == [1, 2, 3, 4]
    assert found.matrix[:, 1].tolist() == pytest.approx([0.7, 0.5, 0.5, 0.5])


def test_a_file_is_whole_or_not_there(model: Model, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    scored(model, table, out)
    assert out.read_text().splitlines()[0] == 'row,who,"a ""name""",score'
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]
    out.unlink()
    (tmp_path / "scores.csv").mkdir()
    with pytest.raises(Terminal, match="cannot be written"):
        scored(model, table, out)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_what_cannot_be_written_is_refused_before_anything_is_read() -> None:
    with pytest.raises(BadSettings, match="expected a file that ends with .parquet, .csv, .tsv"):
        bulk.check(Path("scores.txt"), ())
    with pytest.raises(BadSettings, match="must name each once"):
        bulk.check(Path("scores.csv"), ("Score",))


@pytest.mark.parametrize("bad", ["7,7,7,7,7", "old,y,1,z"])
def test_no_score_is_said_to_be_of_another_row(model: Model, tmp_path: Path, bad: str) -> None:
    """Of a text with rejects nobody knows which row is which; of Parquet all do."""
    texts = replace(Reading().texts, max_rejects=0.5)
    path, out = tmp_path / "rows.csv", tmp_path / "scores.parquet"
    path.write_text(f"age,noise,price,who\n1,a,1,ann\n{bad}\n3,c,3,cid\n")
    reading = Reading(texts)
    with pytest.raises(BadInteractions, match="say which row .*--keep-columns"):
        with read_for([path], reading, model.columns):
            pass
    assert joined(model, path, reading, out) == [(None, "ann"), (None, "cid")]
    duckdb.execute(
        "COPY (SELECT unnest([1, 'inf'::FLOAT, 3]) AS age, unnest(['ann', 'bob', 'cid']) AS who) "
        f"TO '{tmp_path}/rows.parquet'"
    )
    whole = joined(model, tmp_path / "rows.parquet", reading, out)
    assert whole == [(0, "ann"), (2, "cid")]


def joined(model: Model, table: Path, reading: Reading, out: Path) -> list[tuple[int | None, str]]:
    with read_for([table], reading, model.columns, keep=("who",)) as rows:
        bulk.score(rows.connection, rows.columns, model, lambda done: None)
        bulk.write(rows, out, ("who",))
    return duckdb.connect().execute(f"SELECT row, who FROM '{out}'").fetchall()


def test_a_column_to_keep_must_be_there(model: Model, table: Path) -> None:
    with pytest.raises(BadSettings, match="has no column 'whom' to keep"):
        with read_for([table], Reading(), model.columns, keep=("whom",)):
            pass
