"""Frozen: how a generation names its columns."""

from typing import Any

import pytest

from app.contracts.filtering.columns import COLUMN_PART_BYTES, Column, column_part, column_parts
from app.contracts.generations import BrokenRecord


def test_names_and_numbers_are_frozen() -> None:
    assert column_part(3) == "columns:3"
    assert Column("price", "number", 16).entry() == ["price", "number", 16]
    assert Column.read(["price", "number", 16]) == Column("price", "number", 16)
    assert [column_parts(size) for size in (0, 8, COLUMN_PART_BYTES, COLUMN_PART_BYTES + 8)] == [
        *(0, 1, 1, 2)
    ]


@pytest.mark.parametrize(
    "entry",
    [
        *(None, {}, [], ["price", "number"], ["price", "number", 16, 1], [1, "number", 16]),
        *(["price", "text", 16], ["price", "number", 15], ["price", "number", True]),
        *(["price", ["number"], 16], ["price", "number", -8]),
    ],
)
def test_what_is_no_column_is_refused(entry: Any) -> None:
    with pytest.raises(BrokenRecord, match="a column's name, type and size"):
        Column.read(entry)
