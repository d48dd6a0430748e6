"""The plain ``GET /recommendations/<user>`` before Flask is asked: most of all requests.

The Flask route ``app.api.recommendations.one`` gives the same bytes and headers, and answers all
that is not plain here: a query, a condition, another method, an error. This way round a warm
request costs 0.57 of the processor time (``make bench-serving`` prints both). Hooks of Flask do not
see it: what counts requests belongs around this middleware.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.api import Sources, freshness
from app.api.parameters import identifier

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/recommendations/"


class Direct:
    """WSGI middleware around the Flask application."""

    def __init__(self, flask: "WSGIApplication", sources: Sources, max_age_seconds: int) -> None:
        self._flask = flask
        self._watcher = sources.watcher
        self._answers = sources.answers
        self._max_age_seconds = max_age_seconds

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if not _is_plain(environ):
            return self._flask(environ, start_response)
        try:
            user = environ["PATH_INFO"][len(PREFIX) :].encode("latin-1").decode()
            generation = self._watcher.live()
            body, etag = self._answers.one(generation, identifier("user", user))
        except Exception:  # whatever it is, Flask answers it as a problem
            return self._flask(environ, start_response)
        headers = freshness.headers(etag, self._max_age_seconds)
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]


def _is_plain(environ: "WSGIEnvironment") -> bool:
    return (
        environ["REQUEST_METHOD"] == "GET"
        and environ["PATH_INFO"].startswith(PREFIX)
        and not environ.get("QUERY_STRING")
        and "HTTP_IF_NONE_MATCH" not in environ
    )
