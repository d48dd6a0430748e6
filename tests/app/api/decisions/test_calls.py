"""Rank, reward and activate over HTTP: every base path, odd ids, and one shape for all errors."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from app.api.decisions.direct import DirectCalls
from app.contracts.decisions import Activated, Decisions, Logged, Ranked, Rewarded, decode
from app.contracts.recommendations import Namespace
from tests.app.served import deciding
from tests.servers import Server

SPACE = Namespace("wire")
PREVIEW = "?api-version=2022-09-01-preview"
BASES = [
    ("/personalizer/v1.0", ""),
    ("/personalizer/v1.1-preview.1", ""),
    ("/personalizer/v1.1-preview.2", ""),
    ("/personalizer/v1.1-preview.3", ""),
    ("/personalizer", PREVIEW),
]
RANK = {
    "contextFeatures": [{"time": "morning"}],
    "actions": [{"id": each, "features": [{"is": each}]} for each in ("a", "b", "c")],
    "excludedActions": ["a"],
    "eventId": "e1",
}
SLOTS = {
    "actions": RANK["actions"],
    "slots": [{"id": "top", "baselineAction": "b", "features": [{"size": 1}]}],
    "eventId": "e1",
}
IDS = ["a b/ü", "/", "//x//", "x/reward", "..", "%2F", "line\nbreak", "\U0001f600", "y" * 256]


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[Flask]:
    """Decides by chance, for there is no model."""
    with deciding(server, SPACE) as made:
        yield made


@pytest.fixture
def asked(app: Flask) -> Client:
    return app.test_client()


def logged(client: Any, space: Namespace = SPACE) -> list[Logged]:
    """What stands in the log, of which nothing is left."""
    key = Decisions(space.name).log
    found = [decode(entry) for _, entry in client.xrange(key)]
    client.delete(key)
    return found


def error(answer: TestResponse, status: int) -> Any:
    """What the envelope says."""
    assert (answer.status_code, answer.content_type) == (status, "application/json"), answer.data
    assert answer.headers["Cache-Control"] == "no-store" and answer.json is not None
    assert answer.json.keys() == {"error"}
    assert {"code", "message"} <= answer.json["error"].keys() <= {"code", "message", "target"}
    return answer.json["error"]


@pytest.mark.parametrize(("base", "query"), BASES)
def test_each_version_ranks_and_is_rewarded(
    asked: Client, client: Any, base: str, query: str
) -> None:
    answer = asked.post(f"{base}/rank{query}", json=RANK)
    assert (answer.status_code, "X-Larder-Logged" in answer.headers) == (201, False)
    assert answer.json is not None and answer.json["ranking"][0] == {"id": "a", "probability": 0.0}
    assert answer.json["eventId"] == "e1"
    for path, body in (("events/e1/reward", {"value": 0.5}), ("events/e1/activate", None)):
        told = asked.post(f"{base}/{path}{query}", json=body)
        assert (told.status_code, told.data, told.headers.get("Content-Type")) == (204, b"", None)
    ranked, rewarded, activated = logged(client)
    assert isinstance(ranked, Ranked) and ranked.id == "e1"
    assert (rewarded, activated) == (Rewarded("e1", 0.5), Activated("e1"))


@pytest.mark.parametrize("event_id", IDS)
def test_any_event_id_is_rewarded_and_activated_known_or_not(
    asked: Client, client: Any, event_id: str
) -> None:
    at = f"/personalizer/v1.0/events/{quote(event_id, safe='')}"
    assert asked.post(f"{at}/reward", json={"value": 1}).status_code == 204
    assert asked.post(f"{at}/activate").status_code == 204
    assert logged(client) == [Rewarded(event_id, 1.0), Activated(event_id)]


@pytest.mark.parametrize("call", ["reward", "activate"])
def test_an_event_id_that_is_no_text_is_refused(asked: Client, client: Any, call: str) -> None:
    path = {"PATH_INFO": f"/personalizer/v1.0/events/\xff/{call}"}
    answer = asked.post("/", data='{"value":1}', environ_overrides=path)
    assert "percent-encoded UTF-8" in error(answer, 400)["message"]
    assert logged(client) == []


def test_what_is_sent_in_pieces_is_taken(asked: Client, client: Any) -> None:
    answer = asked.post(
        "/personalizer/v1.0/rank",
        data=json.dumps(RANK),
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert answer.status_code == 201
    assert len(logged(client)) == 1


def test_both_ways_give_the_same_answers(app: Flask, client: Any) -> None:
    assert isinstance(app.wsgi_app, DirectCalls)
    direct, flask = Client(app.wsgi_app), Client(app.wsgi_app._flask)
    bodies = [json.dumps(RANK), json.dumps({"value": 1}), "{", "", "[" * 100_000, "x" * 524_289]
    paths = ["rank", "events/e%2F1/reward", "events//reward", "events/e/x"]
    for base, query in [*BASES, ("/personalizer", ""), ("/personalizer/v9", "")]:
        for path in paths:
            for body in bodies:
                mine, first = direct.post(f"{base}/{path}{query}", data=body), logged(client)
                theirs, second = flask.post(f"{base}/{path}{query}", data=body), logged(client)
                assert (mine.status, mine.data) == (theirs.status, theirs.data), (base, path, body)
                assert dict(mine.headers) == dict(theirs.headers), (base, path, body)
                assert first == second


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "text"),
    [
        ("GET", "/nowhere", 404, "ResourceNotFound", "Paths begin with /personalizer/v1.0"),
        ("POST", "/personalizer/v1.0/ranks", 404, "ResourceNotFound", "Paths begin with"),
        ("POST", "/personalizer/v2.0/rank", 404, "ResourceNotFound", "Paths begin with"),
        ("POST", "/personalizer/v1.0//rank", 404, "ResourceNotFound", "Paths begin with"),
        ("GET", "/personalizer/v1.0/rank", 405, "MethodNotAllowed", "not allowed"),
        ("POST", "/personalizer/rank", 400, "BadRequest", "Name the version: ?api-version=2022"),
        ("POST", "/personalizer/rank?api-version=1", 400, "BadRequest", "Name the version"),
        ("POST", "/personalizer/v1.0/rank", 400, "BadRequest", "It is not JSON"),
        ("POST", "/personalizer/v1.0/events/e/reward", 400, "InvalidRewardRequest", "not JSON"),
        ("GET", "/metrics", 404, "ResourceNotFound", ""),
    ],
)
def test_every_error_has_the_envelope(
    asked: Client, method: str, path: str, status: int, code: str, text: str
) -> None:
    found = error(asked.open(path, method=method, data="{"), status)
    assert found["code"] == code and text in found["message"]


def test_what_is_too_large_or_packed_or_of_another_site_is_refused(
    asked: Client, client: Any
) -> None:
    at = "/personalizer/v1.0/rank"
    large = error(asked.post(at, data=b" " * 600_000), 413)
    assert large["code"] == "PayloadSizeExceeded"
    assert large["message"].startswith("Exceeds maximum allowed payload size")
    packed = asked.post(at, json=RANK, headers={"Content-Encoding": "gzip"})
    assert error(packed, 415)["code"] == "UnsupportedMediaType"
    for origin in ("https://evil.example", "http://[", "null", ""):
        foreign = asked.post(at, json=RANK, headers={"Origin": origin})
        assert error(foreign, 403)["code"] == "InvalidApiAccess"
    assert logged(client) == []
    own = asked.post(at, json=RANK, headers={"Origin": "http://localhost"})  # as /swagger tries it
    assert (own.status_code, len(logged(client))) == (201, 1)


def test_several_slots_are_decided_where_the_policy_does_so(
    server: Server, client: Any, namespace: Namespace
) -> None:
    policy = '{"name":"p","arguments":"--ccb_explore_adf --epsilon 0.2 -q ::"}'
    client.hset(Decisions(namespace.name).desk, "policy", policy)
    with deciding(server, namespace) as app:
        asked, at = app.test_client(), "/personalizer/v1.1-preview.1/multislot"
        answer = asked.post(f"{at}/rank", json=SLOTS)
        assert answer.status_code == 201 and answer.json is not None
        assert answer.json.keys() == {"slots", "eventId"}
        reward = {"reward": [{"slotId": "top", "value": 1}]}
        assert asked.post(f"{at}/events/e1/reward", json=reward).status_code == 204
        assert asked.post(f"{at}/events/e1/activate").status_code == 204
        assert error(asked.post("/personalizer/v1.0/rank", json=RANK), 403)
    assert logged(client, namespace)[1:] == [Rewarded("e1", 1.0, "top"), Activated("e1")]


def test_without_the_log_a_decision_is_marked_and_nothing_else_acknowledged(
    server: Server, own_server: Server, namespace: Namespace
) -> None:
    with deciding(server, namespace, events_url=own_server.url, cache_timeout_ms=1000) as app:
        asked = app.test_client()
        assert "X-Larder-Logged" not in asked.post("/personalizer/v1.0/rank", json=RANK).headers
        own_server.kill()
        answer = asked.post("/personalizer/v1.0/rank", json=RANK)
        assert (answer.status_code, answer.headers["X-Larder-Logged"]) == (201, "false")
        for path, body in (("reward", {"value": 1}), ("activate", None)):
            told = asked.post(f"/personalizer/v1.0/events/e1/{path}", json=body)
            assert error(told, 503)["code"] == "OperationNotAllowed"
            assert told.headers["Retry-After"] == "1"
        assert asked.get("/ready").status_code == 200


def test_while_the_cache_is_away_workers_go_on_with_what_they_have(
    server: Server, own_server: Server, client: Any, namespace: Namespace
) -> None:
    with deciding(own_server, namespace, events_url=server.url, cache_timeout_ms=1000) as app:
        asked, wire = app.test_client(), app.extensions["larder"]
        before = asked.post("/personalizer/v1.0/rank", json=RANK).data
        own_server.kill()
        app.extensions["link"].poll()
        wire.decider.poll()
        assert asked.post("/personalizer/v1.0/rank", json=RANK).data == before
        assert asked.get("/health/ready").json == {
            "status": "ready",
            "generation": None,
            "degraded": True,
        }
        told = error(asked.get("/personalizer/v1.0/configurations/service"), 503)
        assert told["code"] == "OperationNotAllowed"
    assert len(logged(client, namespace)) == 2


def test_who_never_saw_the_desk_decides_nothing_and_is_not_ready(
    own_server: Server, namespace: Namespace
) -> None:
    own_server.kill()
    with deciding(own_server, namespace, cache_timeout_ms=1000) as app:
        asked = app.test_client()
        for answer in (
            asked.post("/personalizer/v1.0/rank", json=RANK),
            *(asked.get(path) for path in ("/ready", "/health/ready")),
        ):
            assert error(answer, 503)["code"] == "OperationNotAllowed"
        assert asked.get("/health/live").status_code == 200
        status = asked.get("/status")
        assert status.status_code == 200 and b'"apiStatus":"Unknown"' in status.data


def test_a_made_up_mistake_tells_nothing_of_itself(
    server: Server, client: Any, namespace: Namespace
) -> None:
    with deciding(server, namespace) as app:
        app.add_url_rule("/fail", view_func=lambda: str(1 // 0))
        found = error(app.test_client().get("/fail"), 500)
    assert found["code"] == "InternalServerError" and "division" not in found["message"]
