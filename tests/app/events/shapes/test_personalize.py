"""``PutEvents`` as Amazon Personalize documents it."""

from typing import Any

from app.contracts.events import Event
from tests.app.events.shapes.made import NOW, events, intake

# The request of the API reference, its placeholders filled in.
PUT_EVENTS: dict[str, Any] = {
    "eventList": [
        {
            "eventId": "event1",
            "eventType": "click",
            "eventValue": 4.5,
            "impression": ["itemId1", "itemId2", "itemId3"],
            "itemId": "itemId2",
            "metricAttribution": {"eventAttributionSource": "thirdPartyServiceXYZ"},
            "properties": '{"numberOfRatings": "12"}',
            "recommendationId": "RID-1",
            "sentAt": 1559260945.77,
        }
    ],
    "sessionId": "session1",
    "trackingId": "tracking1",
    "userId": "user1",
}


def test_an_event_and_what_was_shown_with_it() -> None:
    who = {"user": "user1", "session": "session1", "list": "RID-1", "time": 1559260945770}
    click = Event(
        **who,  # type: ignore[arg-type]
        id="event1",
        type="click",
        item="itemId2",
        value=4.5,
        properties='{"numberOfRatings":"12"}',
    )
    shown = ("itemId1", "itemId2", "itemId3")
    seen = Event(**who, id="event1/impression", type="impression", items=shown)  # type: ignore
    assert events(PUT_EVENTS) == [click, seen]


def test_the_item_may_stand_in_the_properties_as_it_did_before() -> None:
    body = {
        "trackingId": "tracking_id",
        "userId": "USER_ID",
        "sessionId": "session_id",
        "eventList": [
            {"sentAt": 1559260945, "eventType": "rate", "properties": '{"itemId": "movie1"}'}
        ],
    }
    (made,) = events(body)
    assert (made.type, made.user, made.item) == ("rating", "USER_ID", "movie1")
    assert made.time == 1559260945000


def test_the_types_of_its_domains_mean_what_ours_mean() -> None:
    named = {"View": "click", "Watch": "click", "Purchase": "purchase", "Download": "download"}
    for theirs, ours in named.items():
        body = {"sessionId": "s", "eventList": [{"eventType": theirs, "itemId": "i", "sentAt": 1}]}
        assert [each.type for each in events(body)] == [ours]


def test_an_impression_alone_is_no_other_event() -> None:
    event = {"eventType": "view", "impression": ["a", "b"], "sentAt": 1}
    (made,) = events({"sessionId": "s", "eventList": [event]})
    assert (made.type, made.items) == ("impression", ("a", "b"))


def test_impressions_of_events_without_an_id_are_told_apart() -> None:
    event = {"eventType": "view", "impression": ["a"], "sentAt": 1}
    nameless = [{**event, "eventId": None}, {**event, "eventId": None}]
    wrong = [{**event, "eventId": ""}, {**event, "eventId": 5}]
    found = intake({"sessionId": "s", "eventList": nameless + wrong})
    assert len({each.id for each in found.events}) == 2
    assert [detail[:13] for _, detail in found.rejected] == ["id must be te"] * 2


def test_what_is_wrong_is_told_of_the_event() -> None:
    rest = [{"eventType": "click"}, "click", {"eventType": "click", "itemId": "i", "sentAt": "?"}]
    body = {"userId": "u", "sessionId": "s", "eventList": [*PUT_EVENTS["eventList"], *rest]}
    found = intake(body)
    assert (found.accepted, len(found.events)) == (1, 2)
    assert found.events[0].time < NOW
    assert [(index, detail[:20]) for index, detail in found.rejected] == [
        (1, "item must be text th"),
        (2, "an event must be an "),
        (3, "time must be ISO 860"),
    ]
