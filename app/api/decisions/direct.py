"""Plain rank and reward before Flask: nearly all requests, with the same bytes and headers."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.api import FAILED
from app.api.decisions import PREVIEW, calls
from app.decisions.decider import Decider

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_CALL = re.compile(r"/personalizer(/v1\.(?:0|1-preview\.[123]))?/(?:rank|events/((?s:.+))/reward)")
_ASIDE = frozenset(("HTTP_ORIGIN", "HTTP_CONTENT_ENCODING", "wsgi.input_terminated"))


class DirectCalls:
    """WSGI middleware around the Flask application."""

    def __init__(self, flask: "WSGIApplication", decider: Decider, max_body_bytes: int) -> None:
        self._flask, self._decider = flask, decider
        self._max_body_bytes = max_body_bytes

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        found = _CALL.fullmatch(environ["PATH_INFO"])
        if found is None or not self._is_plain(environ, found[1] is not None):
            return self._flask(environ, start_response)
        try:
            event_id = found[2] and found[2].encode("latin-1").decode()
        except UnicodeDecodeError:
            return self._flask(environ, start_response)
        try:
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            return self._answer(event_id, body, start_response)
        except Exception as error:  # Flask makes an envelope of it, and must not write again
            environ[FAILED] = error
            return self._flask(environ, start_response)

    def _answer(
        self, event_id: str | None, body: bytes, start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if event_id is not None:
            self._decider.reward(event_id, body)
            start_response("204 NO CONTENT", calls.EMPTY.copy())
            return []
        answer = self._decider.rank(body)
        size = ("Content-Length", str(len(answer.body)))
        start_response("201 CREATED", [*calls.headers(answer), size])
        return [answer.body]

    def _is_plain(self, environ: "WSGIEnvironment", has_version: bool) -> bool:
        length = environ.get("CONTENT_LENGTH", "")
        return (
            environ["REQUEST_METHOD"] == "POST"
            and length.isdecimal()
            and int(length) <= self._max_body_bytes
            and environ.get("QUERY_STRING", "") == ("" if has_version else _QUERY)
            and environ.keys().isdisjoint(_ASIDE)
        )


_QUERY = f"api-version={PREVIEW}"
