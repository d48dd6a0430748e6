"""What trees see of a category holds nothing of the row's own label."""

from collections import Counter

import numpy as np
import pytest

from app.contracts.clicks import value_key
from batch.clicks.fit import division
from batch.clicks.fit.encode import Folds, hashed_sql
from batch.clicks.fit.matrix import Encoded, Encoder
from batch.clicks.measure import Predictions
from batch.clicks.one_machine import LocalExamples
from batch.clicks.terms import Fit, Split
from tests.batch.clicks.rows import COLUMNS, examples

FIT = Fit(smoothing=4.0, min_count=5, folds=5)
NOISE, BRAND = 2, 4
"""Where in the matrix their means are; the shares are behind them."""


def encoded(some: LocalExamples) -> tuple[Folds, Encoder, Encoded]:
    """Rows to train on."""
    folds = division.folds(query(some), FIT, ["train"], some.has_time)
    encoder = Encoder(some.connection, COLUMNS, COLUMNS, folds.prior)
    encoder.learn(folds, FIT, "part IN ('train')")
    return folds, encoder, encoder.encode(f"part IN ('train') AND {folds.trains}", folds, True)


def query(some: LocalExamples) -> division.Query:
    return lambda sql: some.connection.execute(sql).fetchall()


def by_hand(rows: list[tuple[str, int, int]], has_time: bool) -> list[tuple[float, float]]:
    """Mean and share of each row's value, in those rows alone that it may see."""
    prior = sum(label for _, label, _ in rows) / len(rows)
    count = Counter(value for value, _, _ in rows)
    found = []
    for value, _, fold in rows:
        seen = [row for row in rows if (row[2] < fold if has_time else row[2] != fold)]
        labels = [label for other, label, _ in seen if other == value]
        if count[value] < FIT.min_count:
            found.append((prior, 0.0))
            continue
        mean = (sum(labels) + FIT.smoothing * prior) / (len(labels) + FIT.smoothing)
        found.append((mean, len(labels) / max(len(seen), 1)))
    return found


@pytest.mark.parametrize("has_time", [False, True])
def test_a_row_sees_other_folds_and_with_a_time_earlier_ones(has_time: bool) -> None:
    some = examples(700, has_time=has_time)
    some.split(Split(0.1, 0.1))
    folds, _, found = encoded(some)
    rows = some.connection.execute(
        f"SELECT c0, label, {folds.sql} FROM rows WHERE part = 'train' ORDER BY row"
    ).fetchall()
    assert {fold for _, _, fold in rows} == set(range(10 if has_time else 5))
    assert any(rows[0][0] == other[0] for other in rows[1:])
    expected = by_hand(rows, has_time)
    if has_time:  # the first block trains nothing
        expected = [each for each, (_, _, fold) in zip(expected, rows) if fold > 0]
        assert len(found.clicked) == len(rows) - 56
    assert found.matrix[:, NOISE : NOISE + 2] == pytest.approx(np.array(expected), rel=1e-6)
    assert 0 in {share for _, share in expected} and len(set(expected)) > 20


def test_a_category_of_noise_does_not_carry_the_label() -> None:
    """The trap: the mean over all rows, the row's own among them, tells its label."""
    some = examples(4_000)
    some.split(Split(0.1, 0.1))
    _, encoder, fair = encoded(some)
    naive = encoder.encode("part IN ('train')", None, coded=False)
    assert auc(naive, NOISE) > 0.7
    assert abs(auc(fair, NOISE) - 0.5) < 0.05
    assert auc(fair, BRAND) > 0.6


def test_codes_are_places_in_the_tables() -> None:
    some = examples(700)
    some.split(Split(0.1, 0.1))
    folds, encoder, found = encoded(some)
    tables = encoder.learn(folds, FIT, "part IN ('train')")
    texts = some.connection.execute("SELECT c0 FROM rows WHERE part = 'train' ORDER BY row")
    assert found.codes is not None
    for (text,), code in zip(texts.fetchall(), found.codes[:, 0], strict=True):
        known = value_key(text) in tables[0].keys
        assert known == (code > 0)
        assert not known or tables[0].keys[code - 1] == value_key(text)


def test_rows_are_spread_evenly_whatever_the_seed() -> None:
    some = examples(10_000)
    for seed in (0, 42, 2**31, 2**63):
        found = query(some)(f"SELECT {hashed_sql(seed, 10)}, count(*) FROM rows GROUP BY 1")
        assert len(found) == 10 and all(850 < size < 1_150 for _, size in found)
    again = query(some)(f"SELECT {hashed_sql(1, 10)} = {hashed_sql(2, 10)} FROM rows")
    assert 800 < sum(same for (same,) in again) < 1_200


def auc(rows: Encoded, column: int) -> float:
    return Predictions.of(rows.clicked, rows.matrix[:, column].astype(np.float64)).auc
