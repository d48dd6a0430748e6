"""What an API that has nothing but decisions answers beside them: probes, and the documents."""

from flask import Blueprint, Response, jsonify

from app.api import index, openapi
from app.api.decisions import wire
from app.decisions.follower import Follower
from app.errors import CacheUnavailable, NotReady

bp = Blueprint("container", __name__)


@bp.get("/", strict_slashes=False)
def routes() -> Response:
    """These routes."""
    return index.routes()


@bp.get("/health/live")
def live() -> Response:
    """The process answers."""
    return jsonify(status="live")


@bp.get("/health/ready")
def health() -> Response:
    """Every worker has seen how it shall decide; 503 while one has not."""
    follower = _ready()
    return jsonify(status="ready", generation=follower.name, degraded=follower.degraded)


@bp.get("/ready")
def ready() -> Response:
    """The same in the words of the container that this takes the place of."""
    _ready()
    return jsonify(service="larder", ready="ready")


@bp.get("/status")
def status() -> Response:
    """The process answers: no key has to be valid anywhere else, whatever else is away."""
    try:
        _ready()
    except (CacheUnavailable, NotReady) as error:
        return jsonify(service="larder", apiStatus="Unknown", apiStatusMessage=str(error))
    message = "Api Key is valid, no action needed."
    return jsonify(service="larder", apiStatus="Valid", apiStatusMessage=message)


@bp.get("/swagger")
def page() -> Response:
    """All that can be asked, as a page to read, and to try it out."""
    return openapi.shown()


@bp.get("/docs/<name>")
def asset(name: str) -> Response:
    """A script or style of that page."""
    return openapi.part(name)


@bp.get("/openapi.yaml")
def document() -> Response:
    """The same as an OpenAPI 3.1 document."""
    return openapi.written("app.api.decisions")


def _ready() -> Follower:
    follower = wire().decider.follower
    follower.state()
    if not wire().all_have_loaded():
        raise NotReady("a worker of this server does not know how to decide, or no keys, yet")
    return follower
