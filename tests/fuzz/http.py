"""Raw requests: right ones with bytes flipped, cut, doubled and replaced by nasty ones."""

import io
import socket
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from random import Random

from tests.app.wire import open_socket
from tests.fuzz.findings import Findings
from tests.fuzz.stack import Stack

_JSON = b"POST /recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_EVENT = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
REQUESTS = (
    b"GET /recommendations/u1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /recommendations/u1?n=3&fallback=none HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n",
    b"GET /items/i1/similar?n=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /generation HTTP/1.0\r\n\r\n",
    b"GET /health/ready HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    _JSON + b'Content-Length: 25\r\n\r\n{"users":["u1","x"],"n":3}'[:-1] + b"}",
    _JSON + b'Transfer-Encoding: chunked\r\n\r\nf\r\n{"users":["u1"]\r\n1\r\n}\r\n0\r\n\r\n',
    _EVENT + b'Content-Length: 52\r\n\r\n{"type":"click","user":"zz","item":"i1","value":1e9}',
    _EVENT + b'Content-Length: 43\r\n\r\n{"events":[{"type":"hide","session":"s1"}]}',
    _EVENT
    + b'Content-Length: 78\r\n\r\n{"eventList":[{"eventType":"click","itemId":"i1","sentAt":1}]'
    b',"sessionId":"s"}',
    _EVENT.replace(b"/events", b"/v1/batch")
    + b'Content-Length: 74\r\n\r\n{"batch":[{"userId":"zz","event":"Buy","properties":'
    b'{"product_id":"i1"}}]}',
    _JSON + b"Content-Length: 200000\r\nExpect: 100-continue\r\n\r\n" + b"[" * 150_000,
)
NASTY = (
    *(
        b"\x00",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"%",
        b"%ff",
        b"%00",
        b"%2f..%2f",
        b"?",
        b"#",
    ),
    *(
        b"\xff\xfe",
        "é".encode(),
        b"-1",
        b"99999999999999999999",
        b"chunked",
        b"HTTP/2.0",
        b"zz\r\n",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: y\r\n",
        b"Expect: x\r\n",
    ),
    *(b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"A: " + b"a" * 9000 + b"\r\n", b"a" * 5000),
    *(b'"users":null', b"{" * 2000, b"NaN", b"\\ud800", b"X: y\r\n" * 150),
)
TRIES_AT_A_TIME = 50


def attack(stack: Stack, random: Random, seconds: float) -> Findings:
    """Send odd requests for so long."""
    findings = Findings("raw HTTP", stack.server)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        sent = [mutated(random) for _ in range(TRIES_AT_A_TIME)]
        for request in sent:
            findings.tries += 1
            _try(stack, request, findings)
        if "Traceback" in (text := stack.new_log()):
            findings.log(text, _culprits(stack, sent))
        stack.compare(findings, random.sample(list(stack.lists), 3))
    return findings


def mutated(random: Random) -> bytes:
    """A request with up to four wounds; some have none, so that what is right stays right."""
    request = random.choice(REQUESTS)
    for _ in range(random.randrange(5)):
        start = random.randrange(len(request) + 1)
        end = min(start + random.choice((0, 0, 1, 3, 20)), len(request))
        piece = random.choice((random.choice(NASTY), random.randbytes(2), request[start:end] * 2))
        request = request[:start] + piece + request[end:]
    return request


def _culprits(stack: Stack, requests: list[bytes]) -> list[bytes]:
    """Which of the requests bring a traceback about, when each is sent again alone."""
    found = []
    for request in requests:
        _try(stack, request, Findings("again"))
        if "Traceback" in stack.new_log():
            found.append(request)
    return found or requests


def _try(stack: Stack, request: bytes, findings: Findings) -> None:
    try:
        received = exchange(stack.url, request)
    except TimeoutError:
        findings.add("no answer and no end within 30 s", request)
        return
    for answer in _answers(received, request):
        if isinstance(answer, str):
            findings.add(answer, request)
            return
        headers = {name.lower(): value for name, value in answer.getheaders()}
        findings.answer(answer.status, headers, answer.read(), request)
        if answer.status == 500:
            findings.add("a client's mistake is answered as ours", request)
    if not received:
        findings.answers["closed"] += 1


def exchange(url: str, request: bytes) -> bytes:
    """All that comes back for these bytes, which are all that is sent. Raises TimeoutError."""
    received = bytearray()
    with open_socket(url) as connection:
        connection.settimeout(30)
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                received += piece
        except TimeoutError:
            raise
        except OSError:
            pass  # the server may close early: what it said before counts
    return bytes(received)


class _Received:
    """Bytes that were received, as the part of a socket that HTTPResponse wants."""

    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream

    def makefile(self, mode: str) -> io.BytesIO:
        return self._stream


class _Kept(io.BytesIO):
    def close(self) -> None:
        """HTTPResponse closes what it has read; the next answer is still in here."""


def _answers(received: bytes, request: bytes) -> Iterator[HTTPResponse | str]:
    """The answers one by one; only the first when one without a body may be among them."""
    stream = _Kept(received)
    method = request.lstrip(b"\r\n").split(b" ")[0].decode("latin-1")
    while stream.tell() < len(received):
        answer = HTTPResponse(_Received(stream), method=method)  # type: ignore[arg-type]
        try:
            answer.begin()
        except (HTTPException, ValueError) as error:
            yield f"no answer of HTTP ({type(error).__name__})"
            return
        yield answer
        if b"HEAD" in request:
            return
