"""What HTTP itself refuses, before the application is asked: as problem+json like all others."""

from http import HTTPStatus

from gunicorn.asgi import parser as chunks
from gunicorn.http import errors as heads

from app.http.problems import CUT_SHORT, TOO_SLOW, of_http

MISTAKES: tuple[type[Exception], ...] = (heads.ParseException, chunks.ParseError)
"""The errors that gunicorn's parsers raise for what a client sent."""

_STATUS: dict[type[Exception], HTTPStatus] = {
    heads.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    heads.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    chunks.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    heads.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    heads.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}
_DETAIL_CHARACTERS = 200


def of_mistake(error: Exception) -> bytes:
    """The answer to what a parser refused."""
    status = _STATUS.get(type(error), HTTPStatus.BAD_REQUEST)
    return _answer(status, str(error)[:_DETAIL_CHARACTERS])


def too_slow(seconds: float) -> bytes:
    """The answer to a request of which too little came in time."""
    return _answer(HTTPStatus.REQUEST_TIMEOUT, TOO_SLOW.format(seconds))


def cut_short() -> bytes:
    """The answer to a client that ended in the midst of its request."""
    return _answer(HTTPStatus.BAD_REQUEST, CUT_SHORT)


def failed() -> bytes:
    """The answer when the application has none."""
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the API made a mistake; its log says which")


def _answer(status: HTTPStatus, detail: str) -> bytes:
    body = of_http(status, detail)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/problem+json\r\n"
        "Cache-Control: no-store\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode("latin-1")
