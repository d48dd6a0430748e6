"""Literal keys and bytes of click models: who changes one breaks what is published."""

import json
import math
import struct
from dataclasses import replace
from typing import Any

import pytest

from app.contracts.clicks import (
    Calibration,
    Clicks,
    Column,
    Linear,
    Manifest,
    category_text,
    decode_tables,
    digest,
    encode_table,
    row_names,
    value_key,
)
from app.contracts.generations import BrokenRecord

SECTIONS = {"trees": b"tree", "tables": b"table", "linear": b""}
MANIFEST = Manifest(
    generation="20260101T000000.000Z-0001",
    state="complete",
    rows=10,
    clicks=3,
    label="click",
    columns=[["price", "number"], ["brand", "category"]],
    prior=0.3,
    negatives_kept=0.5,
    members=["trees"],
    calibration={},
    trees=7,
    sizes={name: len(section) for name, section in SECTIONS.items()},
    hashes={name: digest(section) for name, section in SECTIONS.items()},
    users=2,
    user_buckets=1,
    lightgbm="4.7.0",
    settings={},
    metrics={},
    fingerprint="f",
    forced=False,
    code_version="0",
    started_at="2026-01-01T00:00:00+00:00",
)
SPACE = Clicks("shop")


def test_keys_are_these() -> None:
    assert SPACE.live == "larder:1:{shop}:clicks:live"
    assert SPACE.generations == "larder:1:{shop}:clicks:generations"
    assert SPACE.lock == "larder:1:{shop}:clicks:lock"
    start = "larder:1:shop:clicks:20260101T000000.000Z-0001:"
    assert list(MANIFEST.keys(SPACE)) == [f"{start}body:0", f"{start}user:0"]
    assert MANIFEST.user_place(SPACE, "ä/1") == (f"{start}user:0", "ä/1".encode())


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert SPACE.read(MANIFEST.to_json()) == MANIFEST
    assert MANIFEST.typed_columns == (Column("price", "number"), Column("brand", "category"))
    assert row_names(MANIFEST.typed_columns) == ["price", "brand:mean", "brand:share"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": []},
        {"columns": [["a", "number"], ["a", "category"]]},
        {"columns": [["a", "date"]]},
        {"columns": ["a"]},
        {"members": ["linear"]},
        {"prior": 0.0},
        {"negatives_kept": 2.0},
        {"sizes": {"trees": 1}},
        {"sizes": {"trees": -1, "tables": 1, "linear": 1}},
        {"calibration": {"slope": "steep"}},
        {"calibration": {"knots": [[1, 0], [0, 1]]}},
        {"calibration": {"knots": [[0, 1], [1, 0]]}},
        {"calibration": {"slope": -1.0}},
        {"calibration": {"slope": 0.0}},
    ],
)
def test_a_manifest_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BrokenRecord):
        Manifest.from_json(replace(MANIFEST, **wrong).to_json())


def test_sections_are_those_of_the_manifest() -> None:
    body = b"".join(SECTIONS.values())
    assert {name: bytes(each) for name, each in MANIFEST.sections(body).items()} == SECTIONS
    with pytest.raises(BrokenRecord, match="tables"):
        MANIFEST.sections(b"treeTABLE")


def test_a_table_is_these_bytes() -> None:
    one = encode_table(
        struct.pack("<Q", 5), struct.pack("<f", 0.25), struct.pack("<f", 0.5), bytes(4)
    )
    assert one.hex() == "01000000000000000500000000000000" + "0000803e" + "0000003f" + "0" * 16
    none = encode_table(b"", b"", b"", b"")
    found, empty = decode_tables(one + none, 2)
    columns = (found.keys, found.means, found.shares, found.weights)
    assert [list(each) for each in columns] == [[5], [0.25], [0.5], [0.0]]
    assert list(empty.keys) == []


@pytest.mark.parametrize("section", [b"", b"\x02" + bytes(7), bytes(16), b"\xff" * 8])
def test_tables_that_cannot_be_are_refused(section: bytes) -> None:
    with pytest.raises(BrokenRecord):
        decode_tables(section, 1)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("column", range(3))
def test_a_table_has_finite_numbers_alone(column: int, wrong: float) -> None:
    numbers = [struct.pack("<f", wrong if each == column else 0.5) for each in range(3)]
    with pytest.raises(BrokenRecord, match="not finite"):
        decode_tables(encode_table(bytes(8), *numbers), 1)


def test_the_keys_of_a_table_rise() -> None:
    with pytest.raises(BrokenRecord, match="must rise"):
        decode_tables(encode_table(struct.pack("<QQ", 5, 5), *[bytes(8)] * 3), 1)


def test_a_table_needs_all_of_each_value() -> None:
    with pytest.raises(BrokenRecord):
        encode_table(bytes(8), bytes(4), bytes(4), b"")


def test_the_key_of_a_value_is_this() -> None:
    assert f"{value_key('abc'):016x}" == "900150983cd24fb0"
    assert f"{value_key(''):016x}" == "d41d8cd98f00b204"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("", ""),
        ("12", "12"),
        (12, "12"),
        ("12.0", "12"),
        ("-3.0", "-3"),
        ("0.0", "0"),
        ("-0.0", "-0.0"),
        ("007.0", "007.0"),
        ("1.10", "1.10"),
        ("v1.0", "v1.0"),
        ("True", "true"),
        ("FALSE", "false"),
        (12.0, "12"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (float("nan"), ""),
        (True, "true"),
        (False, "false"),
    ],
)
def test_the_text_of_a_cell_is_one(cell: str | float | bool | None, text: str) -> None:
    assert category_text(cell) == text


def test_a_calibration_and_a_linear_member_are_read_as_written() -> None:
    for each in (Calibration(), Calibration(0.9, -0.1), Calibration(knots=((-1, -2), (0.5, 0.1)))):
        assert Calibration.read(json.loads(json.dumps(each.entry()))) == each
    linear = Linear(0.5, (((1.0, 2.0), (0.1, 0.2, 0.3), -0.4),))
    assert Linear.decode(linear.encode(), 1) == linear
    with pytest.raises(BrokenRecord, match="no bins of 2 columns"):
        Linear.decode(linear.encode(), 2)


@pytest.mark.parametrize(
    "section",
    [
        b"",
        b"[]",
        b'{"intercept":0,"numbers":[[[1],[1],0]]}',
        b'{"intercept":NaN,"numbers":[[[1],[1,2],0]]}',
        b'{"intercept":0,"numbers":[[[1],[1,Infinity],0]]}',
        b'{"intercept":0,"numbers":[[[NaN],[1,2],0]]}',
        b'{"intercept":0,"numbers":[[[1],[1,2],NaN]]}',
    ],
)
def test_a_linear_member_that_cannot_be_is_refused(section: bytes) -> None:
    with pytest.raises(BrokenRecord):
        Linear.decode(section, 1)
