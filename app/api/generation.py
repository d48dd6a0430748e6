"""``/generation``: where the answers of this worker come from."""

from flask import Blueprint, Response

from app.api import freshness, sources

bp = Blueprint("generation", __name__)


@bp.get("/generation")
def live() -> Response:
    """The manifest of the generation that this worker serves.

    Where events are taken it also says what they do: put lists in order anew, or no more than take
    items away, because the generation is not live or numpy is not installed.
    """
    watcher = sources().watcher
    generation = watcher.live()
    if freshness.matches(generation.etag):
        return freshness.not_modified(generation.etag)
    text = generation.manifest.to_json()
    if not sources().answers.are_constant:
        following = "exclusion" if generation.model is None else "re-ranking"
        text = f'{text[:-1]},"following":"{following}"}}'
    return freshness.answer(text.encode(), generation.etag if watcher.reachable else None)
