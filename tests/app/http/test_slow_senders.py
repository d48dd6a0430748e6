"""Connections that dawdle cost the others no answer."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event

import pytest
import redis

from app.contracts.recommendations import Namespace
from tests.app.wire import get, open_socket, send
from tests.generations import publish_by_hand
from tests.servers import SERVERS, Api, Server, wait_until

SPACE = Namespace("slow-senders")
JSON = {"Content-Type": "application/json"}
POST = b"POST /recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
UNREAD = b"GET /recommendations/u1 HTTP/1.1\r\nHost: x\r\n\r\n"
WHOLE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
BEGINNINGS = {
    "half a head": b"GET /recommendations/u1 HTTP/1.1\r\nHost: x\r\n",
    "half a body": POST + b'Content-Length: 100\r\n\r\n{"users":',
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    "a body behind a whole request": WHOLE + POST + b"Content-Length: 100\r\n\r\n{",
}
EACH = 30


@pytest.fixture(scope="module", params=SERVERS)
def api(server: Server, request: pytest.FixtureRequest) -> Iterator[Api]:
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SPACE)
    settings = {"workers": "1", "request_timeout_ms": "500", "server": request.param}
    with Api(server.url, SPACE.name, **settings) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        yield api


def ask(api: Api) -> None:
    """What a normal client asks is answered."""
    assert get(api.url, "/health/live").status == 200
    assert get(api.url, "/recommendations/u1").json()["source"] == "personal"
    batch = send(api.url, "POST", "/recommendations", b'{"users":["u1"]}', JSON)
    assert batch.json()["answers"][0]["source"] == "personal"


def has_ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_request_that_does_not_become_whole_is_ended(api: Api) -> None:
    """Of each kind many more than there are threads."""
    with ExitStack() as stack:
        slow = []
        for beginning in [*BEGINNINGS.values()] * EACH:
            slow.append(stack.enter_context(open_socket(api.url)))
            slow[-1].sendall(beginning)
        ask(api)
        for each in slow:
            wait_until(lambda each=each: has_ended(each))  # type: ignore[misc]
        ask(api)


def test_a_late_body_behind_answers_that_nobody_reads_is_ended(api: Api) -> None:
    """They wait in the kernel, and so does the refusal."""
    host, port = api.url.removeprefix("http://").split(":")
    with ExitStack() as stack:
        for _ in range(EACH):
            slow = stack.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            slow.connect((host, int(port)))
            slow.sendall(UNREAD * 40 + BEGINNINGS["half a body"])
        for _ in range(20):
            ask(api)


def test_a_byte_now_and_then_is_not_enough(api: Api) -> None:
    ended = Event()

    def drip(connection: socket.socket) -> None:
        while not ended.wait(0.05):
            try:
                connection.send(b"X")
            except OSError:
                return

    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        slow = [stack.enter_context(open_socket(api.url)) for _ in range(8)]
        for number, each in enumerate(slow):
            each.sendall(list(BEGINNINGS.values())[number % 2])
        dripping = [pool.submit(drip, each) for each in slow]
        try:
            while not all(each.done() for each in dripping):
                ask(api)
        finally:
            ended.set()


@pytest.mark.parametrize("api", ["granian"], indirect=True)
def test_connections_that_wait_for_their_turn_are_let_be(api: Api) -> None:
    """gunicorn's worker ends one that has never sent anything, as a head that is late."""
    with ExitStack() as stack:
        silent = [stack.enter_context(open_socket(api.url)) for _ in range(EACH)]
        kept = stack.enter_context(open_socket(api.url))
        late = stack.enter_context(open_socket(api.url))
        kept.sendall(WHOLE)
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
        late.sendall(BEGINNINGS["half a head"])
        wait_until(lambda: has_ended(late))
        for each in [*silent, kept]:
            each.sendall(WHOLE)
            assert each.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_late_body_is_told_so(api: Api) -> None:
    with open_socket(api.url) as slow:
        slow.sendall(BEGINNINGS["half a body"])
        said = b"".join(iter(lambda: slow.recv(65536), b""))
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in said
    assert b"must each be there within 0.5 seconds" in said
