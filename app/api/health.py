"""``/health``: for whoever restarts this process (live) or sends it requests (ready)."""

from flask import Blueprint, Response, current_app, jsonify

from app.api import sources
from app.contracts.generations import Manifest
from app.errors import NotReady

bp = Blueprint("health", __name__, url_prefix="/health")


@bp.get("/live")
def live() -> Response:
    """The process answers. Says nothing of the cache: a restart would not bring that back."""
    return jsonify(status="live")


@bp.get("/ready")
def ready() -> Response:
    """Every worker has a generation to answer from; 503 while one has none.

    It is one of lists, or with LARDER_CLICKS=only the click model's.

    While the server of the events is away lists are made, marked as degraded, and so is what is
    ranked by a click model that is not the live one: so is this answer, also while decisions are
    made by what is not live.
    """
    watcher, tail, ranker = sources().watcher, sources().tail, sources().ranker
    if ranker and current_app.config["LARDER"].clicks == "only":
        manifest: Manifest = ranker.follower.live().manifest
    else:
        manifest = watcher.live().manifest
    if not sources().all_have_loaded():
        raise NotReady("a worker of this server has no generation, or knows no keys, yet")
    all_well = watcher.reachable and (tail is None or tail.reachable)
    decider = sources().decider
    is_behind = ranker is not None and ranker.follower.degraded
    is_behind = is_behind or (decider is not None and decider.follower.degraded)
    return jsonify(
        status="ready", generation=manifest.generation, degraded=is_behind or not all_well
    )
