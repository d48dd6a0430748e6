"""Fitting and predicting on one machine."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from app.contracts.clicks import Column, category_text, value_key
from batch.clicks.fit import trees
from batch.clicks.measure import Predictions
from batch.clicks.model import Model
from batch.clicks.one_machine import LocalExamples
from batch.clicks.rows import Scored
from batch.clicks.terms import Fit, Split
from batch.errors import BadSettings, NotGoodEnough
from batch.progress import Silent
from tests.batch.clicks.rows import COLUMNS, examples, seeing

FIT = Fit(trees=30, leaves=7, learning_rate=0.1, threads=1)


@pytest.fixture(scope="module")
def some() -> LocalExamples:
    found = examples(4_000)
    found.split(Split(0.2, 0.2))
    return found


@pytest.fixture(scope="module")
def model(some: LocalExamples) -> Model:
    return some.fit(("train",), None, replace(FIT, blend=True), Silent())


def auc(scored: Scored) -> float:
    return Predictions.of(scored.clicked, scored.log_odds).auc


def by_hand(model: Model, row: tuple[float | str | None, ...]) -> float:
    """The log-odds of a row as the contract has them, step by step."""
    numbers = [row[at] for at, each in enumerate(model.columns) if each.kind == "number"]
    cells = [np.nan if each is None else float(each) for each in numbers]
    assert model.linear is not None
    line = model.linear.intercept
    for cell, (edges, weights, missing) in zip(cells, model.linear.numbers, strict=True):
        line += missing if np.isnan(cell) else weights[sum(cell >= edge for edge in edges)]
    texts = [row[at] for at, each in enumerate(model.columns) if each.kind == "category"]
    for text, table in zip(texts, model.tables, strict=True):
        at = np.flatnonzero(table.keys == value_key(category_text(text)))
        cells += [table.means[at[0]], table.shares[at[0]]] if len(at) else [model.prior, 0.0]
        line += float(table.weights[at].sum())
    matrix: NDArray[np.float32] = np.array([cells], np.float32)
    return float(trees.log_odds(model.trees, matrix)[0] + line) / 2


def test_it_learns_what_can_be_known(some: LocalExamples, model: Model) -> None:
    found = some.predict(model, "test")
    assert auc(found) > 0.77
    assert abs(expit(found.log_odds).mean() / found.clicked.mean() - 1) < 0.1


def test_it_says_of_a_row_what_the_contract_says(some: LocalExamples, model: Model) -> None:
    sql = "SELECT n0, c0, n1, c1 FROM rows WHERE part = 'test' ORDER BY row LIMIT 200"
    rows = some.connection.execute(sql).fetchall()
    assert any(row[2] is None for row in rows)
    found = some.predict(model, "test").log_odds[: len(rows)]
    assert found == pytest.approx([by_hand(model, row) for row in rows], abs=1e-6)


def test_the_same_rows_and_seed_make_the_same_model(some: LocalExamples, model: Model) -> None:
    again = some.fit(("train",), None, replace(FIT, blend=True), Silent())
    assert again.sections() == model.sections()
    other = some.fit(("train",), None, replace(FIT, seed=7), Silent())
    assert other.trees != model.trees


def test_keys_of_tables_rise(model: Model) -> None:
    for table in model.tables:
        assert (np.diff(table.keys.astype(object)) > 0).all()
    assert len(model.tables[1].keys) == 12


def test_trees_stop_where_the_held_out_part_is_not_predicted_better(some: LocalExamples) -> None:
    hasty = replace(FIT, trees=300, learning_rate=0.5, stop_after=5)
    assert some.fit(("train",), "validation", hasty, Silent()).tree_count < 100
    assert some.fit(("train",), None, replace(FIT, trees=12), Silent()).tree_count == 12


def test_a_column_that_is_not_there_is_missing_in_every_row(model: Model) -> None:
    lacking = examples(500, seed=3)
    lacking = seeing(lacking, tuple(Column(f"no {c.name}", c.kind) for c in COLUMNS))
    lacking.split(Split(0.2, 0.2))
    assert np.ptp(lacking.predict(model, "test").log_odds) == 0
    swapped = seeing(lacking, (COLUMNS[2], COLUMNS[3], COLUMNS[0], COLUMNS[1]))
    row = swapped.connection.execute(
        "SELECT n1, c1, n0, c0 FROM rows WHERE part = 'test' ORDER BY row LIMIT 1"
    ).fetchall()[0]
    expected = by_hand(model, row)
    assert swapped.predict(model, "test").log_odds[0] == pytest.approx(expected, abs=1e-6)


def test_slices_are_texts_of_the_rows(some: LocalExamples, model: Model) -> None:
    found = some.predict(model, "test", ["brand"])
    assert set(found.slices["brand"]) == {f"b{number}" for number in range(12)}
    assert len(found.slices["brand"]) == len(found.clicked)
    with pytest.raises(BadSettings, match="no column is called 'sort'"):
        some.predict(model, "test", ["sort"])


def test_parts_are_drawn_by_the_seed() -> None:
    some = examples(4_000)
    sizes = some.split(Split(0.1, 0.2, seed=5))
    first = some.connection.execute("SELECT part FROM rows ORDER BY row").fetchall()
    assert sum(sizes.values()) == 4_000
    assert abs(sizes["validation"] - 400) < 80 and abs(sizes["test"] - 800) < 120
    some.split(Split(0.1, 0.2, seed=6))
    assert some.connection.execute("SELECT part FROM rows ORDER BY row").fetchall() != first


def test_with_a_time_the_newest_rows_are_judged_on() -> None:
    timed = examples(1_000, has_time=True)
    assert timed.split(Split(0.1, 0.2)) == {"train": 700, "validation": 100, "test": 200}
    found = timed.connection.execute("SELECT part FROM rows ORDER BY moment").fetchall()
    assert [part for (part,) in found[::100]] == [*["train"] * 7, "validation", "test", "test"]
    model = timed.fit(("train",), "validation", FIT, Silent())
    scored = timed.predict(model, "test")
    assert auc(scored) > 0.7
    assert scored.moments is not None and scored.moments.tolist() == [
        row * 1_000_000 for row in range(800, 1_000)
    ]


@pytest.mark.parametrize(
    ("days", "split", "expected"),
    [
        (9, Split(), [7, 1, 1]),
        (5, Split(test=0.15), [3, 1, 1]),
        (3, Split(), [1, 1, 1]),
        (10, Split(0.1, 0.25), [7, 1, 2]),
    ],
)
def test_days_are_parted_between_them(days: int, split: Split, expected: list[int]) -> None:
    daily = examples(90 * days, has_time=True)
    daily.connection.execute("UPDATE rows SET moment = (row // 90) * 86400000000")
    assert list(daily.split(split).values()) == [90 * each for each in expected]
    later = daily.connection.execute("SELECT max(moment), part FROM rows GROUP BY part ORDER BY 1")
    assert [part for _, part in later.fetchall()] == ["train", "validation", "test"]


def test_a_part_without_clicks_is_refused() -> None:
    one_sided = examples(300, has_time=True)
    one_sided.connection.execute("UPDATE rows SET label = 0 WHERE row > 250")
    with pytest.raises(BadSettings, match=r"test on \(--test-share\) has 30 of 300 rows"):
        one_sided.split(Split(0.1, 0.1))


def test_columns_that_say_nothing_are_told() -> None:
    empty = seeing(examples(1_000), (COLUMNS[0], COLUMNS[2]))
    empty.split(Split(0.2, 0.2))
    empty.connection.execute("UPDATE rows SET n0 = 1, n1 = NULL")
    with pytest.raises(NotGoodEnough, match="found no column that tells clicks"):
        empty.fit(("train",), None, FIT, Silent())


def test_a_fingerprint_is_of_rows_in_any_order() -> None:
    one, other = examples(200), examples(200)
    other.connection.execute("CREATE OR REPLACE TABLE rows AS FROM rows ORDER BY n0")
    assert one.fingerprint() == other.fingerprint()
    other.connection.execute("UPDATE rows SET c1 = 'x' WHERE row = 3")
    assert one.fingerprint() != other.fingerprint()
