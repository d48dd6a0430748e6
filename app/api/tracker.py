"""``/larder.js``: the tracker for web pages, for whoever takes events."""

from functools import cache
from importlib.resources import files

from flask import Blueprint, Response

from app.api import freshness
from app.api.events import stream

bp = Blueprint("tracker", __name__)


@bp.get("/larder.js")
def script() -> Response:
    """The tracker for web pages, a script that sends what visitors do."""
    stream()
    response = freshness.packaged(_script(), "text/javascript; charset=utf-8")
    response.headers["Access-Control-Allow-Origin"] = "*"  # a module is fetched as data is
    return response


@cache
def _script() -> bytes:
    return files("app.events").joinpath("larder.js").read_bytes()
