"""``/recommendations``: a user's list, or many users' lists in one call."""

import json

from flask import Blueprint, Response, request
from werkzeug.exceptions import UnsupportedMediaType

from app.api import cache, freshness
from app.api.parameters import choice, identifier, number
from app.errors import BadParameter, CacheUnavailable, UnknownUser
from app.generation import Generation

MAX_USERS = 100
FALLBACKS = ("popular", "none")

bp = Blueprint("recommendations", __name__)


@bp.get("/recommendations/<id:user>")
def one(user: str) -> Response:
    """The best items for a user who has not seen them; what is popular for a stranger."""
    generation = cache().live()
    identifier("user", user)
    n = _n(generation, request.args.get("n"))
    fallback = choice("fallback", request.args.get("fallback"), FALLBACKS)
    if freshness.matches(generation):
        return freshness.not_modified(generation)
    (record,), degraded = cache().users(generation, [user])
    if record is None and fallback == "none":
        raise _nobody(user, degraded)
    return freshness.answer(
        generation, _render(generation, user, record, n, degraded), keep=not degraded
    )


@bp.post("/recommendations")
def many() -> Response:
    """The lists of up to 100 users, in the order asked for."""
    generation = cache().live()
    asked = _json_object()
    n = _n(generation, asked.get("n"))
    fallback = choice("fallback", asked.get("fallback"), FALLBACKS)
    users = asked.get("users")
    if not isinstance(users, list) or not 1 <= len(users) <= MAX_USERS:
        raise BadParameter(f"users must be a list of 1 to {MAX_USERS} user ids")
    users = [identifier("users", user) for user in users]
    records, degraded = cache().users(generation, users)
    answers = []
    for user, record in zip(users, records, strict=True):
        if record is None and fallback == "none":
            answers.append(_answer(generation, user, "none", b"[]", degraded))
        else:
            answers.append(_render(generation, user, record, n, degraded))
    body = b'{"generation":"%s","answers":[%s]}' % (
        generation.manifest.generation.encode(),
        b",".join(answers),
    )
    return freshness.answer(generation, body, keep=False)


def _n(generation: Generation, value: object) -> int:
    k = generation.manifest.k
    return number("n", value, k, 1, k)


def _nobody(user: str, degraded: bool) -> UnknownUser | CacheUnavailable:
    if degraded:
        return CacheUnavailable(f"nobody can tell now whether there is a list for user {user!r}")
    return UnknownUser(f"the live generation has no list for user {user!r}")


def _json_object() -> dict[str, object]:
    if not request.is_json:
        raise UnsupportedMediaType("send a JSON object with Content-Type: application/json")
    asked = request.get_json()
    if not isinstance(asked, dict):
        raise BadParameter('the body must be a JSON object such as {"users":["1","2"],"n":5}')
    return asked


def _render(
    generation: Generation, user: str, record: bytes | None, n: int, degraded: bool
) -> bytes:
    if record is None:
        return _answer(
            generation, user, "popular", generation.render(generation.popular, n), degraded
        )
    return _answer(generation, user, "personal", generation.render(record, n), degraded)


def _answer(
    generation: Generation, user: str, source: str, recommendations: bytes, degraded: bool
) -> bytes:
    return b'{"user":%s,"generation":"%s","source":"%s","recommendations":%s%s}' % (
        json.dumps(user, ensure_ascii=False).encode(),
        generation.manifest.generation.encode(),
        source.encode(),
        recommendations,
        b',"degraded":true' if degraded else b"",
    )
