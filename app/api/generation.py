"""``/generation``: where the answers of this worker come from."""

from flask import Blueprint, Response

from app.api import freshness, sources

bp = Blueprint("generation", __name__)


@bp.get("/generation")
def live() -> Response:
    """The manifest of the generation that this worker serves."""
    watcher = sources().watcher
    generation = watcher.live()
    if freshness.matches(generation.etag):
        return freshness.not_modified(generation.etag)
    body = generation.manifest.to_json().encode()
    return freshness.answer(body, generation.etag if watcher.reachable else None)
