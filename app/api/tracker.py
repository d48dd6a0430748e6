"""``/larder.js``: the tracker for web pages, for whoever takes events."""

from functools import cache
from hashlib import sha256
from importlib.resources import files

from flask import Blueprint, Response, request

from app.api.events import stream

bp = Blueprint("tracker", __name__)


@bp.get("/larder.js")
def script() -> Response:
    """The tracker for web pages, a script that sends what visitors do."""
    stream()
    body = _script()
    response = Response(body, content_type="text/javascript; charset=utf-8")
    response.set_etag(sha256(body).hexdigest()[:16])
    response.headers["Cache-Control"] = "public, max-age=3600"
    response.headers["Access-Control-Allow-Origin"] = "*"  # a module is fetched as data is
    response.make_conditional(request)
    return response


@cache
def _script() -> bytes:
    return files("app.events").joinpath("larder.js").read_bytes()
