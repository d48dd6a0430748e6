"""``/recommendations``: a user's list, or many users' lists in one call."""

from functools import partial

from flask import Blueprint, Response, request

from app.api import freshness, sources
from app.api.parameters import (
    WISHES,
    choice,
    identifier,
    json_object,
    number,
    only,
    path_identifier,
    wish,
)
from app.api.scoring import clicks
from app.errors import BadParameter, CacheUnavailable, EventsOff
from app.recommendations.answer import LiveAnswers, tagged
from app.recommendations.generation import quoted
from app.recommendations.why import why

MAX_USERS = 100
MAX_ENTRIES = 10_000
"""Users times n of a batch: with documents of 200 bytes its answer stays under 3 MB."""

MAX_ITEMS = 20
"""Of somebody of whom nothing else is known."""

REASONS, MAX_REASONS = 10, 100
"""How many of a user's items are named for one in the list."""

bp = Blueprint("recommendations", __name__)


@bp.get("/recommendations/<id:user>")
def one(user: str) -> Response:
    """The best items for a user who has not seen them; what is popular for a stranger."""
    generation = sources().watcher.live()
    path_identifier("user", user)
    asked = request.args if request.query_string else {}  # most requests have none to parse
    only(asked, (*WISHES, "rank"))
    wanted = wish(generation, asked)
    answers = sources().answers
    if choice("rank", asked.get("rank"), ("list", "click")) == "click":
        if (ranker := sources().ranker) is None:
            raise BadParameter("rank=click needs a click model: this deployment has none")
        rank = partial(clicks.in_order, ranker, generation, user)
        body = answers.ranked(generation, user, wanted, rank)
        return freshness.answer(body, None)
    if wanted.fallback == "popular" and answers.are_constant:
        etag = tagged(generation.etag, generation.order(answers.now, wanted.filter))
        if freshness.matches(etag):
            return freshness.not_modified(etag)
    return freshness.answer(*answers.one(generation, user, wanted))


@bp.get("/recommendations/<id:user>/why")
def because(user: str) -> Response:
    """What of a user speaks for an item, the strongest first.

    A user's id may end in ``/why`` as well: who asks for a list names no item.
    """
    if "item" not in request.args:
        return one(f"{user}/why")
    generation = sources().watcher.live()
    path_identifier("user", user)
    only(request.args, ("item", "n"))
    item = identifier("item", request.args["item"])
    n = number("n", request.args.get("n"), REASONS, 1, MAX_REASONS)
    (found,), lost = sources().lookup.users(generation, [user])
    if lost:
        raise CacheUnavailable(f"nobody can tell now what is known of user {user!r}")
    reasons = why(generation, found, item)
    body = b'{"user":%s,"generation":"%s","item":%s,"score":%.4g,"covered":%.4g,"because":[%s]}' % (
        quoted(user),
        generation.manifest.generation.encode(),
        quoted(item),
        reasons.score,
        reasons.covered,
        b",".join(
            b'%s,"contribution":%.4g,"share":%.4g}'
            % (generation.opening(each), added, added / reasons.score if reasons.score else 0)
            for each, added in reasons.because[:n]
        ),
    )
    return freshness.answer(body, None)


@bp.get("/recommendations")
def visitor() -> Response:
    """The list of a session, or of somebody of whom only a few items are known."""
    generation = sources().watcher.live()
    only(request.args, ("session", "items", *WISHES))
    answers = sources().answers
    if not isinstance(answers, LiveAnswers):
        raise EventsOff(
            "name a user, as in GET /recommendations/<user>: lists of sessions and items need "
            "LARDER_EVENTS=true"
        )
    wanted = wish(generation, request.args)
    session, items = request.args.get("session"), request.args.get("items")
    if (session is None) == (items is None):
        raise BadParameter("give either session or items, or a user in the path")
    if items is None:
        session = identifier("session", session)
        return freshness.answer(*answers.session(generation, session, wanted))
    named = [identifier("items", item) for item in items.split(",")]
    if len(named) > MAX_ITEMS:
        raise BadParameter(f"items must be 1 to {MAX_ITEMS} ids, not {len(named)}")
    return freshness.answer(*answers.items(generation, named, wanted))


@bp.post("/recommendations")
def many() -> Response:
    """The lists of up to 100 users, in the order asked for; users times n is 10,000 at most."""
    generation = sources().watcher.live()
    only(request.args, ())
    asked = json_object('{"users":["1","2"],"n":5}')
    only(asked, ("users", *WISHES), "member")
    wanted = wish(generation, asked)
    users = asked.get("users")
    if not isinstance(users, list) or not 1 <= len(users) <= MAX_USERS:
        raise BadParameter(f"users must be a list of 1 to {MAX_USERS} user ids")
    users = [identifier("users", user) for user in users]
    if len(users) * wanted.n > MAX_ENTRIES:
        raise BadParameter(
            f"users x n must be at most {MAX_ENTRIES}, not {len(users)} x {wanted.n}: ask for "
            f"fewer users or a smaller n"
        )
    answers = sources().answers.many(generation, users, wanted)
    body = b'{"generation":"%s","answers":[%s]}' % (
        generation.manifest.generation.encode(),
        b",".join(answers),
    )
    return freshness.answer(body, None)
