"""Plain ``GET /recommendations/<user>`` and some bodies before Flask: most of all requests.

The Flask routes, and those of ``POST /events`` and ``POST /rank/click``, give the same bytes and
headers, and answer all that is not plain here: a query, a condition, another method, an error. This
way round a warm request costs 0.57 of the processor time (``make bench-serving`` prints both).
Hooks of Flask do not see it: what counts requests belongs around this middleware.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from app.api import FAILED, Sources, events, freshness
from app.api.parameters import identifier
from app.api.scoring import candidates, clicks
from app.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX, EVENTS, RANK = "/recommendations/", "/events", "/rank/click"


class Direct:
    """WSGI middleware around the Flask application."""

    def __init__(self, flask: "WSGIApplication", sources: Sources, settings: Settings) -> None:
        self._flask, self._sources = flask, sources
        self._watcher = sources.watcher
        self._answers = sources.answers
        self._stream = sources.stream
        self._max_age_seconds = settings.max_age_seconds
        self._max_body_bytes = settings.max_body_bytes

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if _is_plain(environ):
            return self._list(environ, start_response)
        if self._stream and _brings(EVENTS, environ, self._max_body_bytes):
            return self._told(environ, start_response, self._take)
        if self._sources.ranker and _brings(RANK, environ, self._max_body_bytes):
            return self._told(environ, start_response, self._rank)
        return self._flask(environ, start_response)

    def _list(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        try:
            user = environ["PATH_INFO"][len(PREFIX) :].encode("latin-1").decode()
            generation = self._watcher.live()
            body, etag = self._answers.one(generation, identifier("user", user))
        except Exception:  # whatever it is, Flask answers it as a problem
            return self._flask(environ, start_response)
        headers = freshness.headers(etag, self._max_age_seconds)
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _told(
        self,
        environ: "WSGIEnvironment",
        start_response: "StartResponse",
        tell: Callable[[bytes], tuple[str, list[tuple[str, str]], bytes]],
    ) -> Iterable[bytes]:
        try:
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            status, headers, told = tell(body)
        except Exception as error:  # Flask makes a problem of it, and must not write again
            environ[FAILED] = error
            return self._flask(environ, start_response)
        start_response(status, [*headers, ("Content-Length", str(len(told)))])
        return [told]

    def _take(self, body: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
        assert self._stream
        told = events.as_json(events.write(self._stream, body))
        return "202 ACCEPTED", freshness.headers(None, 0), told

    def _rank(self, body: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
        told, version = clicks.ranked(self._sources, candidates.read(body))
        return "200 OK", clicks.headers(version), told


def _is_plain(environ: "WSGIEnvironment") -> bool:
    return (
        environ["REQUEST_METHOD"] == "GET"
        and environ["PATH_INFO"].startswith(PREFIX)
        and not environ.get("QUERY_STRING")
        and "HTTP_IF_NONE_MATCH" not in environ
    )


def _brings(path: str, environ: "WSGIEnvironment", max_bytes: int) -> bool:
    """Whether a plain body is sent there."""
    length = environ.get("CONTENT_LENGTH", "")
    return (
        environ["REQUEST_METHOD"] == "POST"
        and environ["PATH_INFO"] == path
        and environ.get("CONTENT_TYPE") == "application/json"
        and length.isdecimal()
        and int(length) <= max_bytes
        and not environ.get("QUERY_STRING")
        and environ.keys().isdisjoint(_ASIDE)
    )


_ASIDE = frozenset(
    ("HTTP_ORIGIN", "HTTP_CONTENT_ENCODING", "HTTP_CE_SPECVERSION", "wsgi.input_terminated")
)
