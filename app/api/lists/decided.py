"""``/recommendations/<user>/rank``: a user's list, of which a decision chooses what comes first."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flask import Blueprint, Response, request

from app.api import freshness, sources
from app.api.parameters import WISHES, json_object, only, path_identifier, wish
from app.contracts.decisions import MAX_ACTIONS, OF_LISTS
from app.decisions.refusals import Refused
from app.errors import BadParameter, CacheUnavailable, DecisionsOff

if TYPE_CHECKING:
    from app.decisions.decider import Decider

EXAMPLE = '{"context":{"device":"phone"},"n":5}'
MAX_TEXT = 100
"""Characters of a column that says something; a longer one is a description."""

bp = Blueprint("decided", __name__)


@bp.post("/recommendations/<id:user>/rank")
def decide(user: str) -> Response:
    """A user's list with the item first that a decision has chosen; an event is its reward."""
    decider = sources().decider
    if decider is None:
        raise DecisionsOff("this deployment decides nothing: set LARDER_DECISIONS=on to have it")
    path_identifier("user", user)
    only(request.args, ())
    asked = json_object(EXAMPLE)
    only(asked, ("context", *WISHES), "member")
    context = asked.get("context", {})
    if not isinstance(context, dict):
        raise BadParameter(f"context must be an object of features, as in {EXAMPLE}")
    generation = sources().watcher.live()
    body, _ = sources().answers.one(generation, user, wish(generation, asked, MAX_ACTIONS))
    told = json.dumps(_decided(decider, json.loads(body), context), ensure_ascii=False)
    return freshness.answer(told.encode(), None)


def _decided(
    decider: "Decider", told: dict[str, Any], context: Mapping[str, Any]
) -> dict[str, Any]:
    """The answer for a list in another order; an empty one as it was. Raises as ``_ranking``."""
    items: list[dict[str, Any]] = told.pop("recommendations")
    if not items:
        return told | {"recommendations": items}
    name = f"{OF_LISTS}{uuid4()}"
    actions = [{"id": each["item"], "features": _features(each)} for each in items]
    ranking, logged = _ranking(
        decider, {"contextFeatures": [context], "actions": actions, "eventId": name}
    )
    found = {each["item"]: each for each in items}
    items = [found[each["id"]] | {"probability": each["probability"]} for each in ranking]
    return {**told, "list": name, "recommendations": items} | ({} if logged else {"logged": False})


def _ranking(decider: "Decider", asked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """Each action with its probability, and whether that is logged.

    Raises BadParameter, DecisionsOff, CacheUnavailable.
    """
    try:
        answer = decider.rank(json.dumps(asked).encode())
    except Refused as error:
        kind = {400: BadParameter, 403: DecisionsOff}.get(error.status, CacheUnavailable)
        raise kind(f"no decision: {error.message}") from error
    return json.loads(answer.body)["ranking"], answer.logged


def _features(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is known of an item: its score, and the columns of its document that are no essays."""
    columns = {
        name: value
        for name, value in item.items()
        if name not in ("item", "score")
        and (isinstance(value, (bool, int, float)) or _is_short(value))
    }
    return [{"list": {"score": item["score"]}}, {"item": columns}]


def _is_short(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT
