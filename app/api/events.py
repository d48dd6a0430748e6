"""``/events``: what users do, in our own shape or that of another tracker."""

import json
import time

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from app.api import FAILED, freshness, sources
from app.api.parameters import only
from app.errors import BadParameter, EventsOff, ForeignPage
from app.events.intake import Intake, parse, take_in, unpack
from app.events.stream import Stream

KINDS = (
    "application/json",
    "text/plain",  # what a web page's beacon can send without asking first
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
)

bp = Blueprint("events", __name__)


@bp.post("/events")
def add() -> Response:
    """Take up to 500 events: what users click, buy, hide and were shown."""
    if failed := request.environ.get(FAILED):
        raise failed
    return _answer(_write(), 202)


@bp.post("/v1/track")
def track() -> Response:
    """One call of Segment's or RudderStack's HTTP API."""
    return _answer(_write(), 200)


@bp.post("/v1/batch")
def batch() -> Response:
    """Up to 500 calls, as Segment's and RudderStack's own clients send them."""
    return _answer(_write(), 200)  # RudderStack's takes every other status for a failure


@bp.post("/v1/identify")
@bp.post("/v1/page")
@bp.post("/v1/screen")
@bp.post("/v1/group")
@bp.post("/v1/alias")
def ignore() -> Response:
    """Another call of Segment's or RudderStack's HTTP API: nothing of it is kept."""
    stream()
    if not isinstance(parse(_checked_body()), dict):
        raise BadParameter("send one call, as an object")
    return _answer(Intake((), 0, 1, ()), 200)


def write(into: Stream, body: bytes) -> Intake:
    """Have the events of a body acknowledged. Raises BadParameter, EventsUnavailable."""
    now_ms = time.time_ns() // 1_000_000
    intake = take_in(parse(body), now_ms)
    if intake.events:
        into.add(intake.events, now_ms)
    return intake


def as_json(intake: Intake) -> bytes:
    """What became of the entries of a body, as it is answered."""
    told = {
        "accepted": intake.accepted,
        "ignored": intake.ignored,
        "rejected": [{"index": index, "detail": detail} for index, detail in intake.rejected],
    }
    return json.dumps(told).encode()


def _write() -> Intake:
    into = stream()
    return write(into, _checked_body())


def _checked_body() -> bytes:
    """The body of those who may send one."""
    only(request.args, ())
    _check_origin()
    if "Ce-Specversion" in request.headers:
        raise BadParameter(
            "CloudEvents are taken in structured mode, not by ce- headers: send all of the event "
            "as JSON, with Content-Type: application/cloudevents+json"
        )
    return _body()


def _answer(intake: Intake, status: int) -> Response:
    return Response(as_json(intake), status, headers=freshness.headers(None, 0))


def stream() -> Stream:
    """Where events are written. Raises EventsOff."""
    found = sources().stream
    if found is None:
        raise EventsOff("this deployment takes no events: set LARDER_EVENTS=true to allow it")
    return found


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
        kinds = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
        raise UnsupportedMediaType(f"send JSON with Content-Type: {kinds}")
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
