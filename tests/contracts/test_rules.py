"""What rules may order, what their errors tell, and how a version is kept."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from app.contracts.filtering.columns import Type
from app.contracts.filtering.filters import Clause
from app.contracts.generations import BrokenRecord
from app.contracts.rules import (
    MAX_HIDDEN,
    MAX_RULES_BYTES,
    BadRules,
    Boost,
    Cap,
    Pin,
    Rules,
    Version,
    kept_numbers,
    loads,
    readable,
    rules_key,
)

COLUMNS: dict[str, Type] = {"category": "category", "in_stock": "flag", "price": "number"}
FULL = {
    "hide": ["i7", "a:b", "ü"],
    "pin": [
        {"item": "i3", "position": 1, "from": "1970-01-01", "until": "1970-01-01T01:00:01+01:00"},
        {"item": "i4", "position": 2},
    ],
    "boost": [{"filter": "category:film", "factor": 1.5}],
    "cap": {"column": "category", "most": 2},
    "diversity": 0.3,
    "filters": {"kids": ["category:children", "-category:horror"]},
    "defaults": {"filter": ["in_stock:true", "kids"]},
}


def test_rules_are_read_as_they_stand() -> None:
    rules = Rules.of(FULL)
    kids = (Clause("category", ("children",)), Clause("category", ("horror",), is_negated=True))
    assert rules == Rules(
        hide=frozenset({"i7", "a:b", "ü"}),
        pin=(Pin("i3", 1, 0.0, 1.0), Pin("i4", 2, -math.inf, math.inf)),
        boost=(Boost((Clause("category", ("film",)),), 1.5),),
        cap=Cap("category", 2),
        diversity=0.3,
        filters={"kids": kids},
        default_filter=(Clause("in_stock", ("true",)), *kids),
    )
    rules.check(COLUMNS)
    assert Rules.of({}) == Rules()


def test_a_version_is_frozen_and_comes_back() -> None:
    assert rules_key("shop") == "larder:1:{shop}:rules"
    version = Version(3, "2026-12-01T00:00:00+00:00", "larder rules", "ü", {"hide": ["i7"]})
    text = (
        '{"at":"2026-12-01T00:00:00+00:00","by":"larder rules","note":"ü",'
        '"rules":{"hide":["i7"]}}'
    )
    assert version.to_json() == text
    assert Version.from_json(3, text.encode()) == version


def test_the_next_version_is_numbered_and_has_a_note_of_one_line() -> None:
    noon = datetime(2026, 12, 1, 12, tzinfo=UTC)
    version = Version.after(2, noon, "somebody", "ü", {})
    assert version == Version(3, "2026-12-01T12:00:00+00:00", "somebody", "ü", {})
    for note in ("a\nb", "a" * 201):
        with pytest.raises(BadRules, match="note must be one line of at most 200 characters"):
            Version.after(2, noon, "somebody", note, {})
    with pytest.raises(BadRules, match="hide: expected a list"):
        Version.after(2, noon, "somebody", "", {"hide": ["i"] * (MAX_HIDDEN + 1)})


def test_of_many_versions_the_last_50_are_kept() -> None:
    assert (list(kept_numbers(0)), list(kept_numbers(2))) == ([], [2, 1])
    assert (kept_numbers(70)[0], kept_numbers(70)[-1]) == (70, 21)
    three = Version(3, "", "", "", {})
    assert list(readable([3, 2, 1], [three.to_json().encode(), b"{", None])) == [three]


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b'{"rules":{"hide":1}}'])
def test_a_version_that_nobody_wrote_is_broken(text: bytes) -> None:
    with pytest.raises(BrokenRecord, match="version 3 of the rules"):
        Version.from_json(3, text)


@pytest.mark.parametrize(
    "raw, message",
    [
        ([], "a set of rules is an object with hide, pin"),
        ({"hid": []}, "a set of rules has hide, pin.* but no 'hid'"),
        ({"hide": "i7"}, "hide: expected a list"),
        ({"hide": [7]}, "hide: expected the id of an item, found 7"),
        ({"hide": [""]}, "hide: expected the id"),
        ({"hide": ["\ud800"]}, "lone surrogate"),
        ({"filters": {"\ud800": []}}, "lone surrogate"),
        ({"hide": ["i"] * (MAX_HIDDEN + 1)}, "hide: expected a list of at most 20000"),
        ({"pin": [{"item": "i3"}]}, "pin: position is a whole number from 1 to 1000"),
        ({"pin": [{"item": "i3", "position": True}]}, "pin: position is a whole number"),
        ({"pin": [{"position": 1}]}, "pin: expected the id of an item, found None"),
        ({"pin": [{"item": "a", "position": 1}] * 2}, "pin: an item is pinned twice"),
        ({"pin": [{"item": "a", "position": 1, "from": "soon"}]}, "pin: expected a time such as"),
        (
            {"pin": [{"item": "a", "position": 1, "from": "2026-02-01", "until": "2026-01-01"}]},
            "pin: a pin's from must be before its until",
        ),
        ({"boost": [{"filter": "category:a", "factor": 0}]}, "boost: factor is from 0.1 to 10"),
        ({"boost": [{"filter": "category:a", "factor": math.nan}]}, "boost: factor is from"),
        (
            {"boost": [{"filter": "kids", "factor": 1}], "filters": {"kids": "category:a"}},
            "boost: expected column:value, such as .* and no name of a filter here, found 'kids'",
        ),
        ({"boost": [{"filter": [], "factor": 1}]}, "boost: a boost needs a filter"),
        (
            {"boost": [{"filter": [f"-price:{n}.." for n in range(11)], "factor": 1}] * 46},
            "boost: all filters together have 506 values, more than 500",
        ),
        (
            {"pin": [{"item": "a", "position": 1}, {"item": "b", "position": 1}]},
            "pin: 'a' and 'b' are at position 1 at once",
        ),
        ({"cap": {"column": "category", "most": 0}}, "cap: most is a whole number from 1"),
        ({"cap": {"most": 1}}, "cap: column names a column"),
        ({"diversity": 2}, "diversity: it is from 0 to 1"),
        ({"filters": {"a:b": []}}, "filters: the name of a filter"),
        ({"filters": []}, "filters: expected an object"),
        ({"defaults": {"n": 5}}, "defaults: it has filter, but no 'n'"),
        ({"defaults": {"filter": "adults"}}, "defaults: expected column:value, or a filter"),
    ],
)
def test_what_is_no_rule_is_refused_by_the_name_of_its_member(raw: Any, message: str) -> None:
    with pytest.raises(BadRules, match=message):
        Rules.of(raw)


@pytest.mark.parametrize(
    "raw, message",
    [
        ({"boost": [{"filter": "colour:red", "factor": 2}]}, "no column 'colour'"),
        ({"filters": {"cheap": "price:low"}}, "price takes a value or a range"),
        ({"defaults": {"filter": "in_stock:1"}}, "true or false"),
        ({"cap": {"column": "price", "most": 1}}, "'price' is no column of categories"),
    ],
)
def test_rules_are_held_to_the_columns(raw: Any, message: str) -> None:
    with pytest.raises(BadRules, match=message):
        Rules.of(raw).check(COLUMNS)


def test_a_pin_may_take_the_place_of_another_that_has_ended() -> None:
    first = {"item": "a", "position": 1, "until": "2026-01-01"}
    assert Rules.of({"pin": [first, {"item": "b", "position": 1, "from": "2026-01-01"}]}).pin


@pytest.mark.parametrize("text", ['{"hide":[],"hide":["a"]}', '{"filters":{"hide":[],"hide":[]}}'])
def test_what_stands_twice_is_refused(text: str) -> None:
    with pytest.raises(BadRules, match="'hide' stands more than once"):
        loads(text)


def test_text_is_bounded_and_json() -> None:
    assert loads(json.dumps(FULL)) == FULL
    for text in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(BadRules, match="a JSON object"):
            loads(text)
    with pytest.raises(BadRules, match="at most 1048576 bytes"):
        loads(b" " * (MAX_RULES_BYTES + 1))
