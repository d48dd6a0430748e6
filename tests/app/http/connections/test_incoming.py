"""A request is whole when all of it is there, in however many pieces it came."""

import pytest
from gunicorn.config import Config

from app.http.connections.incoming import HEAD_BYTES, Incoming, Stage
from app.http.connections.refusals import MISTAKES, of_mistake

BODY = b'{"users":["u1"]}'
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n" + BODY
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'3;a=b\r\n{"u\r\nD\r\nsers":["u1"]}\r\n0\r\nTrailer-Field: x\r\n\r\n'
)
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


def incoming(max_body_bytes: int = 1024) -> Incoming:
    return Incoming(Config(), ("127.0.0.1", 1), max_body_bytes)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 10_000])
def test_requests_are_the_same_however_they_are_cut(size: int) -> None:
    sent = GET + CHUNKED + POST + b"\r\n" + GET + CHUNKED
    came, found = incoming(), []
    for at in range(0, len(sent), size):
        came.feed(sent[at : at + size])
        while whole := came.next():
            found.append((whole.request.path, whole.body, whole.length))
    a, b, c = ("/a", b"", 0), ("/b", BODY, 16), ("/c", BODY, 16)
    assert found == [a, c, b, a, c]
    assert (came.stage, came.size) == (Stage.NOTHING, 0)


@pytest.mark.parametrize("request_", [GET, POST, CHUNKED])
def test_all_but_the_last_byte_is_not_a_request(request_: bytes) -> None:
    came = incoming()
    for at in range(1, len(request_)):
        came.feed(request_[at - 1 : at])
        assert came.next() is None
    end_of_head = request_.index(b"\r\n\r\n") + 4
    assert came.stage is (Stage.BODY if end_of_head < len(request_) else Stage.HEAD)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 9000, 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nHost: y\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\na: " + b"b" * 9000, 431),
        (HEAD + b"Transfer-Encoding: magic\r\n\r\n", 501),
        (HEAD + b"Expect: a miracle\r\n\r\n", 417),
        (b"GET /" + b"a" * 4100, 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 8200 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\na: " + b"b" * HEAD_BYTES, 431),
    ],
)
def test_what_is_wrong_is_refused_before_more_comes(sent: bytes, status: int) -> None:
    came = incoming()
    came.feed(sent)
    with pytest.raises(MISTAKES) as raised:
        came.next()
    answer = of_mistake(raised.value)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nContent-Type: application/problem+json\r\n" in answer


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 1025\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n401\r\n" + b"x" * 1025,
    ],
)
def test_a_body_that_is_too_large_is_not_waited_for(sent: bytes) -> None:
    came = incoming(1024)
    came.feed(sent)
    whole = came.next()
    assert whole is not None
    assert (whole.body, whole.length) == (b"", 1025)


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 1024\r\n\r\n" + b"x" * 1024,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n",
    ],
)
def test_the_largest_body_is_taken(sent: bytes) -> None:
    came = incoming(1024)
    came.feed(sent)
    whole = came.next()
    assert whole is not None
    assert (whole.body, whole.length) == (b"x" * 1024, 1024)


def test_a_client_that_waits_for_leave_to_send_is_told_once() -> None:
    came = incoming()
    came.feed(HEAD + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert came.next() is None
    assert came.wants_to_be_told
    came.feed(b"x")
    assert came.next() is not None
    assert not came.wants_to_be_told
