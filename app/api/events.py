"""``/events``: what users do, from now on part of what they are answered."""

import json
import time

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from app.api import sources
from app.api.parameters import only
from app.errors import EventsOff, ForeignPage
from app.events.intake import Intake, parse, take_in, unpack
from app.events.stream import Stream

KINDS = ("application/json", "text/plain")
"""What a beacon of a web page can send without asking first is text/plain."""

bp = Blueprint("events", __name__)


@bp.post("/events")
def add() -> Response:
    """Take up to 500 events: what users click, buy, hide and were shown."""
    return _answer(_write(), 202)


def _write() -> Intake:
    stream = _stream()
    only(request.args, ())
    _check_origin()
    now_ms = time.time_ns() // 1_000_000
    intake = take_in(parse(_body()), now_ms)
    stream.add(intake.events, now_ms)
    return intake


def _answer(intake: Intake, status: int) -> Response:
    told = {
        "accepted": intake.accepted,
        "rejected": [{"index": index, "detail": detail} for index, detail in intake.rejected],
    }
    response = Response(json.dumps(told), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _stream() -> Stream:
    stream = sources().stream
    if stream is None:
        raise EventsOff("this deployment takes no events: set LARDER_EVENTS=true to allow it")
    return stream


def _check_origin() -> None:
    """A page that nobody named must not make its visitors send events.

    Browsers name the page's origin in every POST; who has the page's own host needs no leave.
    """
    origin = request.headers.get("Origin")
    named = current_app.config["LARDER"].origins
    if origin is None or origin in named or origin.partition("://")[2] == request.host:
        return
    raise ForeignPage(
        f"pages of {origin[:100]!r} may not send events: name it in LARDER_CORS_ORIGINS"
    )


def _body() -> bytes:
    if request.mimetype not in KINDS:
        raise UnsupportedMediaType(f"send JSON with Content-Type: {' or '.join(KINDS)}")
    body = request.get_data()
    request.stream.read(1)  # a chunked body is cut at the limit, and only this says so: 413
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise UnsupportedMediaType("send the body as it is, or with Content-Encoding: gzip")
    unpacked = unpack(body, current_app.config["LARDER"].max_body_bytes)
    if unpacked is None:
        raise RequestEntityTooLarge
    return unpacked
