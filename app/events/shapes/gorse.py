"""gorse: feedback, one a user, an item and a type.

https://gorse.io/docs/api/restful-api.html
"""

from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

from app.events.shapes import Native, Told, identifier, kind

TYPES = {"read": "impression", "buy": "purchase", "order": "purchase", "add_to_cart": "cart"}
"""``read`` is what gorse calls that somebody has seen an item."""


def events(told: Told) -> Iterator[Native]:
    """One event. Feedback has no id, so the same feedback of the same time gets the same."""
    what = [told.get(name) for name in ("FeedbackType", "UserId", "ItemId", "Timestamp")]
    yield {
        "id": None if what[3] is None else uuid5(NAMESPACE_URL, f"gorse {what}").hex,
        "type": kind(what[0], TYPES),
        "user": identifier(what[1]),
        "item": identifier(what[2]),
        "time": what[3],
        "value": told.get("Value") or None,  # its clients send 0 where nobody said
    }
