"""Calls of Segment and RudderStack as their e-commerce specifications show them."""

from typing import Any

import pytest

from app.contracts.events import Event
from tests.app.events.shapes.made import events, intake

MONOPOLY = {
    "product_id": "507f1f77bcf86cd799439011",
    "sku": "45790-32",
    "name": "Monopoly: 3rd Edition",
    "price": 19,
    "category": "Games",
}
UNO = {
    "product_id": "505bd76785ebb509fc183733",
    "sku": "46493-32",
    "name": "Uno Card Game",
    "price": 3,
    "category": "Games",
}
IDS = (MONOPOLY["product_id"], UNO["product_id"])
CALL = {
    "type": "track",
    "userId": "019mr8mf4r",
    "anonymousId": "507f191e810c19729de860ea",
    "messageId": "022bb90c-bbac-11e4-8dfc-aa07a5b093db",
    "timestamp": "2012-12-02T00:30:12.984Z",
    "context": {"ip": "24.5.68.47"},
    "integrations": {},
}
COMMON = {
    "user": "019mr8mf4r",
    "session": "507f191e810c19729de860ea",
    "time": 1354408212984,
    "id": "022bb90c-bbac-11e4-8dfc-aa07a5b093db",
}


def track(event: str, **properties: Any) -> dict[str, Any]:
    return {**CALL, "event": event, "properties": properties}


def test_a_list_that_was_viewed_is_one_impression() -> None:
    products = [{**MONOPOLY, "position": 1}, {**UNO, "position": 2}]
    call = track("Product List Viewed", list_id="hot_deals_1", category="Deals", products=products)
    expected: Any = {**COMMON, "type": "impression", "items": IDS, "list": "hot_deals_1"}
    assert events(call) == [Event(**expected)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Product Clicked", "click"),
        ("Clicked Product", "click"),
        ("Product Viewed", "click"),
        ("Product Added", "cart"),
        ("Product Shared", "product_shared"),
        ("Song: played (to the end)!", "song_played_to_the_end_"),
    ],
)
def test_one_product_is_one_event(name: str, kind: str) -> None:
    call = track(name, **MONOPOLY, brand="Hasbro", quantity=2, coupon="MAYDEALS", position=3)
    expected: Any = {**COMMON, "type": kind, "item": IDS[0], "position": 2}
    assert events(call) == [Event(**expected, value=2.0 if kind == "cart" else 1.0)]


def test_an_order_is_a_purchase_of_each_product_that_stays_the_same_when_sent_again() -> None:
    products = [{**MONOPOLY, "quantity": 1}, {**UNO, "quantity": 2}]
    call = track("Order Completed", order_id="50314b8e9bcf000000000000", products=products)
    first, second = events(call)
    assert (first.type, first.item, first.value) == ("purchase", IDS[0], 1.0)
    assert (second.type, second.item, second.value) == ("purchase", IDS[1], 2.0)
    assert (first.id, second.id) == (COMMON["id"], f"{COMMON['id']}/1")
    assert events(call) == [first, second]


def test_an_order_of_more_events_than_a_request_may_bring_is_refused() -> None:
    orders = [track("Order Completed", products=[UNO] * number) for number in (500, 501)]
    found = intake({"batch": orders})
    assert len(found.events) == 500
    assert found.rejected == [(1, "it holds over 500 events: send it in parts")]


def test_a_review_is_a_rating() -> None:
    call = track("Product Reviewed", product_id="p", review_id="r", review_body="!", rating=5)
    (made,) = events(call)
    assert (made.type, made.item, made.value) == ("rating", "p", 5.0)


def test_ids_may_be_numbers_and_the_sku_stands_in() -> None:
    call = {"userId": 42, "event": "Product Viewed", "properties": {"sku": 7}}
    (made,) = events(call)
    assert (made.user, made.item) == ("42", "7")


@pytest.mark.parametrize(
    "call",
    [
        {**CALL, "type": "identify", "traits": {"email": "a@b.example"}},
        {**CALL, "type": "page", "name": "Home", "properties": {"product_id": "no product page"}},
        {**CALL, "type": "group", "groupId": "g"},
        {**CALL, "type": "alias", "previousId": "p"},
        {**CALL, "type": "screen", "name": "Home"},
        track("Signed Up", plan="Pro"),
        track("Products Searched", query="blue roses"),
        track("Promotion Viewed", promotion_id="promo_1", position="home_banner_top"),
        track("Product List Viewed", list_id="empty", products=[]),
    ],
    ids=lambda call: f"{call['type']} {call.get('event', '')}",
)
def test_what_tells_of_no_item_is_ignored(call: dict[str, Any]) -> None:
    found = intake({"batch": [call]})
    assert (found.accepted, found.ignored, found.events, found.rejected) == (0, 1, [], [])


def test_a_batch_is_taken_by_parts() -> None:
    batch = [
        track("Product Viewed", **UNO),
        {**CALL, "type": "identify"},
        {"type": "track", "event": "Product Viewed", "properties": UNO, "messageId": "m"},
        track("Order Completed", products=[MONOPOLY, {**UNO, "quantity": "two"}]),
    ]
    found = intake({"batch": batch, "sentAt": "2012-12-02T00:30:12.984Z", "writeKey": "key"})
    assert (found.accepted, found.ignored, len(found.events)) == (1, 1, 1)
    assert found.rejected == [
        (2, "user must be given, or session for a visitor without an id"),
        (3, 'value must be a number, not "two"'),
    ]


@pytest.mark.parametrize("odd", [None, 5, "x", [], [[]], {"products": 5}, {"product_id": {}}])
def test_odd_properties_harm_nobody(odd: object) -> None:
    batch = [{**CALL, "event": "Product Viewed", "properties": odd}, track("Buy", product_id="p")]
    assert len(intake({"batch": batch}).events) == 1
