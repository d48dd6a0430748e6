"""``/``: what can be asked, for whoever comes by."""

import json
import re

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import NotFound

bp = Blueprint("index", __name__)


@bp.get("/", strict_slashes=False)
def routes() -> Response:
    """These routes."""
    if request.environ["PATH_INFO"] != "/":
        raise NotFound  # of a path of slashes alone Flask sees only the first
    found = {}
    for rule in current_app.url_map.iter_rules():
        if not rule.build_only:
            (method,) = (rule.methods or set()) & {"DELETE", "GET", "PATCH", "POST", "PUT"}
            sentence = (current_app.view_functions[rule.endpoint].__doc__ or "").partition("\n")[0]
            found[f"{method} {re.sub('<[a-z]+:', '<', rule.rule)}"] = sentence
    return Response(json.dumps({"routes": found}), content_type="application/json")
