"""``/users/sample``: whom a load test may ask for; off unless a setting allows it."""

import json

from flask import Blueprint, Response, current_app, request

from app.api import freshness, sources
from app.api.parameters import number, only
from app.contracts.recommendations import SAMPLE_SIZE
from app.errors import SampleForbidden

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
    users = sources().lookup.sample(generation)[:n]
    body = json.dumps({"generation": generation.manifest.generation, "users": users})
    return freshness.answer(body.encode(), None)
