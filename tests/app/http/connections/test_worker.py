"""Clients that dawdle, err or never read cost no thread and no answer of others."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import redis

from app.contracts.recommendations import Namespace
from app.http.problems import KINDS
from tests.app.wire import get, open_socket, send
from tests.generations import publish_by_hand
from tests.servers import Api, Gunicorn, Server, wait_until

ECHO = "tests.app.http.connections.applications:echo"
SPACE = Namespace("connections")
JSON = {"Content-Type": "application/json"}
POST = b"POST /recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
DAWDLING = [
    b"",
    b"G",
    b"GET / HTTP/1.1\r\nHost: x\r\n",
    POST + b"Content-Length: 10\r\n\r\n",
    POST + b"Content-Length: 10\r\n\r\nhalf",
    CHUNKED,
    CHUNKED + b"a\r\nhalf",
    CHUNKED + b"4\r\nhalf\r\n",
    CHUNKED + b"0\r\n",
]
"""What a client may send that then sends no more."""


@contextmanager
def said_to(path: Path) -> Iterator[None]:
    """What processes write that are started meanwhile goes to a file."""
    saved, file = os.dup(2), os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(file)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "api.log"


@pytest.fixture(scope="module")
def url(server: Server, log: Path) -> Iterator[str]:
    """An API of one worker with one thread."""
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SPACE)
    with ExitStack() as stack:
        with said_to(log):
            api = Api(server.url, SPACE.name, workers="1", threads="1")
            stack.enter_context(api)
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        yield api.url


def received(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    return b"".join(iter(lambda: client.recv(65_536), b""))


def exchanged(url: str, sent: bytes) -> bytes:
    """The answer to these bytes and no more."""
    with open_socket(url) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        return received(client)


def sent_to(stack: ExitStack, url: str, sent: bytes) -> socket.socket:
    client = stack.enter_context(open_socket(url))
    client.sendall(sent)
    return client


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (CHUNKED + b"zz\r\n", 400),
        (CHUNKED + b"-1\r\n", 400),
        (POST + b'Content-Length: 99\r\n\r\n{"users":["u1"]}', 400),
        (POST + b"Content-Length: 524289\r\n\r\n", 413),
        (b"GET /" + b"a" * 5000, 414),
        (POST + b"Expect: a miracle\r\n\r\n", 417),
        (POST + b"a: " + b"b" * 9000 + b"\r\n\r\n", 431),
        (POST + b"Transfer-Encoding: magic\r\n\r\n", 501),
    ],
)
def test_every_error_of_http_is_a_problem_and_no_traceback(
    url: str, log: Path, sent: bytes, status: int
) -> None:
    head, _, body = exchanged(url, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nContent-Type: application/problem+json" in head
    problem = json.loads(body)
    assert (problem["status"], problem.keys()) == (status, {"type", "title", "status", "detail"})
    assert KINDS[problem["type"]].status == status
    assert "Traceback" not in log.read_text()


def test_a_header_named_script_name_changes_nothing(url: str) -> None:
    for value in ("/x", "/recommendations"):
        answer = get(url, "/recommendations/u1", SCRIPT_NAME=value, PATH_INFO=value)
        assert (answer.status, answer.json()["source"]) == (200, "personal")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_the_largest_size_is_taken(url: str, chunked: bool) -> None:
    body = b'{"users":["u1"]}'.ljust(524_288)
    answer = send(url, "POST", "/recommendations", iter([body]) if chunked else body, JSON)
    assert answer.status == 200


def test_leave_to_send_the_body_is_given_once(url: str) -> None:
    with open_socket(url) as client:
        client.sendall(
            POST + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 16\r\n\r\n"
        )
        assert client.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b'{"users":["u1"]}')
        assert received(client).startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_in_their_order(url: str) -> None:
    asked = b"".join(
        b"GET /recommendations/stranger-%d HTTP/1.1\r\nHost: x\r\n\r\n" % number
        for number in range(50)
    )
    answer = exchanged(url, asked)
    places = [answer.index(b'"stranger-%d"' % number) for number in range(50)]
    assert places == sorted(places)
    assert answer.count(b"HTTP/1.1 200 ") == 50


def test_clients_that_dawdle_hold_no_thread(url: str) -> None:
    with ExitStack() as stack:
        clients = [sent_to(stack, url, sent) for sent in DAWDLING * 5]
        for number in range(20):
            assert get(url, f"/recommendations/u{number}").status == 200
        for client in clients:
            client.sendall(b"x")  # they are still connected
    assert get(url, "/health/live").status == 200


@pytest.mark.parametrize("sent", DAWDLING)
def test_a_request_that_does_not_come_in_time_is_given_up(dawdled: str, sent: bytes) -> None:
    with ExitStack() as stack:
        answer = received(sent_to(stack, dawdled, sent))
    assert answer.startswith(b"HTTP/1.1 408 ") if sent else answer == b""


@pytest.fixture(scope="module")
def dawdled() -> Iterator[str]:
    with Gunicorn(ECHO, request_timeout_ms="500", workers="1", threads="1") as api:
        yield api.url


def test_a_dribble_does_not_renew_the_time(dawdled: str) -> None:
    answer = b""
    with open_socket(dawdled) as client:
        client.settimeout(0.01)
        while not answer:
            client.sendall(b"a")
            with suppress(TimeoutError):
                answer = client.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_holds_no_thread_and_not_for_ever(dawdled: str) -> None:
    with ExitStack() as stack:
        asked = b"GET /8000000 HTTP/1.1\r\nHost: x\r\n\r\n"
        clients = [sent_to(stack, dawdled, asked) for _ in range(2)]
        for _ in range(5):
            assert get(dawdled, "/5").body == b"xxxxx"
        assert (
            len(received(sent_to(stack, dawdled, asked + b"GET /1 HTTP/1.0\r\n\r\n"))) > 8_000_000
        )
        (process,) = master(dawdled).children()
        wait_until(lambda: not connected(process))
        assert clients


def test_a_mistake_of_the_application_is_a_problem() -> None:
    with Gunicorn("tests.app.http.connections.applications:fails", workers="1") as api:
        for _ in range(2):
            answer = get(api.url, "/")
            assert (answer.status, answer.json()["status"]) == (500, 500)


def test_a_flood_of_idle_connections_locks_nobody_out() -> None:
    application = f"--worker-connections 32 {ECHO}"
    with Gunicorn(application, workers="1") as api, ExitStack() as stack:
        known = sent_to(stack, api.url, b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert known.recv(65_536).endswith(b"x")
        idle = [sent_to(stack, api.url, b"") for _ in range(200)]
        assert get(api.url, "/5").body == b"xxxxx"
        assert idle[0].recv(1) == b""
        known.sendall(b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert known.recv(65_536).endswith(b"xx")


def master(url: str) -> psutil.Process:
    """The process of gunicorn that starts the workers of that server."""
    bind = url.removeprefix("http://")
    children = psutil.Process().children()
    (found,) = [each for each in children if each.environ().get("LARDER_BIND") == bind]
    return found


def connected(process: psutil.Process) -> list[int]:
    """The clients that a worker has."""
    found = process.net_connections("tcp")
    return [each.raddr.port for each in found if each.status == psutil.CONN_ESTABLISHED]


@pytest.fixture(scope="module")
def shared() -> Iterator[str]:
    with Gunicorn(ECHO, workers="2") as api:
        wait_until(lambda: len(master(api.url).children()) == 2)
        for process in master(api.url).children():  # each answers when the other is frozen
            process.suspend()
            wait_until(lambda: get(api.url, "/1").status == 200)
            process.resume()
        yield api.url


def burst(url: str, size: int) -> list[int]:
    """How many connections of a burst each worker has taken."""
    host, port = url.removeprefix("http://").split(":")
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(size)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex((host, int(port)))
        for client in clients:
            client.setblocking(True)
            client.sendall(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(client.recv(65_536).endswith(b"x") for client in clients)
        shares = [len(connected(process)) for process in master(url).children()]
    wait_until(lambda: not any(connected(process) for process in master(url).children()))
    return shares


@pytest.mark.parametrize("size", [4, 16, 64])
def test_a_burst_of_connections_is_shared_evenly(shared: str, size: int) -> None:
    """On a busy machine a worker may be late, so that the other one takes more once."""
    bursts = [burst(shared, size) for _ in range(5)]
    even = [shares for shares in bursts if max(shares) - min(shares) <= size // 8]
    assert len(even) >= 3, bursts


def test_connections_do_not_wait_for_a_worker_that_is_stuck(shared: str) -> None:
    stuck, _ = master(shared).children()
    stuck.suspend()
    try:
        assert all(get(shared, "/1").status == 200 for _ in range(20))
    finally:
        stuck.resume()


def test_a_worker_that_was_killed_leaves_no_trace(shared: str) -> None:
    killed, _ = master(shared).children()
    os.kill(killed.pid, signal.SIGKILL)
    wait_until(lambda: killed not in (found := master(shared).children()) and len(found) == 2)
    wait_until(lambda: max(burst(shared, 16)) == 8)
