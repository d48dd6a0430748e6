"""One event as JSON: what is taken, and what is said of the rest."""

import json
from typing import Any

import pytest

from app.contracts.events import Event
from app.events.native import Unacceptable, event_of

NOW = 1_795_000_000_000
CLICK = {"type": "click", "user": "u", "item": "i"}


def refused(**members: Any) -> str:
    with pytest.raises(Unacceptable) as raised:
        event_of({**CLICK, **members}, NOW)
    return str(raised.value)


def time_of(value: object) -> int:
    return event_of({**CLICK, "time": value}, NOW).time


def test_all_members_arrive() -> None:
    told = {
        "id": "e1",
        "type": "impression",
        "user": "4711",
        "session": "s1",
        "items": ["a", "b"],
        "time": "2026-11-21T14:03:07.123Z",
        "value": 2,
        "list": "20261121T020000.000Z-0a1b/b",
        "position": 3,
        "properties": {"page": "Zoë"},
    }
    assert event_of(told, 2 * NOW) == Event(
        id="e1",
        type="impression",
        time=1_795_269_787_123,
        user="4711",
        session="s1",
        items=("a", "b"),
        value=2.0,
        list="20261121T020000.000Z-0a1b/b",
        position=3,
        properties='{"page":"Zoë"}',
    )


def test_an_id_is_made_and_the_time_is_now_where_nobody_said() -> None:
    one, other = (event_of({**CLICK, "id": None, "time": None}, NOW) for _ in range(2))
    assert one.time == NOW
    assert len(one.id) == 32
    assert one.id != other.id


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2020-01-01T01:00:00+01:00", 1_577_836_800_000),
        ("2020-01-01T00:00:00", 1_577_836_800_000),
        ("2020-01-01", 1_577_836_800_000),
        (1_577_836_800, 1_577_836_800_000),
        (1_577_836_800.25, 1_577_836_800_250),
        (1_577_836_800_123, 1_577_836_800_123),
        (NOW + 300_000, NOW + 300_000),
        (NOW + 300_001, NOW),
        ("9999-12-31T23:59:59-23:59", NOW),
        (1e300, NOW),
    ],
)
def test_a_time_is_text_seconds_or_milliseconds_and_not_far_ahead(value: object, ms: int) -> None:
    assert time_of(value) == ms


@pytest.mark.parametrize(
    "value", ["", "yesterday", "1577836800", -1, "1969-12-31", True, [], 10**400, 1e999]
)
def test_what_is_no_time_is_refused(value: object) -> None:
    assert refused(time=value).startswith("time must be")


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"user": 4711}, "user must be text, not 4711"),
        ({"user": None}, "user must be given, or session for a visitor without an id"),
        ({"item": ["i"]}, 'item must be text, not ["i"]'),
        ({"item": ""}, "item must be text that is not empty"),
        ({"type": None}, "type must be 1 to 64 of a-z 0-9 _ . -, not ''"),
        ({"type": "Click"}, "type must be 1 to 64 of a-z 0-9 _ . -, not 'Click'"),
        ({"id": ""}, "id must be text that is not empty"),
        ({"value": True}, "value must be a number, not true"),
        ({"value": "1"}, 'value must be a number, not "1"'),
        ({"value": 1e999}, "value must be a number, not Infinity"),
        ({"value": 10**400}, "value must be a number, not 1000000000"),
        ({"value": 2e9}, "value must be a number within +-1e+09, not 2000000000.0"),
        ({"position": 1.0}, "position must be a whole number from 0, not 1.0"),
        ({"position": -1}, "position must be a whole number from 0, not -1"),
        ({"position": 10**9}, "position must be 0 to 1000000, not 1000000000"),
        ({"items": "i"}, 'items must be a list, not "i"'),
        ({"items": ["a", 1]}, "items must be text, not 1"),
        ({"items": ["a"]}, "items are an impression's; send an event for each item"),
        ({"properties": "{}"}, 'properties must be an object, not "{}"'),
        ({"properties": {"a": 1e999}}, "properties must hold numbers that are finite"),
        ({"properties": {"a": "x" * 4096}}, "properties must be at most 4096 bytes of UTF-8"),
        ({"user_id": "u"}, 'unknown member "user_id": an event has id, type, user, session,'),
    ],
)
def test_a_refusal_names_the_member(members: dict[str, Any], sentence: str) -> None:
    assert refused(**members).startswith(sentence)


def test_properties_that_nest_too_deep_to_be_written_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"a": deep}
    assert refused(properties=deep) == "properties must not be nested so deep"


@pytest.mark.parametrize("name", ["user", "session", "item", "id", "list", "type"])
def test_half_of_a_pair_of_surrogates_is_no_text(name: str) -> None:
    assert refused(**{name: json.loads('"\\ud800"')}).startswith(f"{name} must be")


@pytest.mark.parametrize("told", [None, 1, "click", [], [CLICK]])
def test_an_event_is_an_object(told: object) -> None:
    with pytest.raises(Unacceptable, match="an event must be an object, not "):
        event_of(told, NOW)
