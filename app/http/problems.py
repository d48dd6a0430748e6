"""Every error as RFC 9457 ``application/problem+json``: {"type","title","status","detail"}."""

import json
import logging
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

from app.contracts.generations import BrokenRecord
from app.errors import ServingError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

log = logging.getLogger("larder.api")


TOO_SLOW = "the head and the body of a request must each be there within {:g} seconds"
TOO_LARGE = "the body must be at most {} bytes (LARDER_MAX_BODY_BYTES): send less at a time"
CUT_SHORT = "the request ended before all of it was there"


def register(app: Flask) -> None:
    """Give all errors, Flask's own included, the one shape."""
    app.register_error_handler(ServingError, _serving_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(BrokenRecord, _broken_record)
    app.register_error_handler(Exception, _unexpected)


def _serving_error(error: ServingError) -> Response:
    response = _problem(error.status, error.title, str(error))
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    return response


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if error.code is None or error.code < 400:
        return error
    response = _problem(error.code, error.name, _detail(error))
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
    return "nothing is at this path: GET / lists all that can be asked"


def _broken_record(error: BrokenRecord) -> Response:
    log.error("broken record: %s", error)
    return _problem(500, "Broken record", "the cache holds bytes that this version did not write")


def _unexpected(error: Exception) -> ResponseReturnValue:
    log.exception("unexpected error", exc_info=error)
    return _http_error(InternalServerError())


def as_json(status: int, title: str, detail: str) -> str:
    """A problem as it is sent."""
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})


def plain(
    error: ServingError, headers: list[tuple[str, str]], start_response: "StartResponse"
) -> list[bytes]:
    """Answer with an error before Flask is asked."""
    body = as_json(error.status, error.title, str(error)).encode()
    own = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
    size = ("Content-Length", str(len(body)))
    start_response(f"{error.status} {HTTPStatus(error.status).phrase}", [*own, size, *headers])
    return [body]


def _problem(status: int, title: str, detail: str) -> Response:
    body = as_json(status, title, detail)
    response = Response(body, status, content_type="application/problem+json")
    response.headers["Cache-Control"] = "no-store"
    return response
