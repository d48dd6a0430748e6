"""Every error as RFC 9457 ``application/problem+json``: {"type","title","status","detail"}.

The type is a path that answers with a sentence. What is made of errors of ``app.errors`` is named
there, what HTTP has a name for is named here.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Flask, Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    NotFound,
    RequestEntityTooLarge,
)

from app.api import freshness
from app.api.routes import is_explorer
from app.contracts.generations import BrokenRecord
from app.errors import BadSettings, ServingError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

log = logging.getLogger("larder.api")


PATH = "/problems/"
HTTP = {
    400: ("Bad Request", "The request is no HTTP, or it ended before all of it was there."),
    404: ("Not Found", "Nothing is at this path."),
    405: ("Method Not Allowed", "The path takes other methods, which Allow names."),
    408: ("Request Timeout", "The request did not arrive within LARDER_REQUEST_TIMEOUT_MS."),
    413: ("Request Entity Too Large", "The body is larger than LARDER_MAX_BODY_BYTES."),
    414: ("Request URI Too Long", "The first line is longer than 4,094 bytes."),
    415: ("Unsupported Media Type", "The body is of another type, or packed in another way."),
    417: ("Expectation Failed", "Expect asks for something else than 100-continue."),
    431: ("Request Header Fields Too Large", "There are too many headers, or one is too long."),
    500: ("Internal Server Error", "The API made a mistake, and its log says which."),
    501: ("Not Implemented", "The request uses a transfer coding that the API does not have."),
}
_BROKEN = ("Broken record", "The cache holds bytes that this version did not write.")


@dataclass(frozen=True, slots=True)
class Kind:
    """What problems of one type have in common."""

    status: int
    title: str
    sentence: str


def _kinds() -> Iterator[Kind]:
    for each in ServingError.__subclasses__():
        if each is not BadSettings:
            sentence = (each.__doc__ or "").partition("\n")[0]
            yield Kind(each.status, each.title, sentence)
    yield Kind(500, *_BROKEN)
    for status, (title, sentence) in HTTP.items():
        yield Kind(status, title, sentence)


def _path(title: str) -> str:
    return PATH + title.lower().replace(" ", "-")


KINDS: Mapping[str, Kind] = {_path(each.title): each for each in _kinds()}
"""By their types."""

TOO_SLOW = "the head and the body of a request must each be there within {:g} seconds"
TOO_LARGE = "the body must be at most {} bytes (LARDER_MAX_BODY_BYTES): send less at a time"
CUT_SHORT = "the request ended before all of it was there"


def register(app: Flask) -> None:
    """Give all errors, Flask's own included, the one shape."""
    app.register_error_handler(ServingError, _serving_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(BrokenRecord, _broken_record)
    app.register_error_handler(Exception, _unexpected)
    app.add_url_rule(f"{PATH}<name>", "problem", _explained)


def _serving_error(error: ServingError) -> Response:
    response = _problem(as_json(error.status, error.title, str(error)), error.status)
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    return response


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if error.code is None or error.code < 400:
        return error
    response = _problem(of_http(error.code, _detail(error)), error.code)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _detail(error: HTTPException) -> str:
    if isinstance(error, RequestEntityTooLarge):
        return TOO_LARGE.format(current_app.config["MAX_CONTENT_LENGTH"])
    if not isinstance(error, NotFound):
        return error.description or error.name
    if request.path == "/metrics":
        return "this deployment has no metrics: set LARDER_METRICS=true to have them"
    if is_explorer(request.path) and not current_app.config["LARDER"].explorer:
        return "this deployment has no explorer: set LARDER_EXPLORER=true to have it"
    return "nothing is at this path: GET / lists all that can be asked"


def _broken_record(error: BrokenRecord) -> Response:
    log.error("broken record: %s", error)
    detail = "the cache holds bytes that this version did not write"
    return _problem(as_json(500, _BROKEN[0], detail), 500)


def _unexpected(error: Exception) -> ResponseReturnValue:
    log.exception("unexpected error", exc_info=error)
    return _http_error(InternalServerError())


def as_json(status: int, title: str, detail: str) -> str:
    """A problem as it is sent."""
    path = _path(title)
    told = {"type": path if path in KINDS else "about:blank", "title": title}
    return json.dumps({**told, "status": status, "detail": detail})


def of_http(status: int, detail: str) -> str:
    """The same for what HTTP itself has a name for."""
    title, _ = HTTP.get(status) or (HTTPStatus(status).phrase, "")
    return as_json(status, title, detail)


def plain(
    error: ServingError, headers: list[tuple[str, str]], start_response: "StartResponse"
) -> list[bytes]:
    """Answer with an error before Flask is asked."""
    body = as_json(error.status, error.title, str(error)).encode()
    own = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    size = ("Content-Length", str(len(body)))
    start_response(f"{error.status} {HTTPStatus(error.status).phrase}", [*own, size, *headers])
    return [body]


def _explained(name: str) -> Response:
    """What a type of problem means."""
    kind = KINDS.get(PATH + name)
    if kind is None:
        raise NotFound
    body = as_json(kind.status, kind.title, kind.sentence)
    return freshness.packaged(body.encode(), "application/json")


def _problem(body: str, status: int) -> Response:
    response = Response(body, status, content_type="application/problem+json")
    response.headers["Cache-Control"] = "no-store"
    return response
