"""The API under each server, asked over a socket: what the test client of Flask cannot show."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from threading import Event
from typing import Any
from urllib.parse import quote

import pytest
import redis

from app.contracts.recommendations import Namespace
from batch.generations.registry import Generations
from tests.app.wire import get, kept_alive, open_socket, send
from tests.generations import publish_by_hand
from tests.servers import SERVERS, Api, Gunicorn, Server, wait_until

FIRST = "20260101T000000Z-0001"
SECOND = "20260101T000001Z-0002"

SHOP = Namespace("over-http")
PATHS = [
    ("u1", "u1"),
    ("..", ".."),
    ("a/../b", "a/../b"),
    ("../../health/live", "../../health/live"),
    ("./a", "./a"),
    ("a//b/", "a//b/"),
    ("/a", "/a"),
    ("a%2Fb", "a/b"),
    ("a%252Fb", "a%2Fb"),
    ("%00", "\x00"),
    ("a%0A", "a\n"),
    ("a%0D%0AX-Evil:%201", "a\r\nX-Evil: 1"),
    ("a+b%20c", "a+b c"),
    ("%F0%9F%8E%AC", "🎬"),
    (quote("é" * 512), "é" * 512),
]
USERS = [user for _, user in PATHS]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module", params=SERVERS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which server answers."""
    return str(request.param)


@pytest.fixture(scope="module")
def url(server: Server, kind: str) -> Iterator[str]:
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SHOP, users=USERS, items=USERS)
    with Api(server.url, SHOP.name, workers="1", server=kind) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        yield api.url


@pytest.mark.parametrize(("path", "user"), PATHS)
def test_any_id_is_found_under_its_path(url: str, path: str, user: str) -> None:
    answer = get(url, f"/recommendations/{path}")
    assert answer.status == 200
    assert "X-Evil" not in answer.headers
    assert (answer.json()["user"], answer.json()["source"]) == (user, "personal")
    similar = get(url, f"/items/{path}/similar?n=1").json()
    assert similar["item"] == user


def test_bytes_that_are_no_text_are_refused(url: str) -> None:
    answer = get(url, "/recommendations/M%FCller")
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "percent-encoded UTF-8" in answer.json()["detail"]


def test_head_has_the_length_of_get_and_no_body(url: str) -> None:
    got, head = get(url, "/recommendations/u1"), send(url, "HEAD", "/recommendations/u1")
    assert head.body == b""
    assert head.headers["Content-Length"] == got.headers["Content-Length"] == str(len(got.body))


def test_who_holds_the_answer_gets_304_without_a_body(url: str) -> None:
    tag = get(url, "/recommendations/u1").headers["ETag"]
    again = send(url, "GET", "/recommendations/u1", headers={"If-None-Match": f'"x", W/{tag}'})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_oversized_body_is_refused_however_it_is_sent(url: str, chunked: bool) -> None:
    body = b'{"users":["u1"]}'.ljust(524_289)
    sent = iter([body[:70_000], body[70_000:]]) if chunked else body
    answer = send(url, "POST", "/recommendations", sent, JSON)
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_chunked_body_is_read(url: str) -> None:
    parts = iter([b'{"users":', b'["u1"]}'])
    answer = send(url, "POST", "/recommendations", parts, JSON)
    assert answer.json()["answers"][0]["source"] == "personal"


def test_a_connection_can_be_used_again_after_an_error(url: str) -> None:
    with kept_alive(url) as connection:
        statuses = []
        for path in ("/nowhere", "/recommendations/u1?n=0", "/recommendations/u1"):
            connection.request("GET", path)
            response = connection.getresponse()
            assert not response.will_close
            statuses.append(response.status)
            response.read()
        assert statuses == [404, 400, 200]


def test_pointer_and_rollback_are_followed_while_no_answer_mixes_generations(
    server: Server, client: Any, namespace: Namespace, kind: str
) -> None:
    users = [f"u{number}" for number in range(60)]
    items = {FIRST: [f"first-{n}" for n in range(300)], SECOND: [f"second-{n}" for n in range(70)]}
    publish_by_hand(client, namespace, FIRST, users, items[FIRST], k=5)
    with Api(server.url, namespace.name, workers="2", watch_interval_ms="50", server=kind) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        stop = Event()
        with ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(_ask, api.url, users, stop, thread) for thread in range(3)]
            try:
                publish_by_hand(client, namespace, SECOND, users, items[SECOND], k=4)
                _felt_by_every_worker(api.url, SECOND)
                for _ in range(3):
                    Generations(client, namespace).roll_back(FIRST)
                    _felt_by_every_worker(api.url, FIRST)
                    Generations(client, namespace).roll_back(SECOND)
                    _felt_by_every_worker(api.url, SECOND)
            finally:
                stop.set()
            seen = {pair for each in asking for pair in each.result()}
    assert seen == {(FIRST, "first"), (SECOND, "second")}


def _ask(url: str, users: list[str], stop: Event, thread: int) -> set[tuple[str, str]]:
    """Keep asking until told to stop; returns each pair of generation and items that was seen."""
    seen: set[tuple[str, str]] = set()
    turn = thread
    while not stop.wait(0.02):  # who watches gets a turn too
        turn += 1
        body = json.dumps({"users": [*users[turn % 50 :][:9], "stranger"]})
        answers = [
            send(url, "POST", "/recommendations", body, JSON),
            get(url, f"/recommendations/{users[turn % 60]}"),
            get(url, "/recommendations/stranger"),
        ]
        for answer in answers:
            assert answer.status == 200
            found = answer.json()
            assert {each["generation"] for each in found.get("answers", [])} <= {
                found["generation"]
            }
            for each in found.get("answers", [found]):
                assert "degraded" not in each
                for entry in each["recommendations"]:
                    seen.add((found["generation"], entry["item"].split("-")[0]))
    return seen


def _felt_by_every_worker(url: str, generation: str) -> None:
    """Return when forty answers in a row are of that generation."""

    def told() -> bool:
        return bool(get(url, "/generation").json()["generation"] == generation)

    wait_until(lambda: all(told() for _ in range(40)))


def test_a_request_in_flight_is_answered_when_the_api_is_told_to_end(
    server: Server, client: Any, namespace: Namespace, kind: str
) -> None:
    publish_by_hand(client, namespace)
    body = b'{"users":["u1"]}'
    head = b"POST /recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with Api(server.url, namespace.name, workers="1", server=kind) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        with (
            open_socket(api.url) as slow,
            kept_alive(api.url) as other,
            ThreadPoolExecutor(1) as pool,
        ):
            slow.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
            assert not _ends(other)
            stopping = pool.submit(api.stop)
            wait_until(lambda: _ends(other))
            slow.sendall(body[5:])
            answer = b"".join(iter(lambda: slow.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b'"source":"personal"' in answer
            assert stopping.result() == 0


def _ends(connection: HTTPConnection) -> bool:
    """Whether the worker behind this connection takes leave with its answer, or has gone."""
    try:
        connection.request("GET", "/health/live")
        response = connection.getresponse()
        response.read()
    except (HTTPException, OSError):
        return True
    return response.headers["Connection"] == "close"


def test_an_idle_connection_does_not_hold_up_the_end(server: Server, namespace: Namespace) -> None:
    """What is being answered would have an hour."""
    application = "--graceful-timeout 3600 app.http.wsgi:app"
    settings = {"cache_url": server.url, "namespace": namespace.name, "workers": "1"}
    with Gunicorn(application, **settings) as api:
        with kept_alive(api.url) as connection:
            assert not _ends(connection)
            for _ in range(20):  # by then the worker has put the connection aside
                get(api.url, "/health/live")
            assert api.stop() == 0
