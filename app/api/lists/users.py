"""``/users``: whom a load test may ask for, and who is to be forgotten; both are off by default."""

from typing import Any

from flask import Blueprint, Response, current_app, request

from app.api import freshness, sources
from app.api.parameters import number, only, path_identifier
from app.cache.connect import CACHE_ERRORS, no_answer
from app.clicks.deletion import delete as delete_columns
from app.contracts import keys
from app.contracts.clicks import Clicks
from app.contracts.events import Streams
from app.contracts.generations import BrokenRecord, Space
from app.contracts.recommendations import SAMPLE_SIZE
from app.errors import CacheUnavailable, DeletionForbidden, SampleForbidden
from app.events.deletion import forget, tell
from app.recommendations.deletion import delete
from app.recommendations.live.tail import Tail

bp = Blueprint("users", __name__)


@bp.get("/users/sample")
def sample() -> Response:
    """Some users of the live generation, spread evenly over all of them."""
    if not current_app.config["LARDER"].user_sample:
        raise SampleForbidden(
            "this deployment gives no user ids away: set LARDER_USER_SAMPLE=true to allow it"
        )
    generation = sources().watcher.live()
    only(request.args, ("n",))
    n = number("n", request.args.get("n"), SAMPLE_SIZE, 1, SAMPLE_SIZE)
    known = sources().lookup.sample(generation)
    n = min(n, len(known))
    users = [known[place * len(known) // n] for place in range(n)]
    return freshness.told({"generation": generation.manifest.generation, "users": users})


@bp.delete("/users/<id:user>")
def remove(user: str) -> Response:
    """Forget a user: lists, columns, events, and what is near; files at their export."""
    tail = _deleting()
    only(request.args, ())
    path_identifier("user", user)
    return freshness.told(deleted(tail, user))


def deleted(tail: Tail, user: str) -> dict[str, object]:
    """Take a user out of all that servers hold; says what that was.

    Raises CacheUnavailable, and BrokenRecord when all is done but for what cannot be read.
    """
    watcher, streams = sources().watcher, Streams(sources().watcher.namespace.name)
    clicks = Clicks(watcher.namespace.name)
    try:
        forgotten = forget(tail.server.client(), streams, user)
        generations = delete(watcher.client(), watcher.namespace, user)
        models = delete_columns(watcher.client(), clicks, user)
        tell(tail.server.client(), streams)
        unread = _unread(watcher.client(), watcher.namespace) + _unread(watcher.client(), clicks)
    except CACHE_ERRORS as error:
        raise CacheUnavailable(
            f"the user is not wholly deleted, send this again: {no_answer(error)}"
        ) from error
    tail.clear()
    if unread:
        raise BrokenRecord(
            f"a user is deleted but for the generations {', '.join(unread)}, whose manifests this "
            f"release cannot read: delete the user again with the release that wrote them"
        )
    gone = {
        "generations": generations,
        "models": models,
        "events": forgotten.events,
        "recents": forgotten.recents,
    }
    pending = ["files", "sessions"] if forgotten.pending else []
    return {"user": user, "deleted": gone, "pending": pending}


def _unread(client: Any, space: Space[Any]) -> list[str]:
    return space.readable(client.hgetall(space.generations))[1]


def _deleting() -> Tail:
    """Raises DeletionForbidden; with keys on, who comes this far has one of scope admin."""
    tail = sources().tail
    if tail is None or current_app.config["LARDER"].auth != keys.ON:
        raise DeletionForbidden(
            "this deployment deletes nobody over HTTP: set LARDER_AUTH=on and LARDER_EVENTS=true, "
            "and ask with a key of scope admin"
        )
    return tail
