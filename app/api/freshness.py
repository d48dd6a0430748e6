"""How long an answer stays true: ETag, If-None-Match and Cache-Control.

Within a generation the answer of a URL never changes, so the generation is the ETag. A degraded
answer may be better the next moment: it has no ETag and nobody may keep it.
"""

from flask import Response, current_app, request

from app.recommendations.generation import Generation


def matches(generation: Generation) -> bool:
    """Whether the caller already holds an answer of this generation.

    Ask before an answer is made only where there is one for certain: the tag of one URL matches at
    all others. ``*`` asks whether there is any answer, which only ``answer`` can tell.
    """
    if "HTTP_IF_NONE_MATCH" not in request.environ:
        return False
    return generation.etag in request.if_none_match.as_set(include_weak=True)


def answer(generation: Generation, body: bytes, *, keep: bool) -> Response:
    """A JSON answer that a client may keep for this generation, or may not keep at all."""
    if keep and "HTTP_IF_NONE_MATCH" in request.environ and _is_held(generation):
        return not_modified(generation)
    return Response(body, headers=headers(generation, _max_age_seconds(), keep=keep))


def not_modified(generation: Generation) -> Response:
    """304: what the caller holds is still true."""
    return Response(status=304, headers=headers(generation, _max_age_seconds(), keep=True)[1:])


def headers(generation: Generation, max_age_seconds: int, *, keep: bool) -> list[tuple[str, str]]:
    """The headers of a JSON answer, its kind first."""
    kind = ("Content-Type", "application/json")
    if not keep:
        return [kind, ("Cache-Control", "no-store")]
    return [
        kind,
        ("ETag", f'"{generation.etag}"'),
        ("Cache-Control", f"private, max-age={max_age_seconds}, must-revalidate"),
    ]


def _is_held(generation: Generation) -> bool:
    asked = request.if_none_match
    return request.method in ("GET", "HEAD") and (asked.star_tag or matches(generation))


def _max_age_seconds() -> int:
    seconds: int = current_app.config["LARDER"].max_age_seconds
    return seconds
