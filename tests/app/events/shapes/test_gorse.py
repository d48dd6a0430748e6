"""Feedback as gorse's own client sends it."""

from typing import Any

from app.contracts.events import Event
from tests.app.events.shapes.made import events, intake

FEEDBACK: list[dict[str, Any]] = [
    {
        "FeedbackType": "star",
        "UserId": "bob",
        "ItemId": "vuejs:vue",
        "Timestamp": "2022-02-24",
        "Value": 0.0,
        "Comment": "",
    },
    {"FeedbackType": "read", "UserId": "bob", "ItemId": "d3:d3", "Timestamp": "2022-02-25"},
]


def test_feedback_is_an_event() -> None:
    star, read = events(FEEDBACK)
    assert star == Event(
        id=star.id, type="star", time=1645660800000, user="bob", item="vuejs:vue", value=1.0
    )
    assert (read.type, read.item) == ("impression", "d3:d3")


def test_the_same_feedback_has_the_same_id() -> None:
    first, again = events([FEEDBACK[0], FEEDBACK[0]])
    (later,) = events({**FEEDBACK[0], "Timestamp": "2022-02-26"})
    assert first.id == again.id != later.id


def test_feedback_without_an_item_is_named() -> None:
    found = intake([*FEEDBACK, {"FeedbackType": "star", "UserId": "bob"}])
    assert found.rejected == [(2, "item must be text that is not empty")]
