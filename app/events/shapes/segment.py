"""Segment and RudderStack: ``track`` calls of their e-commerce specification.

https://segment.com/docs/connections/spec/ecommerce/v2/
https://www.rudderstack.com/docs/event-spec/ecommerce-events-spec/
"""

from collections.abc import Iterator
from typing import Any

from app.events.shapes import Native, Told, identifier, kind, member

TYPES = {
    "product_list_viewed": "impression",
    "product_list_filtered": "impression",
    "viewed_product_category": "impression",
    "product_clicked": "click",
    "clicked_product": "click",
    "product_viewed": "click",
    "viewed_product": "click",
    "product_added": "cart",
    "added_product": "cart",
    "wishlist_product_added_to_cart": "cart",
    "order_completed": "purchase",
    "completed_order": "purchase",
    "product_reviewed": "rating",
}
VALUES = {"cart": "quantity", "purchase": "quantity", "rating": "rating"}
"""Which member of a product says how much."""

ITEM = ("product_id", "sku")
"""Which member of a product is the item's id: the first that is there."""


def events(told: Told) -> Iterator[Native]:
    """An event for each product; one for all of them when they were shown.

    None of what is no ``track`` call, and none of a call without products.
    """
    if told.get("type", "track") != "track":
        return
    name = kind(told.get("event"), TYPES)
    properties = member(told, "properties")
    products = properties.get("products")
    told_of = products if isinstance(products, list) else [properties]
    found = [each for each in told_of if isinstance(each, dict) and _item(each) is not None]
    common = {
        "type": name,
        "user": identifier(told.get("userId")),
        "session": identifier(told.get("anonymousId")),
        "time": told.get("timestamp") or told.get("originalTimestamp"),
        "list": properties.get("list_id"),
    }
    if name == "impression" and found:
        items = [_item(each) for each in found]
        yield {**common, "id": told.get("messageId"), "items": items}
        return
    for number, each in enumerate(found):
        yield {
            **common,
            "id": _id(told.get("messageId"), number),
            "item": _item(each),
            "value": each.get(VALUES.get(str(name), "")),
            "position": _position(each.get("position")),
        }


def _item(product: Told) -> object:
    return next((identifier(product[name]) for name in ITEM if product.get(name)), None)


def _id(message: Any, number: int) -> Any:
    """Each event of a message has an id of its own, which stays when the message comes again."""
    return f"{message}/{number}" if number and isinstance(message, str) else message


def _position(told: object) -> int | None:
    """Theirs begin with 1; a promotion's is a text."""
    if isinstance(told, int) and not isinstance(told, bool) and told >= 1:
        return told - 1
    return None
