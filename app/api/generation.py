"""``/generation``: where the answers of this worker come from."""

from flask import Blueprint, Response

from app.api import freshness, sources

bp = Blueprint("generation", __name__)


@bp.get("/generation")
def live() -> Response:
    """The manifest of the generation that this worker serves.

    Where events are taken it also says how this worker follows them, see ``follows``: by less than
    the manifest says where numpy is not installed.
    """
    watcher = sources().watcher
    generation = watcher.live()
    if freshness.matches(generation.etag):
        return freshness.not_modified(generation.etag)
    text = generation.manifest.to_json()
    if not sources().answers.are_constant:
        text = f'{text[:-1]},"following":"{generation.follows}"}}'
    return freshness.answer(text.encode(), generation.etag if watcher.reachable else None)
