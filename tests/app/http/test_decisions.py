"""Decisions beside the lists or alone: who gets in, how they hear no, what is counted."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families as plain_text

from app.contracts.decisions import Decisions
from app.contracts.keys import Key, digest, foreign_id, id_of, keys_key, new_key
from app.contracts.recommendations import Namespace
from tests.app.served import answering, deciding
from tests.app.wire import get, send
from tests.generations import publish_by_hand
from tests.servers import Api, Server, wait_until

HEADER = "Ocp-Apim-Subscription-Key"
RANK_PATH = "/personalizer/v1.0/rank"
RANK = {"actions": [{"id": each, "features": [{"is": each}]} for each in "ab"], "eventId": "e1"}
OLD, NEW = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"


def keep(client: Any, namespace: Namespace, text: str, *scopes: str) -> dict[str, str]:
    """Make it a key; returns the header that brings it."""
    record = Key(digest(text), scopes).encode()
    client.hset(keys_key(namespace.name), id_of(text) or foreign_id(text), record)
    return {HEADER: text}


def error(answer: Any, status: int) -> Any:
    assert (answer.status_code, answer.content_type) == (status, "application/json"), answer.data
    assert answer.content_length == len(answer.data)
    return answer.json["error"]


@pytest.fixture
def guarded(server: Server, client: Any, namespace: Namespace) -> Iterator[Flask]:
    """Decisions alone, with keys; two of them are from elsewhere."""
    for text in (OLD, NEW):
        keep(client, namespace, text, "decide")
    with deciding(server, namespace, auth="on") as app:
        yield app


def test_beside_the_lists_each_speaks_as_it_does(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace, users=["u1"])
    with answering(server, namespace, decisions="on", cache_timeout_ms=60_000) as app:
        asked = app.test_client()
        assert b'"user":"u1"' in asked.get("/recommendations/u1").data
        assert asked.post(RANK_PATH, json=RANK).status_code == 201
        assert b'"degraded":false' in asked.get("/health/ready").data
        client.hset(Decisions(namespace.name).desk, "policy", "what nobody reads")
        app.extensions["larder"].decider.poll()
        assert b'"degraded":true' in asked.get("/health/ready").data
        assert asked.post(RANK_PATH, json=RANK).status_code == 201
        assert error(asked.get("/personalizer/nowhere"), 404)["code"] == "ResourceNotFound"
        for path in ("/ready", "/status", "/swagger", "/personalizer"):
            assert asked.get(path).content_type == "application/problem+json", path
        assert "decisions" not in asked.get("/").text


def test_there_are_no_decisions_where_they_are_off(server: Server, namespace: Namespace) -> None:
    with answering(server, namespace) as app:
        answer = app.test_client().post(RANK_PATH, json=RANK)
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_two_keys_from_elsewhere_hold_until_one_is_revoked(
    guarded: Flask, server: Server, client: Any, namespace: Namespace
) -> None:
    for text in (OLD, NEW):
        answer = guarded.test_client().post(RANK_PATH, json=RANK, headers={HEADER: text})
        assert answer.status_code == 201
    client.hdel(keys_key(namespace.name), foreign_id(OLD))
    with deciding(server, namespace, auth="on") as app:
        asked = app.test_client()
        told = error(asked.post(RANK_PATH, json=RANK, headers={HEADER: OLD}), 401)
        assert told["code"] == "401" and "nobody here knows this key" in told["message"]
        assert asked.post(RANK_PATH, json=RANK, headers={HEADER: NEW}).status_code == 201


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({}, "this needs a key"),
        ({HEADER: "short"}, "what was sent is no key"),
        ({HEADER: OLD[:-1] + "0"}, "nobody here knows this key"),
        ({"X-API-Key": OLD}, "what was sent is no key"),
        ({"Authorization": f"Bearer {OLD}"}, "what was sent is no key"),
    ],
)
def test_without_a_key_nobody_gets_in_and_hears_how(
    guarded: Flask, caplog: pytest.LogCaptureFixture, headers: dict[str, str], sentence: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = guarded.test_client().post(RANK_PATH, json=RANK, headers=headers)
    told = error(answer, 401)
    assert sentence in told["message"]
    assert "nobody here" in sentence or f"{HEADER}: <key>" in told["message"]
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="larder"'
    assert OLD not in answer.text + caplog.text


def test_a_key_does_what_its_scope_says(server: Server, client: Any, namespace: Namespace) -> None:
    decide = keep(client, namespace, OLD, "decide")
    admin = keep(client, namespace, NEW, "admin")
    read = keep(client, namespace, new_key(bytes), "read")
    with deciding(server, namespace, auth="on") as app:
        asked = app.test_client()
        for base, query in (("/personalizer/v1.0", ""), ("/personalizer", "?api-version=x")):
            for path in ("/rank", "/events/a/b/reward", "/events/e1/activate", "/multislot/rank"):
                answer = asked.post(f"{base}{path}{query}", headers=decide)
                assert answer.status_code not in (401, 403), path
                told = error(asked.post(f"{base}{path}{query}", headers=read), 403)
                assert told["code"] == "InvalidApiAccess" and "'decide'" in told["message"]
        for method, path in (
            ("GET", "configurations/service"),
            ("PUT", "configurations/policy"),
            ("DELETE", "logs"),
            ("PUT", "evaluations/rank"),
            ("POST", "evaluations"),
        ):
            told = error(
                asked.open(f"/personalizer/v1.0/{path}", method=method, headers=decide), 403
            )
            assert "'admin'" in told["message"], path
        assert (
            asked.get("/personalizer/v1.0/configurations/service", headers=admin).status_code == 200
        )
        for path in ("/", "/ready", "/status", "/swagger", "/openapi.yaml", "/health/ready"):
            assert asked.get(path).status_code == 200, path


def test_who_asks_too_often_hears_it_in_the_same_shape(
    server: Server, client: Any, namespace: Namespace
) -> None:
    headers = keep(client, namespace, OLD, "decide")
    with deciding(server, namespace, auth="on", rate=1, workers=1) as app:
        asked = app.test_client()
        assert asked.post(RANK_PATH, json=RANK, headers=headers).status_code == 201
        answer = asked.post(RANK_PATH, json=RANK, headers=headers)
    assert error(answer, 429)["code"] == "429"
    assert int(answer.headers["Retry-After"]) >= 1


class Serving(Api):
    """The API as ``larder decisions serve`` starts it."""

    def __init__(self, cache_url: str, namespace: str, **settings: str) -> None:
        super().__init__(cache_url, namespace, **settings)
        self._command = ["-m", "batch", "decisions", "serve"]


def test_larder_decisions_serve_decides_and_counts_it(
    server: Server, client: Any, namespace: Namespace
) -> None:
    headers = keep(client, namespace, OLD, "decide")
    with Serving(server.url, namespace.name, auth="on", metrics="true") as api:
        wait_until(lambda: get(api.url, "/ready").status == 200)
        assert get(api.url, "/health/ready").json()["status"] == "ready"
        for _ in range(3):
            answer = send(api.url, "POST", RANK_PATH, json.dumps(RANK), headers)
            assert answer.status == 201
        path = "/personalizer/v1.0/events/a%2Fb/reward"
        assert send(api.url, "POST", path, '{"value":1}', headers).status == 204
        large = send(api.url, "POST", RANK_PATH, b" " * 600_000, headers)  # no more than 10 MB
        assert (large.status, large.json()["error"]["code"]) == (400, "BadRequest")
        counts = {
            (each.name, *map(each.labels.get, sorted(each.labels))): each.value
            for family in plain_text(get(api.url, "/metrics").body.decode())
            for each in family.samples
        }
    assert counts["larder_decisions_total", "true"] == 3
    assert counts["larder_rewards_total",] == 1
    assert counts["larder_requests_total", "POST", "decide", "201"] == 3
    assert counts["larder_requests_total", "POST", "reward", "204"] == 1
