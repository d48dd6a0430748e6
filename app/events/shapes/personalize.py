"""Amazon Personalize, ``PutEvents``: the events of one user or session.

https://docs.aws.amazon.com/personalize/latest/dg/API_UBS_PutEvents.html
"""

import json
from collections.abc import Iterator
from typing import Any

from app.events.shapes import Native, Told, identifier, kind

TYPES = {
    "view": "click",
    "watch": "click",
    "addtocart": "cart",
    "add_to_cart": "cart",
    "order": "purchase",
    "rate": "rating",
}


def entries(told: Told) -> object:
    """Each event of the list, with the members that stand beside the list."""
    events = told["eventList"]
    if not isinstance(events, list):
        return events
    who = {name: told.get(name) for name in ("userId", "sessionId")}
    return [{**each, **who} if isinstance(each, dict) else each for each in events]


def events(told: Told) -> Iterator[Native]:
    """What was done with an item, and beside it what was shown meanwhile."""
    who = {"user": told.get("userId"), "session": told.get("sessionId")}
    common = {**who, "time": told.get("sentAt"), "list": told.get("recommendationId")}
    properties = _properties(told.get("properties"))
    item = told.get("itemId", properties.get("itemId"))
    shown = told.get("impression")
    if item is not None or not shown:
        yield {
            **common,
            "id": told.get("eventId"),
            "type": kind(told.get("eventType"), TYPES),
            "item": identifier(item),
            "value": told.get("eventValue"),
            "properties": properties or None,
        }
    if shown:
        yield {**common, "id": _beside(told.get("eventId")), "type": "impression", "items": shown}


def _beside(event: Any) -> Any:
    """The id of what was shown with an event; what is no id stays what it is."""
    return f"{event}/impression" if event and isinstance(event, str) else event


def _properties(told: object) -> Told:
    """They are the text of a JSON object, which in older versions also held the item."""
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except (ValueError, RecursionError):
            return {}
    return told if isinstance(told, dict) else {}
