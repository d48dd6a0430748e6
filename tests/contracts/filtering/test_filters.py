"""What a filter may say, and what its errors tell."""

import math
from typing import Any

import pytest

from app.contracts.filtering.columns import Type
from app.contracts.filtering.filters import (
    MAX_CLAUSE_VALUES,
    MAX_CLAUSES,
    BadFilter,
    Clause,
    parse,
)

COLUMNS: dict[str, Type] = {
    "category": "category",
    "price": "number",
    "in_stock": "flag",
    "released": "date",
}
HORROR = Clause("category", ("horror",), is_negated=True)


@pytest.mark.parametrize(
    "text, json, clause",
    [
        ("category:film,series", {"category": ["film", "series"]}, ("film", "series")),
        ("category:film", {"category": "film"}, ("film",)),
        ("category:a:b", {"category": "a:b"}, ("a:b",)),
        ("price:10..50", {"price": "10..50"}, ("10..50",)),
        ("price:7", {"price": 7}, ("7",)),
        ("in_stock:true", {"in_stock": True}, ("true",)),
    ],
)
def test_a_clause_is_the_same_as_text_and_as_json(
    text: str, json: dict[str, Any], clause: tuple[str, ...]
) -> None:
    column = text.partition(":")[0]
    assert parse(text, {}) == parse([json], {}) == (Clause(column, clause),)
    assert parse("-" + text, {}) == (Clause(column, clause, is_negated=True),)
    assert parse({"-" + column: list(clause)}, {}) == (Clause(column, clause, is_negated=True),)


def test_json_takes_values_that_hold_commas() -> None:
    assert parse({"category": ["a,b"]}, {}) == (Clause("category", ("a,b",)),)


def test_a_name_stands_for_the_clauses_of_the_rules() -> None:
    assert parse(["kids", "price:..5"], {"kids": [HORROR]}) == (
        HORROR,
        Clause("price", ("..5",)),
    )
    with pytest.raises(BadFilter, match="there are: kids"):
        parse("adults", {"kids": [HORROR]})


@pytest.mark.parametrize(
    "clause, bounds",
    [
        ("price:10..50", (10, 50)),
        ("price:10..", (10, math.inf)),
        ("price:..-1.5", (-math.inf, -1.5)),
        ("price:3", (3, 3)),
        ("released:1970-01-02..", (86_400, math.inf)),
        ("released:1970-01-01T01:00:00+01:00..1970-01-01T00:00:01Z", (0, 1)),
    ],
)
def test_a_range_has_both_ends_or_one(clause: str, bounds: tuple[float, float]) -> None:
    read = Clause.parse(clause)
    read.check(COLUMNS)
    assert read.bounds(COLUMNS[read.column]) == [bounds]


@pytest.mark.parametrize(
    "clause, message",
    [
        ("colour:red", r"no column 'colour'.*category \(category\), price \(number\)"),
        ("price:cheap", "price takes a value or a range such as 10..50"),
        ("price:nan", "price takes a value or a range"),
        ("price:inf..", "price takes a value or a range"),
        ("price:..", "from low to high"),
        ("price:5..1", "from low to high"),
        ("price:1..2..3", "price takes a value or a range"),
        ("in_stock:yes", "true or false"),
        ("released:yesterday", "such as 2026-01-01.."),
    ],
)
def test_a_column_says_what_it_takes(clause: str, message: str) -> None:
    with pytest.raises(BadFilter, match=message):
        Clause.parse(clause).check(COLUMNS)


def test_where_nothing_can_be_filtered_it_says_how_to_begin() -> None:
    with pytest.raises(BadFilter, match="none, see larder refresh --filter-columns"):
        Clause.parse("price:1").check({})


@pytest.mark.parametrize(
    "asked",
    [
        *("category", ":film", "-:film", "category:", "category:a,,b", "", 7, None, [[]]),
        *({"category": None}, {"category": [{}]}, {"category": []}, {"": "a"}, {"-": "a"}),
        "category:" + ",".join("a" * (MAX_CLAUSE_VALUES + 1)),
        ["category:a"] * (MAX_CLAUSES + 1),
    ],
)
def test_what_is_no_filter_is_refused(asked: Any) -> None:
    with pytest.raises(BadFilter):
        parse(asked, {})
