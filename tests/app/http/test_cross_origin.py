"""Web pages of named origins may call, in the words of a browser; nobody else's may."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.contracts.recommendations import Namespace
from tests.app.served import answering
from tests.generations import publish_by_hand
from tests.servers import Server

SHOP = "https://shop.example"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


@pytest.fixture
def api(server: Server, client: Any, namespace: Namespace) -> Iterator[FlaskClient]:
    publish_by_hand(client, namespace)
    settings = {"events": True, "cors_origins": SHOP, "cache_timeout_ms": 60_000}
    with answering(server, namespace, **settings) as app:
        yield app.test_client()


def cors(answer: Any) -> set[str]:
    return {name for name, _ in answer.headers if name.startswith("Access-Control-")}


@pytest.mark.parametrize("path", ["/events", "/recommendations/u1", "/recommendations?session=s"])
def test_a_named_origin_gets_leave_without_credentials(api: FlaskClient, path: str) -> None:
    answer = api.options(path, headers={"Origin": SHOP, **ASKS})
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    method = "POST" if path == "/events" else "GET"
    assert answer.headers["Access-Control-Allow-Methods"] == method
    assert answer.headers["Access-Control-Max-Age"] == "7200"
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", SHOP + ":8443", SHOP.upper()])
def test_another_origin_gets_none(api: FlaskClient, origin: str) -> None:
    for path in ("/events", "/recommendations/u1"):
        answer = api.options(path, headers={"Origin": origin, **ASKS})
        assert not cors(answer)
        assert answer.headers["Vary"] == "Origin"
    assert not cors(api.get("/recommendations/u1", headers={"Origin": origin}))


def test_no_page_learns_what_a_user_had(api: FlaskClient) -> None:
    answer = api.options("/recommendations/u1/why", headers={"Origin": SHOP, **ASKS})
    assert not cors(answer)


def test_a_page_may_read_lists_and_errors_alike(api: FlaskClient) -> None:
    page = {"Origin": SHOP}
    for answer, status in (
        (api.get("/recommendations/u1", headers=page), 200),
        (api.get("/recommendations/u1?n=0", headers=page), 400),
        (api.post("/events", json={"type": "click"}, headers=page), 400),
        (api.post("/events", json={"type": "x", "user": "u", "item": "i"}, headers=page), 202),
    ):
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == SHOP
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]


def test_what_is_no_page_s_business_stays_closed(api: FlaskClient) -> None:
    for path in ("/generation", "/health/live", "/items/i1/similar", "/"):
        assert not cors(api.options(path, headers={"Origin": SHOP, **ASKS}))
        assert not cors(api.get(path, headers={"Origin": SHOP}))


def test_without_named_origins_nothing_changes(server: Server, namespace: Namespace) -> None:
    with answering(server, namespace, events=True) as app:
        answer = app.test_client().options("/events", headers={"Origin": SHOP, **ASKS})
    assert not cors(answer)
    assert "Vary" not in answer.headers


def test_a_page_without_a_key_gets_leave_to_ask_and_reads_why_it_is_refused(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    with answering(server, namespace, events=True, cors_origins=SHOP, auth="on") as app:
        api, page = app.test_client(), {"Origin": SHOP}
        assert api.options("/events", headers={**page, **ASKS}).status_code == 204
        for answer in (api.post("/events", json={}, headers=page), api.get("/recommendations/u1")):
            assert answer.status_code == 401
        refused = api.post("/events", json={}, headers=page)
        assert refused.headers["Access-Control-Allow-Origin"] == SHOP
        assert api.get("/larder.js").status_code == 200
