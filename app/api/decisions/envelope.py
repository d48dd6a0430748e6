"""Every error of decisions as {"error": {"code", "message"}}, as programs of that API read it."""

import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Flask, Response, current_app
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge

from app.contracts.generations import BrokenRecord
from app.decisions.refusals import Refused
from app.errors import ServingError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

log = logging.getLogger("larder.api")

CODES = {
    400: "BadRequest",
    401: "401",  # so the gateway in front of that service called it
    403: "InvalidApiAccess",
    404: "ResourceNotFound",
    405: "MethodNotAllowed",
    413: "PayloadSizeExceeded",
    415: "UnsupportedMediaType",
    429: "429",
    500: "InternalServerError",
    503: "OperationNotAllowed",
}
"""Of errors that have no code of their own."""


def register(app: Flask) -> None:
    """Give all errors, Flask's own included, the one shape."""
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(ServingError, _serving_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(BrokenRecord, _broken_record)
    app.register_error_handler(Exception, _unexpected)


def plain(
    error: ServingError, headers: list[tuple[str, str]], start_response: "StartResponse"
) -> list[bytes]:
    """Answer with an error before Flask is asked."""
    body = _as_json(_code(error.status), str(error))
    own = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    size = ("Content-Length", str(len(body)))
    start_response(f"{error.status} {HTTPStatus(error.status).phrase}", [*own, size, *headers])
    return [body]


def _refused(error: Refused) -> Response:
    return _answer(error.status, error.code, error.message, error.target)


def _serving_error(error: ServingError) -> Response:
    return _answer(error.status, _code(error.status), str(error))


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if error.code is None or error.code < 400:
        return error
    message = error.description or error.name
    if isinstance(error, RequestEntityTooLarge):
        most = current_app.config["MAX_CONTENT_LENGTH"]
        message = f"Exceeds maximum allowed payload size: {most} bytes (LARDER_MAX_BODY_BYTES)."
    elif error.code == 404:
        message = (
            "Resource not found. Paths begin with /personalizer/v1.0, /personalizer/v1.1-preview.3 "
            "or, with ?api-version=2022-09-01-preview, /personalizer."
        )
    response = _answer(error.code, _code(error.code), message)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _broken_record(error: BrokenRecord) -> Response:
    log.error("broken record: %s", error)
    return _answer(500, CODES[500], "The cache holds bytes that this version did not write.")


def _unexpected(error: Exception) -> ResponseReturnValue:
    log.exception("unexpected error", exc_info=error)
    return _http_error(InternalServerError())


def _answer(status: int, code: str, message: str, target: str = "") -> Response:
    response = Response(_as_json(code, message, target), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    if status == 503:
        response.headers["Retry-After"] = "1"
    return response


def _as_json(code: str, message: str, target: str = "") -> bytes:
    error = {"code": code, "message": message} | ({"target": target} if target else {})
    return json.dumps({"error": error}, ensure_ascii=False).encode()


def _code(status: int) -> str:
    return CODES.get(status, str(status))
