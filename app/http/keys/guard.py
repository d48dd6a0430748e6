"""The door: a request needs a key that may do what it asks for, and may not come too often."""

import math
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from app.api.routes import is_explorer
from app.contracts.keys import Key
from app.errors import KeyNeeded, KeysUnknown, ScopeMissing, ServingError, TooLarge, TooManyRequests
from app.http.keys.known import KnownKeys
from app.http.keys.limits import Limits
from app.http.keys.presented import HEADERS, Presented, holds, in_body, in_headers, read
from app.http.keys.scopes import scope_of, takes_events
from app.http.problems import plain

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HOW = (
    "send a key as Authorization: Bearer <key>, X-API-Key: <key> or Ocp-Apim-Subscription-Key: "
    "<key>; a browser takes it as the user name"
)
Tell = Callable[[ServingError, list[tuple[str, str]], "StartResponse"], list[bytes]]


class Guard:
    """WSGI middleware around all that answers; what counts requests belongs around it.

    scope_of: what a key must be allowed, from method and path; tell: answers with an error.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        keys: KnownKeys,
        limits: Limits | None,
        max_body_bytes: int,
        scope_of: Callable[[str, str], str | None] = scope_of,
        tell: Tell = plain,
    ) -> None:
        self._application = application
        self._keys = keys
        self._limits = limits
        self._max_body_bytes = max_body_bytes
        self._scope_of, self._tell = scope_of, tell

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        scope = self._scope_of(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if scope is not None:
            try:
                self._admit(environ, scope)
            except (KeyNeeded, KeysUnknown, ScopeMissing, TooLarge, TooManyRequests) as error:
                headers = _headers(error, scope, environ["PATH_INFO"])
                return self._tell(error, headers, start_response)
        return self._application(environ, start_response)

    def _admit(self, environ: "WSGIEnvironment", scope: str) -> None:
        name, key = self._key(environ)
        if not key.allows(scope):
            raise ScopeMissing(f"this key lacks the scope {scope!r}, which this request needs")
        if self._limits and (wait := self._limits.wait_seconds(name, time.monotonic())):
            raise TooManyRequests(wait)
        environ["larder.key"] = name

    def _key(self, environ: "WSGIEnvironment") -> tuple[str, Key]:
        """The id and what is known of the key. Raises KeyNeeded, KeysUnknown, TooLarge."""
        if presented := in_headers(environ):
            return self._checked(presented)
        if environ["REQUEST_METHOD"] == "POST" and takes_events(environ["PATH_INFO"]):
            body = read(environ, self._max_body_bytes)
            if presented := in_body(body):
                checked = self._checked(presented)
                if holds(body, presented[1]):
                    return checked
        is_sent = any(environ.get(each) for each in HEADERS)
        what = "what was sent is no key, or not a whole one" if is_sent else "this needs a key"
        raise KeyNeeded(f"{what}: {_HOW}")

    def _checked(self, presented: Presented) -> tuple[str, Key]:
        name, text = presented
        key = self._keys.find(name)
        if key is None or not key.is_of(text):
            raise KeyNeeded(
                "nobody here knows this key: it is wrong, was revoked, or is of another namespace"
            )
        if key.has_expired(time.time()):
            raise KeyNeeded("this key has expired: ask for another")
        return name, key


def _headers(error: ServingError, scope: str, path: str) -> list[tuple[str, str]]:
    """What a refusal tells programs; a browser asks its user only for the key of ``Basic``."""
    if isinstance(error, KeyNeeded) and is_explorer(path):
        return [("WWW-Authenticate", 'Basic realm="larder: a key of scope admin as the user"')]
    if isinstance(error, KeyNeeded):
        return [("WWW-Authenticate", 'Bearer realm="larder"')]
    if isinstance(error, ScopeMissing):
        challenge = f'Bearer realm="larder", error="insufficient_scope", scope="{scope}"'
        return [("WWW-Authenticate", challenge)]
    if isinstance(error, TooManyRequests):
        return [("Retry-After", str(math.ceil(error.wait_seconds)))]
    return [("Retry-After", "1")] if isinstance(error, KeysUnknown) else []
