"""Users: find one, see what they get and did lately, and forget them."""

import json
from dataclasses import replace
from typing import Any

from flask import Response, request
from werkzeug.wrappers import Response as Answer

from app.api import sources
from app.api.lists.users import deleted
from app.cache.connect import CACHE_ERRORS, no_answer
from app.contracts.events import Actor, Streams
from app.contracts.rules import NONE
from app.errors import CacheUnavailable, DeletionForbidden
from app.pages import reasons
from app.pages.shell import asked, bp, changed, document_of, page
from app.recommendations.generation import Generation
from app.recommendations.live import recent
from app.recommendations.live.tail import Tail
from app.recommendations.rules.in_force import InForce
from app.recommendations.rules.ranking import Order

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
        "rules": _acted(generation, who),
        "history": reasons.history(generation, reasons.remembered(generation, who)),
        "what_if": _what_if(generation, who),
        "may_delete": tail is not None,
    }
    return page("user.html", told)


@bp.get("/why")
def why() -> Response:
    """Why an item is on a user's list: what their own items add to its score."""
    return page("why.html", reasons.why(sources().watcher.live(), asked("id"), asked("item")))


@bp.post("/delete")
def delete() -> Answer:
    """Forget a user."""
    who, tail = asked("id"), sources().tail
    if tail is None:
        raise DeletionForbidden("set LARDER_EVENTS=true: events of the user would be left")
    return changed(deleted(tail, who), "user", "deleted", id=who)


def _what_if(generation: Generation, who: str) -> dict[str, Any] | None:
    """None unless it is asked for."""
    drop = request.args.getlist("drop")
    add = [each for each in request.args.getlist("add") if each]
    if not drop and not add:
        return None
    return {"drop": drop, "add": add, "change": reasons.what_if(generation, who, drop, add)}


def _acted(generation: Generation, who: str) -> dict[str, Any] | None:
    """What the rules in force did to the list; None where they did nothing."""
    in_force, answers = generation.rules, sources().answers
    if not in_force.acts:
        return None
    nothing = InForce(NONE, generation.manifest.items, generation.find, None, None)
    plain = replace(generation, rules=nothing)
    (before,), (after,) = (answers.lists(each, [who]) for each in (plain, generation))
    order = in_force.at(answers.now())
    pinned = {item for item, _ in order.pins}
    return {
        "version": in_force.version.number,
        "entered": [
            {**generation.document(item), "why": "pinned" if item in pinned else "moved up"}
            for item in after
            if item not in before
        ],
        "left": [
            {**generation.document(item), "why": _why_gone(order, in_force, generation, item)}
            for item in before
            if item not in after
        ],
    }


def _why_gone(order: Order, in_force: InForce, generation: Generation, item: int) -> str:
    if generation.id_of(item) in in_force.version.rules.get("hide", []):
        return "hidden"
    if order.allows(item):
        return "moved down by a boost, cap, pin or diversity"
    return "not available, or filtered"


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
