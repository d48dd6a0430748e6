"""What a filter lets through is what reading its sentence lets through, item by item."""

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from app.contracts.filtering.columns import AVAILABLE_FROM, AVAILABLE_UNTIL, Column, Type
from app.contracts.filtering.filters import BadFilter, Clause
from app.contracts.generations import BrokenRecord
from app.recommendations.memory.columns import Columns
from batch.interactions.filters import FilterColumn, Packed

ITEMS = [f"i{number}" for number in range(300)]
NOON = int(datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp())


def columns_of(*given: FilterColumn) -> Columns:
    packed = Packed.of(given, ITEMS)
    return Columns(packed.columns, len(ITEMS), packed.data)


def some(draw: Any) -> dict[str, Any]:
    """A value for most of the items."""
    return {item: draw() for item in ITEMS if CHANCE.random() < 0.8}


CHANCE = random.Random(7)
GENRES = ["film", "series", "été", 'a"b', "x,y"]
VALUES: dict[str, tuple[Type, dict[str, Any]]] = {
    "price": ("number", some(lambda: CHANCE.choice([0.1, 5.0, 19.99, -3.0, 50.0]))),
    "in_stock": ("flag", some(lambda: CHANCE.random() < 0.5)),
    "day": ("date", some(lambda: NOON + CHANCE.randrange(-3, 4) * 86_400)),
    "genre": ("category", some(lambda: CHANCE.sample(GENRES, CHANCE.randrange(1, 4)))),
    "brand": ("category", {item: [CHANCE.choice("ABCDEFGHIJKL")] for item in ITEMS}),
    "empty": ("category", {}),
}
COLUMNS = columns_of(*(FilterColumn(name, *each) for name, each in VALUES.items()))


def holds(clause: Clause, value: Any) -> bool:
    """Whether one item is let through, as a person would say."""
    kind = VALUES[clause.column][0]
    if value is None:
        return clause.is_negated
    if kind == "category":
        found = bool({*value} & {*clause.values})
    elif kind == "flag":
        found = str(value).lower() in clause.values
    else:
        found = any(low <= value <= high for low, high in clause.bounds(kind))
    return found != clause.is_negated


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize(
    "text",
    [
        "price:0.1",
        "price:5..50",
        "price:..5,50..",
        "price:1e300..",
        "in_stock:true",
        "in_stock:false",
        "in_stock:true,false",
        "day:2026-05-01T12:00:00Z",
        "day:2026-05-01T14:00:00+02:00..2026-05-03",
        "day:..2026-05-01",
        "genre:film",
        "genre:film,été,nothing",
        'genre:a"b',
        "brand:A,C",
        "brand:A,B,C,D,E,F,G,H,I,J",
        "brand:nothing",
        "empty:film",
    ],
)
def test_a_clause_lets_through_what_it_says(sign: str, text: str) -> None:
    clause = Clause.parse(sign + text)
    wanted = [holds(clause, VALUES[clause.column][1].get(item)) for item in ITEMS]
    assert COLUMNS.mask(clause).tolist() == wanted
    picked = np.array([299, 0, 17, 17])
    assert COLUMNS.mask(clause, picked).tolist() == [wanted[item] for item in picked]
    assert COLUMNS.mask(clause, picked[:0]).tolist() == []


def test_types_and_values_are_told() -> None:
    assert COLUMNS.types() == {name: kind for name, (kind, _) in VALUES.items()}
    genres = VALUES["genre"][1]
    found = COLUMNS.values("genre", range(300))
    assert [{*each} for each in found] == [{*genres.get(item, ())} for item in ITEMS]
    with pytest.raises(KeyError):
        COLUMNS.values("price", range(3))


@pytest.mark.parametrize("text", ["colour:red", "price:cheap", "in_stock:maybe", "day:soon"])
def test_a_clause_that_will_not_do_says_so(text: str) -> None:
    with pytest.raises(BadFilter, match=text.partition(":")[0]):
        COLUMNS.mask(Clause.parse(text))


@pytest.mark.parametrize("names", [(AVAILABLE_FROM,), (AVAILABLE_UNTIL,), (AVAILABLE_FROM,) * 2])
def test_an_item_is_shown_from_its_date_on_and_not_from_the_other_on(names: tuple[str]) -> None:
    dates: Mapping[str, dict[str, int]] = {
        AVAILABLE_FROM: {"i1": NOON, "i2": NOON - 5},
        AVAILABLE_UNTIL: {"i2": NOON, "i3": NOON + 5, "i4": NOON - 5},
    }
    chosen = {AVAILABLE_FROM, AVAILABLE_UNTIL} if len(names) > 1 else set(names)
    columns = columns_of(*(FilterColumn(name, "date", dates[name]) for name in sorted(chosen)))
    seen: dict[int, list[bool]] = {}
    for now in [NOON - 6, NOON - 5, NOON - 0.001, NOON, NOON + 4.9, NOON + 5, NOON + 9, NOON - 6]:
        wanted = [
            all(
                (now >= when) == (name == AVAILABLE_FROM)
                for name in chosen
                if (when := dates[name].get(item)) is not None
            )
            for item in ITEMS
        ]
        mask = columns.available(now)
        assert (mask is None and all(wanted)) or (mask is not None and mask.tolist() == wanted)
        assert seen.setdefault(columns.epoch(now), wanted) == wanted
        assert columns.available(now) is mask


def test_without_dates_all_items_may_always_be_shown() -> None:
    assert COLUMNS.available(NOON) is None
    assert COLUMNS.epoch(NOON) == COLUMNS.epoch(math.inf)
    assert columns_of(FilterColumn(AVAILABLE_FROM, "category", {"i1": "x"})).available(0) is None


@pytest.mark.parametrize("name", ["price", "in_stock", "day", "genre"])
def test_bytes_that_are_no_such_column_are_refused(name: str) -> None:
    data = FilterColumn(name, *VALUES[name]).packed(ITEMS)
    column = Column(name, VALUES[name][0], len(data))
    with pytest.raises(BrokenRecord, match=f"column '{name}' cannot be read"):
        Columns([column], len(ITEMS), data[:-16])
    Columns([column], len(ITEMS), data)


@pytest.mark.parametrize("at", [0, 5, 40, 48, -8])
def test_a_damaged_category_is_refused(at: int) -> None:
    data = bytearray(FilterColumn("brand", *VALUES["brand"]).packed(ITEMS))
    data[at] ^= 0xFF
    with pytest.raises(BrokenRecord):
        Columns([Column("brand", "category", len(data))], len(ITEMS), bytes(data))
