"""``POST /events``: what is taken, what is refused, and that what is acknowledged is there."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from app.contracts.events import Event, Streams
from app.contracts.recommendations import Namespace
from tests.app.api.test_api import problem
from tests.app.served import answering
from tests.generations import publish_by_hand
from tests.servers import Server

CLICK = {"id": "e1", "type": "click", "user": "u1", "item": "i1", "time": 5.5}
SETTINGS = {"events": True, "cache_timeout_ms": 60_000}


@pytest.fixture
def api(server: Server, namespace: Namespace) -> Iterator[FlaskClient]:
    with answering(server, namespace, **SETTINGS) as app:
        yield app.test_client()


@pytest.fixture
def written(client: Any, namespace: Namespace) -> Any:
    key = Streams(namespace.name).events
    return lambda: [Event.decode(entry) for _, entry in client.xrange(key)]


def post(api: FlaskClient, body: object, kind: str = "application/json", **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body)
    return api.post("/events", data=data, content_type=kind, headers=headers)


@pytest.mark.parametrize("kind", ["application/json", "text/plain;charset=UTF-8"])
@pytest.mark.parametrize(
    "body", [CLICK, [CLICK], {"events": [CLICK]}, {"key": "k", "events": [CLICK]}]
)
def test_one_event_in_each_form_is_in_the_stream(
    api: FlaskClient, written: Any, kind: str, body: object
) -> None:
    answer = post(api, body, kind)
    assert answer.status_code == 202
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.data == b'{"accepted": 1, "ignored": 0, "rejected": []}'
    assert written() == [Event(id="e1", type="click", time=5500, user="u1", item="i1")]


def test_what_cannot_be_taken_is_named_and_the_rest_is_taken(
    api: FlaskClient, written: Any
) -> None:
    answer = post(api, [CLICK, {**CLICK, "item": 5}, {**CLICK, "id": "e2"}, "click"])
    assert answer.status_code == 202
    assert answer.get_json() == {
        "accepted": 2,
        "ignored": 0,
        "rejected": [
            {"index": 1, "detail": "item must be text, not 5"},
            {"index": 3, "detail": 'an event must be an object, not "click"'},
        ],
    }
    assert [each.id for each in written()] == ["e1", "e2"]


def test_five_hundred_events_are_taken_and_not_one_more(api: FlaskClient, written: Any) -> None:
    events = [{**CLICK, "id": f"e{number}"} for number in range(501)]
    assert post(api, events[:500]).get_json()["accepted"] == 500
    assert len(written()) == 500
    detail = problem(post(api, events), 400)
    assert detail == "send 1 to 500 events at a time, not 501"
    assert len(written()) == 500


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body must be JSON in UTF-8: "),
        (b"{", "the body must be JSON in UTF-8: "),
        (b'{"value":NaN}', "the body must be JSON in UTF-8: NaN is no number of JSON"),
        (b'[{"value":-Infinity}]', "the body must be JSON in UTF-8: -Infinity is no number"),
        (b'{"value":1' + b"0" * 5000 + b"}", "the body must be JSON in UTF-8: Exceeds"),
        (b"[" * 100_000, "the body must be JSON in UTF-8: "),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "the body must be JSON in UTF-8: "),
        (b'{"user":"\xff"}', "the body must be JSON in UTF-8: "),
        ('{"user":"u"}'.encode("utf-16"), "the body must be JSON in UTF-8: "),
        (b"null", "send one event, a list of events, or "),
        (b"5", "send one event, a list of events, or "),
        (b'{"events":5}', "send one event, a list of events, or "),
        (b'{"batch":1}', 'send one event, a list of events, or one in {"events":[...]} or {"bat'),
        (b"[]", "send 1 to 500 events at a time, not 0"),
        (b"{}", "no event can be taken; event 0: user must be given"),
        (b'{"events":[],"user":"u"}', 'no event can be taken; event 0: unknown member "events"'),
        (b'[{"user":"u"}]', "no event can be taken; event 0: type must be"),
    ],
)
def test_a_body_without_an_event_is_refused(
    api: FlaskClient, written: Any, body: bytes, sentence: str
) -> None:
    assert problem(post(api, body), 400).startswith(sentence)
    assert not written()


def test_calls_of_segment_are_answered_as_its_clients_expect(
    api: FlaskClient, written: Any
) -> None:
    call = {"userId": "u", "event": "Product Viewed", "properties": {"product_id": "p"}}
    page = {"userId": "u", "type": "page"}
    for path, body in (("/v1/track", call), ("/v1/batch", {"batch": [call, page]})):
        answer = api.post(path, json=body)
        assert answer.status_code == 200
        assert answer.get_json()["accepted"] == 1
    assert [each.item for each in written()] == ["p", "p"]
    assert api.post("/v1/batch", json={"batch": [page]}).get_json() == {
        "accepted": 0,
        "ignored": 1,
        "rejected": [],
    }


@pytest.mark.parametrize("name", ["identify", "page", "screen", "group", "alias"])
def test_other_calls_of_segment_are_answered_and_nothing_is_kept(
    api: FlaskClient, written: Any, name: str
) -> None:
    call = {"userId": "u", "previousId": "v", "properties": {"product_id": "p"}}
    ignored = {"accepted": 0, "ignored": 1, "rejected": []}
    answer = api.post(f"/v1/{name}", json=call)
    assert (answer.status_code, answer.get_json()) == (200, ignored)
    bought = {"userId": "u", "event": "Order Completed", "properties": {"product_id": "p"}}
    answer = api.post("/v1/batch", json={"batch": [{**call, "type": name}, bought]})
    assert (answer.status_code, answer.get_json()) == (200, {**ignored, "accepted": 1})
    assert [each.type for each in written()] == ["purchase"]
    assert "send one call" in problem(api.post(f"/v1/{name}", json=[call]), 400)


def test_a_cloudevent_in_headers_is_told_how_to_come(api: FlaskClient, written: Any) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "click"}
    detail = problem(post(api, {"user": "u", "item": "i"}, **headers), 400)
    assert "structured mode" in detail and "application/cloudevents+json" in detail
    assert not written()


def test_cloudevents_have_kinds_of_their_own(api: FlaskClient, written: Any) -> None:
    told: dict[str, Any] = {
        "specversion": "1.0",
        "id": "1",
        "source": "/s",
        "type": "click",
        "subject": "u",
    }
    told["data"] = {"item": "i"}
    assert post(api, told, "application/cloudevents+json").status_code == 202
    assert post(api, [told], "application/cloudevents-batch+json").status_code == 202
    assert len(written()) == 2


@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded", "text/html"])
def test_another_kind_of_body_is_refused(api: FlaskClient, kind: str) -> None:
    detail = problem(post(api, CLICK, kind), 415)
    assert detail == (
        "send JSON with Content-Type: application/json, text/plain, "
        "application/cloudevents+json or application/cloudevents-batch+json"
    )


def test_a_body_that_is_too_long_is_refused(api: FlaskClient, written: Any) -> None:
    assert "at most 524288 bytes" in problem(post(api, b" " * 524_289), 413)
    problem(post(api, gzip.compress(b" " * 524_289), **{"Content-Encoding": "gzip"}), 413)
    problem(post(api, gzip.compress(b" " * 100_000_000), **{"Content-Encoding": "gzip"}), 413)
    assert not written()
    page = {"type": "page", "userId": "u", "properties": {"title": "p" * 31_000}}
    body = json.dumps({"batch": [page] * 15})
    assert 465_000 < len(body) < 475_000, "which is the most that Segment's client sends"
    assert api.post("/v1/batch", data=body, content_type="application/json").status_code == 200


def test_a_body_may_be_packed(api: FlaskClient, written: Any) -> None:
    packed = gzip.compress(json.dumps(CLICK).encode())
    gzipped = {"Content-Encoding": "gzip"}
    assert post(api, packed, **gzipped).status_code == 202
    assert len(written()) == 1
    assert "gzip" in problem(post(api, packed[:-9], **gzipped), 400)
    assert "gzip" in problem(post(api, CLICK, **gzipped), 400)
    problem(post(api, packed, **{"Content-Encoding": "br"}), 415)


def test_what_follows_a_gzip_is_not_lost_in_silence(api: FlaskClient, written: Any) -> None:
    packed = [gzip.compress(text) for text in (json.dumps(CLICK).encode(), b"", b" ")]
    for body in (packed[0] + packed[2], packed[1] + packed[0], packed[0] + b"x"):
        detail = problem(post(api, body, **{"Content-Encoding": "gzip"}), 400)
        assert detail == "the body must be one gzip member, and more follows it"
    assert not written()


def test_a_body_that_nests_too_deep_is_refused_and_breaks_nothing(api: FlaskClient) -> None:
    """Where reading ends and where writing does differ by a few levels, and by the stack."""
    event = json.dumps({**CLICK, "properties": 0})
    for depth in range(900, 1000):
        nested = event.replace(": 0", ": " + '{"a":' * depth + "0" + "}" * depth)
        problem(post(api, nested.encode()), 400)


def test_a_parameter_is_refused(api: FlaskClient) -> None:
    answer = api.post("/events?key=secret", json=CLICK)
    assert "it takes none" in problem(answer, 400)


def test_a_page_that_nobody_named_may_not_send(
    server: Server, namespace: Namespace, written: Any
) -> None:
    named = "https://shop.example,http://other.example:8080"
    with answering(server, namespace, cors_origins=named, **SETTINGS) as app:
        api = app.test_client()
        for origin in (*named.split(","), "http://localhost"):  # the last is the API's own host
            assert post(api, CLICK, Origin=origin).status_code == 202
        for origin in ("https://evil.example", "null", "https://shop.example:8443", "http://"):
            detail = problem(post(api, CLICK, Origin=origin), 403)
            assert "LARDER_CORS_ORIGINS" in detail
    assert len(written()) == 3


def test_a_deployment_without_events_names_the_setting(
    server: Server, namespace: Namespace, written: Any
) -> None:
    with answering(server, namespace) as app:
        detail = problem(post(app.test_client(), CLICK), 404)
    assert "LARDER_EVENTS=true" in detail
    assert not written()


def test_events_of_unknown_users_and_items_are_kept(
    server: Server, client: Any, namespace: Namespace, written: Any
) -> None:
    publish_by_hand(client, namespace)
    with answering(server, namespace, **SETTINGS) as app:
        assert post(app.test_client(), {**CLICK, "user": "new", "item": "new"}).status_code == 202
    assert [(each.user, each.item) for each in written()] == [("new", "new")]


def test_lists_are_served_and_events_are_not_while_their_server_is_away(
    server: Server, own_server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    with answering(server, namespace, events_url=own_server.url, **SETTINGS) as app:
        api = app.test_client()
        assert post(api, CLICK).status_code == 202
        with redis.Redis.from_url(own_server.url) as events:
            assert events.xlen(Streams(namespace.name).events) == 1
        assert not client.exists(Streams(namespace.name).events)
        own_server.kill()
        answer = post(api, CLICK)
        assert "the server of the events" in problem(answer, 503)
        assert answer.headers["Retry-After"] == "1"
        assert api.get("/recommendations/u1").get_json()["source"] == "personal"


def test_the_tracker_is_small_and_may_be_kept(api: FlaskClient) -> None:
    answer = api.get("/larder.js")
    assert answer.status_code == 200
    assert answer.content_type == "text/javascript; charset=utf-8"
    assert len(answer.data) < 3000
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    held = api.get("/larder.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (held.status_code, held.data) == (304, b"")


def test_there_is_no_tracker_where_nothing_is_taken(server: Server, namespace: Namespace) -> None:
    with answering(server, namespace) as app:
        assert "LARDER_EVENTS" in problem(app.test_client().get("/larder.js"), 404)
