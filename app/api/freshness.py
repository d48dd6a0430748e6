"""How long an answer stays true: ETag, If-None-Match and Cache-Control.

Within a generation the answer of a URL never changes, so the generation is the ETag. A degraded
answer may be better the next moment: it has no ETag and nobody may keep it.
"""

from flask import Response, current_app, request

from app.generation import Generation


def matches(generation: Generation) -> bool:
    """Whether the caller already holds this URL's answer of this generation.

    ``*`` asks whether there is any answer, which only ``answer`` can tell.
    """
    return generation.etag in request.if_none_match.as_set(include_weak=True)


def answer(generation: Generation, body: bytes, *, keep: bool) -> Response:
    """A JSON answer that a client may keep for this generation, or may not keep at all."""
    if keep and request.method in ("GET", "HEAD") and request.if_none_match.star_tag:
        return not_modified(generation)
    response = Response(body, content_type="application/json")
    if keep:
        _keep(response, generation)
    else:
        response.headers["Cache-Control"] = "no-store"
    return response


def not_modified(generation: Generation) -> Response:
    """304: what the caller holds is still true."""
    response = Response(status=304)
    _keep(response, generation)
    return response


def _keep(response: Response, generation: Generation) -> None:
    seconds: int = current_app.config["LARDER"].max_age_seconds
    response.headers["ETag"] = f'"{generation.etag}"'
    response.headers["Cache-Control"] = f"private, max-age={seconds}, must-revalidate"
