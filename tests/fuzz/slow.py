"""Connections that dawdle: nothing, half a head, half a body, half a chunk, a byte now and then."""

import selectors
import socket
import time
from random import Random

from tests.app.wire import open_socket
from tests.fuzz.findings import Findings
from tests.fuzz.stack import REQUEST_TIMEOUT_MS, Stack

CONNECTIONS = 400
PATIENCE_SECONDS = {"gunicorn": 20 + REQUEST_TIMEOUT_MS / 1000, "granian": 90}
"""Until the last one is ended; with granian those that it takes for idle, see app/README.md."""
_POST = b"POST /recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BEGINNINGS = (
    b"",
    b"G",
    b"GET /recommendations/u1 HTTP/1.1\r\nHost: x\r\n",
    _POST + b"Content-Length: 1000\r\n\r\n{",
    _POST + b"Transfer-Encoding: chunked\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    b"GET /recommendations/u1 HTTP/1.1\r\nHost: x\r\n\r\nGET /recom",
)


def attack(stack: Stack, random: Random, seconds: float) -> Findings:
    """Keep hundreds of such connections open for so long, and ask for lists meanwhile."""
    findings = Findings("slow connections", stack.server)
    deadline = time.monotonic() + seconds
    opened: list[socket.socket] = []
    try:
        while time.monotonic() < deadline:
            while len(opened) < CONNECTIONS:
                opened.append(_begun(stack.url, random.choice(BEGINNINGS)))
                findings.tries += 1
            stack.compare(findings, random.sample(list(stack.lists), 20))
            opened = _still_open(random, opened, findings)
        _wait_for_the_end(opened, findings)
    finally:
        for each in opened:
            each.close()
    findings.log(stack.new_log(), "slow connections")
    return findings


def _begun(url: str, beginning: bytes) -> socket.socket:
    opened = open_socket(url)
    opened.sendall(beginning)
    opened.setblocking(False)
    return opened


def _still_open(
    random: Random, opened: list[socket.socket], findings: Findings
) -> list[socket.socket]:
    """Send a byte on some of them, and close those that the server has ended."""
    left = []
    for each in opened:
        if _is_ended(each):
            findings.answers["ended by the server"] += 1
            each.close()
            continue
        left.append(each)
        if random.random() < 0.2:
            _dribble(each)
    return left


def _dribble(connection: socket.socket) -> None:
    try:
        connection.send(b"a")
    except OSError:
        pass  # it was ended just now, as the next look will tell


def _is_ended(connection: socket.socket) -> bool:
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _wait_for_the_end(opened: list[socket.socket], findings: Findings) -> None:
    """The server must end each of them by itself."""
    deadline = time.monotonic() + PATIENCE_SECONDS[findings.server]
    with selectors.DefaultSelector() as selector:
        for each in opened:
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(0.5):
                assert isinstance(key.fileobj, socket.socket)
                if _is_ended(key.fileobj):
                    selector.unregister(key.fileobj)
        if left := len(selector.get_map()):
            findings.add(f"{left} of {len(opened)} are held for ever", "slow connections")
