"""What an items file says of the columns that requests may filter by."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.contracts.filtering.columns import COLUMN_PART_BYTES, MAX_VALUES, Type
from batch.errors import BadInteractions
from batch.interactions.filters import FilterColumn, Packed
from batch.interactions.items import load_items
from tests.batch.interactions.test_interactions import parquet, rejected, write

Filters = dict[str, Type | None]
NEW_YEAR = 1_767_225_600


def found(path: Path, filters: Filters, **options: Any) -> dict[str, tuple[Type, Any]]:
    columns = load_items(path, filters=filters, **options).columns
    return {each.name: (each.type, each.values) for each in columns}


def test_cells_of_a_text_say_of_which_type_a_column_is(tmp_path: Path) -> None:
    rows = """item,genre,price,sold,day,available_until,nothing,mixed
a,film|series,1.5,true,2026-01-01,,,5
b," film | ",2,no,2026-01-01T10:00:00+02:00,20260101,,true
c,,,,,,,
d,"x,y|film",-3e3,YES,2026-01-01 00:00:00.9,1767225600,,n/a
"""
    file = write(tmp_path / "a.csv", rows)
    names = "genre price sold day available_until nothing mixed".split()
    assert found(file, dict.fromkeys(names)) == {
        "genre": ("category", {"a": ["film", "series"], "b": ["film"], "d": ["film", "x,y"]}),
        "price": ("number", {"a": 1.5, "b": 2.0, "d": -3000.0}),
        "sold": ("flag", {"a": True, "b": False, "d": True}),
        "day": ("date", {"a": NEW_YEAR, "b": NEW_YEAR + 8 * 3600, "d": NEW_YEAR}),
        "available_until": ("date", {"b": NEW_YEAR, "d": NEW_YEAR}),
        "nothing": ("category", {}),
        "mixed": ("category", {"a": ["5"], "b": ["true"], "d": ["n/a"]}),
    }


def test_a_type_that_is_named_is_kept_to_and_a_wrong_cell_rejects_its_row(tmp_path: Path) -> None:
    rows = "item,year,sold,price,day\na,2001,1,7,x\nb,2002,maybe,,\nc,,0,much,\nd,2003,1,,\n"
    file, rejects = write(tmp_path / "a.csv", rows), tmp_path / "rejects.csv"
    filters: Filters = {"year": "category", "sold": "flag", "price": "number", "day": "date"}
    assert found(file, filters, rejects=rejects, max_rejects=1) == {
        "year": ("category", {"d": ["2003"]}),
        "sold": ("flag", {"d": True}),
        "price": ("number", {}),
        "day": ("date", {}),
    }
    assert rejected(rejects) == [
        (2, "not a date: day"),
        (3, "not a flag: sold"),
        (4, "not a number: price"),
    ]
    with pytest.raises(BadInteractions, match="75.00%.*1 x not a date: day.*The first: .*line 2"):
        found(file, filters)


def test_columns_of_parquet_are_of_their_own_types(tmp_path: Path) -> None:
    file = parquet(
        tmp_path / "a.parquet",
        """SELECT * FROM (VALUES
        ('a', ['x', NULL, 'x'], 7, 1.5::FLOAT, true, DATE '2026-01-01',
         TIMESTAMPTZ '2026-01-01 02:00:00+02', '2026-01-01', 1::UTINYINT),
        ('b', [], NULL, 'nan'::FLOAT, NULL, NULL, NULL, NULL, 0),
        ('c', NULL, 9, 'inf'::FLOAT, false, NULL, NULL, '', NULL))
        v(item, tags, stock, price, sold, day, moment, told, flag)""",
    )
    names = "tags stock price sold day moment told".split()
    assert found(file, {**dict.fromkeys(names), "flag": "flag"}) == {
        "tags": ("category", {"a": ["x"]}),
        "stock": ("number", {"a": 7.0, "c": 9.0}),
        "price": ("number", {"a": 1.5}),
        "sold": ("flag", {"a": True, "c": False}),
        "day": ("date", {"a": NEW_YEAR}),
        "moment": ("date", {"a": NEW_YEAR}),
        "told": ("date", {"a": NEW_YEAR}),
        "flag": ("flag", {"a": True, "b": False}),
    }


def test_of_several_rows_of_an_item_the_last_one_counts(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "item,genre,price\na,x,1\nb,y,2\na,,3\n")
    assert found(file, {"genre": None, "price": None}) == {
        "genre": ("category", {"b": ["y"]}),
        "price": ("number", {"a": 3.0, "b": 2.0}),
    }


def test_a_column_that_is_not_there_or_cannot_be_filtered_by_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "item,genre\na,x\n")
    with pytest.raises(BadInteractions, match="a column 'colour'.*: correct --filter-columns"):
        found(file, {"colour": None})
    nested = parquet(tmp_path / "a.parquet", "SELECT 'a' AS item, {'x': 1} AS odd, true AS sold")
    with pytest.raises(BadInteractions, match="'odd' to hold one of"):
        found(nested, {"odd": None})
    with pytest.raises(BadInteractions, match="'sold' to hold one of"):
        found(nested, {"sold": "date"})


def test_the_bytes_are_frozen() -> None:
    columns = [
        FilterColumn("n", "number", {"a": 1.0, "c": -2.5, "elsewhere": 3.0}),
        FilterColumn("f", "flag", {"a": True, "b": False}),
        FilterColumn("d", "date", {"b": 7}),
        FilterColumn("g", "category", {"a": ["é", "b"], "c": ["b"], "elsewhere": ["z"]}),
    ]
    packed = Packed.of(columns, ["a", "b", "c"])
    assert [each.entry() for each in packed.columns] == [
        ["n", "number", 16],
        ["f", "flag", 8],
        ["d", "date", 24],
        ["g", "category", 40],
    ]
    nothing = b"\0" * 7 + b"\x80"
    assert packed.data == (
        b"\0\0\x80\x3f\0\0\xc0\x7f\0\0\x20\xc0\0\0\0\0"
        + b"\1\0\xff\0\0\0\0\0"
        + (nothing + b"\7" + b"\0" * 7 + nothing)
        + b"\x0a\0\0\0"
        + '["b","é"]'.encode()
        + b"\0\0"
        + b"\0\0\0\0\2\0\0\0\2\0\0\0\3\0\0\0"
        + b"\1\0\0\0\0\0\0\0"
    )


def test_long_columns_are_cut_into_parts() -> None:
    items = [str(number) for number in range(300_000)]
    packed = Packed.of([FilterColumn("n", "number", {"7": 1.0})], items)
    parts = dict(packed.parts())
    assert list(parts) == ["columns:0", "columns:1"]
    assert len(parts["columns:0"]) == COLUMN_PART_BYTES
    assert b"".join(parts.values()) == packed.data and len(packed.data) == 1_200_000


def test_a_category_has_as_many_values_as_a_code_can_name() -> None:
    items = [str(number) for number in range(MAX_VALUES + 1)]
    values = {item: [item] for item in items}
    full = FilterColumn("sku", "category", values).packed(items[:-1])
    assert np.frombuffer(full, "<u2")[-MAX_VALUES:].max() == MAX_VALUES - 1
    with pytest.raises(BadInteractions, match="'sku' has 65,536 values .* 65,535: leave it out"):
        Packed.of([FilterColumn("sku", "category", values)], items)
