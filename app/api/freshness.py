"""How long an answer stays true: ETag, If-None-Match and Cache-Control.

Within a generation the answer of a URL never changes, so the generation is the ETag; where what
users do changes it, that is part of the ETag too. A degraded answer may be better the next moment:
it has no ETag and nobody may keep it.
"""

import json
from hashlib import sha256
from typing import Any

from flask import Response, current_app, request


def matches(etag: str) -> bool:
    """Whether the caller already holds an answer with that ETag.

    Ask before an answer is made only where there is one for certain: the tag of one URL matches at
    all others. ``*`` asks whether there is any answer, which only ``answer`` can tell.
    """
    if "HTTP_IF_NONE_MATCH" not in request.environ:
        return False
    return etag in request.if_none_match.as_set(include_weak=True)


def answer(body: bytes, etag: str | None) -> Response:
    """A JSON answer that a client may keep by its ETag, or without one may not keep at all."""
    if etag is not None and "HTTP_IF_NONE_MATCH" in request.environ and _is_held(etag):
        return not_modified(etag)
    return Response(body, headers=headers(etag, _max_age_seconds()))


def told(what: Any) -> Response:
    """What nobody may keep, as JSON."""
    return answer(json.dumps(what).encode(), None)


def not_modified(etag: str) -> Response:
    """304: what the caller holds is still true."""
    return Response(status=304, headers=headers(etag, _max_age_seconds())[1:])


def packaged(body: bytes, content_type: str) -> Response:
    """A file that comes with the release, which anybody may keep for an hour."""
    response = Response(body, content_type=content_type)
    response.set_etag(sha256(body).hexdigest()[:16])
    response.headers["Cache-Control"] = "public, max-age=3600"
    response.make_conditional(request)
    return response


def headers(etag: str | None, max_age_seconds: int) -> list[tuple[str, str]]:
    """The headers of a JSON answer, its kind first."""
    kind = ("Content-Type", "application/json")
    if etag is None:
        return [kind, ("Cache-Control", "no-store")]
    return [
        kind,
        ("ETag", f'"{etag}"'),
        ("Cache-Control", f"private, max-age={max_age_seconds}, must-revalidate"),
    ]


def _is_held(etag: str) -> bool:
    asked = request.if_none_match
    return request.method in ("GET", "HEAD") and (asked.star_tag or matches(etag))


def _max_age_seconds() -> int:
    seconds: int = current_app.config["LARDER"].max_age_seconds
    return seconds
