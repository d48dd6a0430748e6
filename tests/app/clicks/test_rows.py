"""What callers say, as the numbers that a model sees."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from app.clicks.rows import Encoder, Rows, UnknownColumns, WrongType
from app.clicks.scorer import Scorer
from app.contracts.clicks import Calibration, Linear, decode_tables
from batch.clicks.model import Model
from tests.clicks import COLUMNS, MEANS, PRIOR, SHARES, log_odds, manifest_of, model

KNOWN = {"price": 9.5, "brand": "bolt", "device": "phone"}


def scorer(made: Model) -> Scorer:
    return Scorer(manifest_of(made), b"".join(made.sections().values()))


@pytest.fixture
def encoder() -> Encoder:
    made = model()
    return Encoder(COLUMNS, PRIOR, decode_tables(made.sections()["tables"], 2), None)


def row(encoder: Encoder, features: dict[str, Any]) -> list[float]:
    return encoder.rows(features, 1).values.tolist()


def test_a_row_has_numbers_then_the_mean_and_share_of_each_category(encoder: Encoder) -> None:
    bolt, phone = MEANS["brand"]["bolt"], MEANS["device"]["phone"]
    wanted = [9.5, bolt, SHARES["bolt"], phone, SHARES["phone"]]
    assert_allclose(row(encoder, KNOWN), wanted, rtol=1e-6)


@pytest.mark.parametrize("missing", [{}, {"price": None, "brand": None, "device": None}])
def test_missing_is_missing_and_unknown_is_the_prior(
    encoder: Encoder, missing: dict[str, Any]
) -> None:
    """Of brands the table has no "", of devices it has one."""
    price, *others = row(encoder, missing)
    assert math.isnan(price)
    assert_allclose(others, [PRIOR, 0, MEANS["device"][""], SHARES[""]], rtol=1e-6)
    rows = encoder.rows({"brand": "new", "device": 3}, 2)
    assert rows.unknown == 2
    assert_allclose(rows.values.tolist()[6:], [PRIOR, 0, PRIOR, 0], rtol=1e-6)
    assert encoder.rows(missing, 1).unknown == 0


def test_what_is_known_of_an_item_takes_the_place_of_what_is_known_of_the_user(
    encoder: Encoder,
) -> None:
    rows = encoder.rows(KNOWN, 2)
    encoder.fill(rows, 1, {"price": 3, "brand": None})
    first, second = np.array(rows.values).reshape(2, 5)
    assert_allclose(first, row(encoder, KNOWN))
    assert_allclose(second, row(encoder, {"price": 3, "device": "phone"}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"price": "9,5"},
        {"price": "nan"},
        {"price": True},
        {"price": 1e300},
        {"price": math.nan},
        {"price": -math.inf},
        {"price": 10**400},
        {"price": []},
        {"brand": ["acme"]},
        {"brand": {}},
        {"brand": math.nan},
    ],
)
def test_a_value_of_another_kind_is_named_with_its_column(
    encoder: Encoder, wrong: dict[str, Any]
) -> None:
    (name,) = wrong
    with pytest.raises(WrongType, match=repr(name)):
        encoder.rows(wrong, 1)
    assert encoder.usable({**KNOWN, **wrong}) == {
        each: KNOWN[each] for each in KNOWN.keys() - wrong
    }


def test_columns_that_are_not_there_are_listed(encoder: Encoder) -> None:
    with pytest.raises(UnknownColumns, match="^'colour', 'size'$"):
        encoder.rows({"size": 1, "price": 2, "colour": "red"}, 1)
    with pytest.raises(UnknownColumns, match="^'q00', .*'q09', 90 more$"):
        encoder.rows({f"q{number:02}": 1 for number in range(100)}, 1)
    assert encoder.usable({"size": 1, "price": 2}) == {"price": 2}


def test_made_up_values_take_no_memory(encoder: Encoder) -> None:
    known = row(encoder, KNOWN)
    remembered = encoder._columns["brand"]._remembered  # type: ignore[union-attr]
    rows = Rows(encoder._empty.values, encoder._empty.weights)
    for number in range(20):
        encoder.fill(rows, 0, {"brand": f"made-up-{number}"})
    encoder.fill(rows, 0, {"brand": "x" * 1000})
    assert rows.unknown == 21
    assert remembered.keys() == {"", "bolt"}
    assert row(encoder, KNOWN) == known


@pytest.mark.parametrize("price", [9.5, 10, 10.5, None])
@pytest.mark.parametrize("brand", ["acme", "bolt", "new"])
def test_scores_are_those_of_the_trees(price: float | None, brand: str) -> None:
    made = scorer(model())
    found = made.scores(made.encoder.rows({"price": price, "brand": brand}, 1))
    assert_allclose(found.log_odds, log_odds(price, brand))
    assert_allclose(found.scores, 1 / (1 + math.exp(-log_odds(price, brand))))


def linear() -> Model:
    """Such that a bolt weighs 3, and prices by their bin."""
    made = model()
    brands, devices = made.tables
    weights = np.where(brands.means > 0.3, 3, 0).astype(np.float32)
    member = Linear(0.5, (((5.0, 10.0), (1.0, 2.0, 4.0), -1.0),))
    return replace(made, linear=member, tables=[replace(brands, weights=weights), devices])


@pytest.mark.parametrize(
    ("price", "weight"), [(4.9, 1.0), (5, 2.0), (9.9, 2.0), (10, 4.0), (None, -1.0)]
)
def test_two_members_speak_with_one_voice(price: float | None, weight: float) -> None:
    made = scorer(linear())
    rows = made.encoder.rows({"price": price, "brand": "bolt"}, 3)
    made.encoder.fill(rows, 1, {"brand": "acme"})
    both = [
        (log_odds(price, brand) + 0.5 + weight + (3 if brand == "bolt" else 0)) / 2
        for brand in ("bolt", "acme", "bolt")
    ]
    assert_allclose(made.scores(rows).log_odds, both)


@pytest.mark.parametrize("made", [model(), linear()])
def test_an_item_that_was_encoded_before_is_as_one_that_was_not(made: Model) -> None:
    encoder = scorer(made).encoder
    rows = encoder.rows({"price": 1, "device": "desk"}, 2)
    known = {"price": 20, "brand": "bolt", "title": "A bolt", "device": ["wrong"]}
    encoder.set(rows, 0, encoder.encoded(known))
    encoder.fill(rows, 1, {"price": 20, "brand": "bolt"})
    for buffer in (rows.values, rows.weights):
        first, second = np.array(buffer).reshape(2, -1)
        assert first.tolist() == second.tolist()
    encoder.set(rows, 0, encoder.encoded({"brand": "new"}))
    assert rows.unknown == 1


@pytest.mark.parametrize("text", ["9.5", "95e-1"])
def test_a_text_that_says_a_number_is_one_in_a_document(encoder: Encoder, text: str) -> None:
    rows = encoder.rows({}, 1)
    encoder.set(rows, 0, encoder.encoded({"price": text}))
    assert rows.values[0] == 9.5
    with pytest.raises(WrongType, match="'price' must be a number"):
        encoder.rows({"price": text}, 1)


@pytest.mark.parametrize("made", [model(), linear()])
@pytest.mark.parametrize(
    ("calibration", "kept"),
    [
        (Calibration(), 1.0),
        (Calibration(2.0, -1.0), 0.25),
        (Calibration(knots=((-2.0, -1.5), (0.0, 0.5), (2.0, 0.75))), 1.0),
    ],
)
def test_an_explanation_adds_up_to_the_score(
    made: Model, calibration: Calibration, kept: float
) -> None:
    found = scorer(replace(made, calibration=calibration, negatives_kept=kept))
    rows = found.encoder.rows(KNOWN, 2)
    found.encoder.fill(rows, 1, {"price": 50, "brand": "acme"})
    scores = found.scores(rows)
    for row, told in zip([1, 0], found.explain(rows, scores, [1, 0]), strict=True):
        assert list(told.columns) == ["price", "brand", "device"]
        total = told.base + sum(told.columns.values()) + told.calibration
        assert_allclose(total, scores.log_odds[row], atol=1e-6)
        (hidden,) = found.explain(rows, scores, [row], {"price", "device"})
        assert list(hidden.columns) == ["brand"] and told.user == 0
        assert_allclose(hidden.user, told.columns["price"] + told.columns["device"])
    assert told.columns["brand"] > 0 > found.explain(rows, scores, [1])[0].columns["brand"]


def test_calibration_is_a_line_or_knots_then_the_negatives_that_were_left_out() -> None:
    plain = log_odds(9.5, "bolt", "phone")
    for calibration, wanted in [
        (Calibration(2.0, -1.0), 2 * plain - 1),
        (Calibration(knots=((0.0, 1.0), (plain * 2, 3.0))), 2.0),
        (Calibration(knots=((0.0, 1.0), (plain / 2, 3.0))), 3.0),
    ]:
        made = scorer(model(calibration, negatives_kept=0.5))
        found = made.scores(made.encoder.rows(KNOWN, 1)).log_odds
        assert_allclose(found, wanted + math.log(0.5))
