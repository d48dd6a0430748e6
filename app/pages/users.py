"""Users: find one, see what they get and did lately, and forget them."""

import json
from typing import Any

from flask import Response, request
from werkzeug.wrappers import Response as Answer

from app.api import sources
from app.api.users import deleted
from app.cache.connect import CACHE_ERRORS, no_answer
from app.contracts.events import Actor, Streams
from app.errors import CacheUnavailable, DeletionForbidden
from app.pages.shell import asked, bp, changed, document_of, page
from app.recommendations.generation import Generation
from app.recommendations.live import recent
from app.recommendations.live.tail import Tail

SHOWN = 50


@bp.get("/users")
def users() -> Response:
    """Users of the sample whose ids hold what is searched for."""
    part = request.args.get("q", "").strip()
    sample = sources().lookup.sample(sources().watcher.live())
    found = sorted(each for each in sample if part.lower() in each.lower())
    told = {"q": part, "sample": len(sample), "matches": len(found), "users": found[:SHOWN]}
    return page("users.html", told)


@bp.get("/user")
def user() -> Response:
    """A user's list as the API answers it, and what they did lately."""
    who, generation = asked("id"), sources().watcher.live()
    body, _ = sources().answers.one(generation, who)
    tail = sources().tail
    told = {
        **json.loads(body),
        "recents": _recents(tail, generation, who) if tail else [],
        "may_delete": tail is not None,
    }
    return page("user.html", told)


@bp.post("/delete")
def delete() -> Answer:
    """Forget a user."""
    who, tail = asked("id"), sources().tail
    if tail is None:
        raise DeletionForbidden("set LARDER_EVENTS=true: events of the user would be left")
    return changed(deleted(tail, who), "user", "deleted", id=who)


def _recents(tail: Tail, generation: Generation, who: str) -> list[dict[str, Any]]:
    streams = Streams(sources().watcher.namespace.name)
    pipeline = tail.server.client().pipeline(transaction=False)
    for question in recent.questions(streams, Actor.user(who)):
        pipeline.execute_command(*question)
    try:
        told = recent.decode(pipeline.execute()).told
    except CACHE_ERRORS as error:
        raise CacheUnavailable(f"the server of the events: {no_answer(error)}") from error
    return [
        {**document_of(generation, each.item), "type": each.type, "ms": each.ms} for each in told
    ]
