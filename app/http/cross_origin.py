"""Whose web pages may call from another origin: those that ``LARDER_CORS_ORIGINS`` names.

A browser asks before it lets such a page send JSON, and hides what is answered unless the answer
names the page's origin. No credentials: the API has no cookies.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from app.api.routes import is_why

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

EVENTS, LISTS = "/events", "/recommendations"

Headers = list[tuple[str, str]]

_LEAVE = [
    ("Access-Control-Allow-Headers", "Authorization, Content-Type, If-None-Match, X-API-Key"),
    ("Access-Control-Max-Age", "7200"),
    ("Content-Length", "0"),
]


class CrossOrigin:
    """WSGI middleware around all that answers; who asks for leave has no key yet."""

    def __init__(self, application: "WSGIApplication", origins: frozenset[str]) -> None:
        self._application = application
        self._origins = origins

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if not _is_for_pages(environ["PATH_INFO"]):
            return self._application(environ, start_response)
        added: Headers = [("Vary", "Origin")]
        origin = environ.get("HTTP_ORIGIN")
        if origin in self._origins:
            added += [
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Expose-Headers", "ETag, Retry-After"),
            ]
            if _asks_for_leave(environ):
                method = "POST" if environ["PATH_INFO"] == EVENTS else "GET"
                added.append(("Access-Control-Allow-Methods", method))
                start_response("204 No Content", [*added, *_LEAVE])
                return []

        def start(line: str, headers: Headers, *others: Any) -> Any:
            return start_response(line, [*headers, *added], *others)

        return self._application(environ, start)


def _is_for_pages(path: str) -> bool:
    return path in (EVENTS, LISTS) or (path.startswith(f"{LISTS}/") and not is_why(path))


def _asks_for_leave(environ: "WSGIEnvironment") -> bool:
    is_preflight = "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    return environ["REQUEST_METHOD"] == "OPTIONS" and is_preflight
