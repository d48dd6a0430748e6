"""CloudEvents as the JSON format of its specification shows them."""

from typing import Any

import pytest

from app.contracts.events import Event
from app.errors import BadParameter
from tests.app.events.shapes.made import events, intake

# The example with data of JSON, of section 3.2.
EXAMPLE: dict[str, Any] = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext",
    "subject": None,
    "id": "C234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
    "datacontenttype": "application/json",
    "data": {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True},
}


def told(data: object, **attributes: Any) -> dict[str, Any]:
    return {**EXAMPLE, "data": data, **attributes}


def test_the_data_is_our_own_event() -> None:
    (made,) = events(told({"user": "u", "item": "i"}))
    assert made == Event(
        id="b09238fbdae65c7997c38bcd2453ab24",
        type="com.example.someevent",
        time=1522949460000,
        user="u",
        item="i",
    )


def test_source_and_id_together_tell_events_apart() -> None:
    data = {"user": "u", "item": "i"}
    again, other = events([told(data), told(data, source="/mycontext/9")])
    assert again.id == events(told(data))[0].id != other.id


@pytest.mark.parametrize("name", ["source", "id"])
@pytest.mark.parametrize("value", [None, "", 5, "\ud800"])
def test_an_event_without_source_or_id_is_refused(name: str, value: object) -> None:
    """All of them would have one id, and all but one would be doubles."""
    data = {"user": "u", "item": "i"}
    found = intake([told(data), told(data, **{name: value})])
    assert found.rejected == [(1, f"a CloudEvent's {name} must be text that is not empty")]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("com.example.shop.click", "click"),
        ("com.example.shop.item.clicked", "click"),
        ("com.example.shop.Purchases", "purchase"),
        ("hide", "hide"),
        ("com.example.Share", "com.example.share"),
    ],
)
def test_the_last_word_of_a_type_may_be_one_of_ours(theirs: str, ours: str) -> None:
    (made,) = events(told({"user": "u", "item": "i"}, type=theirs))
    assert made.type == ours


def test_the_subject_is_the_user() -> None:
    (made,) = events(told({"item": "i"}, subject="4711"))
    assert made.user == "4711"
    (made,) = events(told({"item": "i", "session": "s"}, subject="a page"))
    assert (made.user, made.session) == ("", "s")


def test_a_batch_is_a_list_and_what_holds_no_event_of_ours_is_named() -> None:
    binary = {**EXAMPLE, "data_base64": "... base64 encoded string ..."}
    del binary["data"]
    batch = [told({"user": "u", "item": "i"}), EXAMPLE, binary, told("I'm just a string")]
    found = intake(batch)
    assert len(found.events) == 1
    assert [index for index, _ in found.rejected] == [1, 2, 3]
    assert found.rejected[0][1].startswith('unknown member "appinfoA"')
    assert found.rejected[1][1].startswith("user must be given")


def test_an_empty_batch_is_none() -> None:
    with pytest.raises(BadParameter, match="send 1 to 500 events"):
        intake([])
