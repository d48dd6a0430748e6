"""The middleware answers what the Flask route would, to the byte; the rest it leaves to Flask."""

import json
from typing import Any
from urllib.parse import quote

import pytest
import redis
from werkzeug.test import Client

from app.api.direct import Direct
from app.contracts.events import Actor, Streams
from app.contracts.recommendations import Namespace
from app.http.factory import create_app
from app.settings import Settings
from tests.app.served import answering, following, watching
from tests.generations import publish_by_hand
from tests.servers import Server

USERS = ["u1", "a/b", "//", " ", "Zoë \U0001f600", 'q"\\', "x" * 200, "line\nbreak"]
PATHS = [
    *(f"/recommendations/{quote(user, safe='')}" for user in [*USERS, "a stranger", "y" * 1024]),
    "/recommendations/u1?n=2",
    "/recommendations/u1?n=0",
    "/recommendations/a%20stranger?fallback=none",
    "/recommendations/",
    "/recommendations/%FF",
    "/recommendations/" + "y" * 1025,
    "/items/i1/similar",
    "/nowhere",
]


@pytest.mark.parametrize("away", [False, True], ids=["cache there", "cache away"])
def test_both_ways_give_the_same_answers(own_server: Server, away: bool) -> None:
    namespace = Namespace("direct")
    with redis.Redis.from_url(own_server.url) as own:
        publish_by_hand(own, namespace, users=USERS)
    with watching(own_server, namespace) as watcher:
        app = create_app(Settings(namespace=namespace.name, max_age_seconds=7), watcher)
        assert isinstance(app.wsgi_app, Direct)
        direct, flask = Client(app.wsgi_app), Client(app.wsgi_app._flask)
        direct.get("/recommendations/u1")
        if away:
            own_server.kill()
            watcher.poll()
        for path in PATHS:
            for headers in ({}, {"If-None-Match": f'"{watcher.live().etag}"'}):
                mine, theirs = (each.get(path, headers=headers) for each in (direct, flask))
                assert (mine.status, mine.data) == (theirs.status, theirs.data), path
                assert dict(mine.headers) == dict(theirs.headers), path


def test_both_ways_give_the_same_answers_where_users_did_something(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace, users=USERS)
    with following(server, namespace, max_age_seconds=7) as worker:
        assert isinstance(worker.app.wsgi_app, Direct)
        direct, flask = Client(worker.app.wsgi_app), Client(worker.app.wsgi_app._flask)
        for user in ("u1", "a/b", "a stranger"):
            worker.did("purchase", "i1", user)
        etag = direct.get("/recommendations/u1").headers["ETag"]
        for path in PATHS:
            for headers in ({}, {"If-None-Match": etag}):
                mine, theirs = (each.get(path, headers=headers) for each in (direct, flask))
                assert (mine.status, mine.data) == (theirs.status, theirs.data), path
                assert dict(mine.headers) == dict(theirs.headers), path


CLICK = {"id": "e1", "type": "click", "user": "u1", "item": "i1"}
BODIES = [
    json.dumps(CLICK),
    json.dumps([CLICK, 5]),
    json.dumps({"type": "click"}),
    "{",
    "",
    "[" * 100_000,
    " " * 131_073,
]
JSON = {"Content-Type": "application/json"}
ASKED: list[tuple[str, dict[str, str]]] = [
    ("/events", JSON),
    ("/events", {"Content-Type": "text/plain"}),
    ("/events", {}),
    ("/events", {**JSON, "Content-Encoding": "gzip"}),
    ("/events", {**JSON, "Origin": "https://evil.example"}),
    ("/events?user=u1", JSON),
    ("/v1/track", JSON),
]


def test_both_ways_take_the_same_events(server: Server, client: Any, namespace: Namespace) -> None:
    key = Streams(namespace.name).events
    with answering(server, namespace, events=True, cache_timeout_ms=60_000) as app:
        assert isinstance(app.wsgi_app, Direct)
        direct, flask = Client(app.wsgi_app), Client(app.wsgi_app._flask)
        for path, headers in ASKED:
            for body in BODIES:
                asked = {"path": path, "data": body, "headers": headers}
                mine, added = direct.post(**asked), client.xlen(key)
                theirs = flask.post(**asked)
                assert (mine.status, mine.data) == (theirs.status, theirs.data), asked
                assert dict(mine.headers) == dict(theirs.headers), asked
                assert client.xlen(key) == 2 * added, asked
                client.delete(key)


def test_what_may_have_been_written_is_not_written_again(
    server: Server, client: Any, namespace: Namespace
) -> None:
    streams = Streams(namespace.name)
    client.set(streams.recent(Actor.user("u1")), "what nobody expected")
    with answering(server, namespace, events=True, cache_timeout_ms=60_000) as app:
        answer = app.test_client().post("/events", json=CLICK)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert client.xlen(streams.events) == 1
