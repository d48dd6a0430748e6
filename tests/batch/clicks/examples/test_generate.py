"""Generated examples: the same for a seed, of known truth, of the shape of Criteo's."""

from pathlib import Path

import duckdb
import pytest

from batch.clicks.examples.generate import ITEM_COLUMNS, SIZES, USER_COLUMNS, generate
from batch.clicks.examples.layout import CATEGORIES, NUMBERS, PRESETS, Reading
from batch.clicks.examples.read import read
from batch.errors import BadInteractions
from batch.interactions.reading import Reading as Texts

ROWS = 20_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "rows.parquet"
    truth = generate(path, ROWS, 1, "parquet", has_time=False)
    assert truth.rows == ROWS
    assert 0.25 < truth.clicks / ROWS < 0.275
    assert 0.795 < truth.auc < 0.815
    assert 0.44 < truth.log_loss < 0.46
    return path


def test_the_rows_of_a_seed_are_the_same_however_many(path: Path, tmp_path: Path) -> None:
    few, other = tmp_path / "few.parquet", tmp_path / "other.parquet"
    generate(few, 100, 1, "parquet", has_time=False)
    generate(other, 100, 2, "parquet", has_time=False)
    first = duckdb.execute(f"FROM '{path}' LIMIT 100").fetchall()
    assert duckdb.execute(f"FROM '{few}'").fetchall() == first
    assert duckdb.execute(f"FROM '{other}'").fetchall() != first


def test_it_has_the_columns_of_criteo_with_gaps_and_long_tails(path: Path) -> None:
    with read([path], Reading()) as rows:
        assert [each.name for each in rows.columns] == [*NUMBERS, *CATEGORIES]
        assert [each.kind for each in rows.columns] == ["number"] * 13 + ["category"] * 26
        assert not rows.report.leaks
        seen = {each.name: each for each in rows.seen}
        values = rows.connection.execute(
            "SELECT count(DISTINCT c0), count(DISTINCT c25), max(n12) / median(n12) FROM rows"
        ).fetchall()[0]
    assert 0.74 < seen["i12"].missing < 0.78 and seen["i2"].missing == 0
    assert values[0] == SIZES[0] == 5 and SIZES[-1] == 200_000 and values[1] > 5_000
    assert values[2] > 100


def test_a_column_belongs_to_the_user_or_to_the_item() -> None:
    assert sorted(USER_COLUMNS + ITEM_COLUMNS) == sorted(NUMBERS + CATEGORIES)


def test_all_formats_say_the_same(path: Path, tmp_path: Path) -> None:
    generate(tmp_path / "rows.csv", 500, 1, "csv", has_time=False)
    generate(tmp_path / "rows.txt", 500, 1, "criteo", has_time=False)
    criteo = Reading(Texts("criteo", PRESETS["criteo"]))
    first = "SELECT sum(hash(COLUMNS(* EXCLUDE row))) FROM rows WHERE row < 500"
    sums = []
    for file, reading in (
        (path, Reading()),
        (tmp_path / "rows.csv", Reading()),
        (tmp_path / "rows.txt", criteo),
    ):
        with read([file], reading) as rows:
            sums.append(rows.connection.execute(first).fetchall())
    assert sums[0] == sums[1] == sums[2]


def test_with_time_the_rate_drifts(path: Path, tmp_path: Path) -> None:
    timed = tmp_path / "timed.parquet"
    generate(timed, ROWS, 1, "parquet", has_time=True)
    pairs = f"(FROM '{path}') AS plain POSITIONAL JOIN (FROM '{timed}') AS timed"
    lost, won = duckdb.execute(
        "SELECT count_if(plain.label > timed.label), count_if(plain.label < timed.label) "
        f"FROM {pairs}"
    ).fetchall()[0]
    assert lost == 0 and won > 0.003 * ROWS  # the first days are those of a rise
    with read([timed], Reading(time_column="time")) as rows:
        moments = rows.connection.execute("SELECT moment FROM rows ORDER BY row LIMIT 2").fetchall()
    assert moments[1][0] - moments[0][0] == 10_000_000


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInteractions, match="none/rows.csv"):
        generate(tmp_path / "none" / "rows.csv", 10, 1, "csv", has_time=False)
