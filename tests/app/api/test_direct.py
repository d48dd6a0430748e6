"""The middleware answers what the Flask route would, to the byte; the rest it leaves to Flask."""

from typing import Any
from urllib.parse import quote

import pytest
import redis
from werkzeug.test import Client

from app.api.direct import Direct
from app.contracts.recommendations import Namespace
from app.http.factory import create_app
from app.settings import Settings
from tests.app.served import following, watching
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
