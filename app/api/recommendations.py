"""``/recommendations``: a user's list, or many users' lists in one call."""

import json

from flask import Blueprint, Response, request
from werkzeug.exceptions import UnsupportedMediaType

from app.api import cache, freshness
from app.api.parameters import choice, identifier, length, path_identifier
from app.errors import BadParameter, CacheUnavailable, UnknownUser

MAX_USERS = 100
FALLBACKS = ("popular", "none")

bp = Blueprint("recommendations", __name__)


@bp.get("/recommendations/<id:user>")
def one(user: str) -> Response:
    """The best items for a user who has not seen them; what is popular for a stranger."""
    generation = cache().live()
    path_identifier("user", user)
    asked = request.args if request.query_string else {}  # most requests have none to parse
    n = length(asked.get("n"), generation.manifest.k)
    fallback = choice("fallback", asked.get("fallback"), FALLBACKS)
    if freshness.matches(generation):
        return freshness.not_modified(generation)
    (found,), degraded = cache().users(generation, [user])
    if found is None and fallback == "none":
        raise _nobody(user, degraded)
    return freshness.answer(
        generation, generation.answer(user, found, n, degraded), keep=not degraded
    )


@bp.post("/recommendations")
def many() -> Response:
    """The lists of up to 100 users, in the order asked for."""
    generation = cache().live()
    asked = _json_object()
    n = length(asked.get("n"), generation.manifest.k)
    fallback = choice("fallback", asked.get("fallback"), FALLBACKS)
    users = asked.get("users")
    if not isinstance(users, list) or not 1 <= len(users) <= MAX_USERS:
        raise BadParameter(f"users must be a list of 1 to {MAX_USERS} user ids")
    users = [identifier("users", user) for user in users]
    lists, degraded = cache().users(generation, users)
    answers = []
    for user, found in zip(users, lists, strict=True):
        if found is None and fallback == "none":
            answers.append(generation.no_answer(user, degraded))
        else:
            answers.append(generation.answer(user, found, n, degraded))
    body = b'{"generation":"%s","answers":[%s]}' % (
        generation.manifest.generation.encode(),
        b",".join(answers),
    )
    return freshness.answer(generation, body, keep=False)


def _nobody(user: str, degraded: bool) -> UnknownUser | CacheUnavailable:
    if degraded:
        return CacheUnavailable(f"nobody can tell now whether there is a list for user {user!r}")
    return UnknownUser(f"the live generation has no list for user {user!r}")


def _json_object() -> dict[str, object]:
    if not request.is_json:
        raise UnsupportedMediaType("send a JSON object with Content-Type: application/json")
    body = request.get_data()
    request.stream.read(1)  # a chunked body is cut at the limit, and only this says so: 413
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadParameter(f"the body must be JSON: {error}") from error
    if not isinstance(asked, dict):
        raise BadParameter('the body must be a JSON object such as {"users":["1","2"],"n":5}')
    return asked
