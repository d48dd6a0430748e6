"""The key that a request brings: in a header, or in the body of one that brings events."""

import base64
import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from app.contracts.keys import foreign_id, id_of
from app.errors import TooLarge
from app.http.problems import TOO_LARGE

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Presented = tuple[str, str]
"""The id of a key, and the key."""

HEADERS = ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_OCP_APIM_SUBSCRIPTION_KEY")

_MEMBER = re.compile(rb'"key"\s*:\s*"(larder_[a-z2-7]{8}_[\w-]{43})"\s*[,}]', re.ASCII)
_BEGINNING = re.compile(rb"\s*\{\s*")


def in_headers(environ: "WSGIEnvironment") -> Presented | None:
    """``Authorization: Bearer``, the user name of ``Basic``, or ``X-API-Key``.

    Or ``Ocp-Apim-Subscription-Key``, the one header that may bring a foreign key.
    """
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if authorization.startswith("Bearer "):  # as most do
        text = authorization[7:]
        if name := id_of(text):
            return name, text
    for text in _texts(environ, authorization):
        if name := id_of(text):
            return name, text
    text = environ.get(HEADERS[-1], "")
    name = id_of(text) or foreign_id(text)
    return (name, text) if name else None


def in_body(body: bytes) -> Presented | None:
    """What looks like the member ``key`` of a JSON object; ``holds`` says whether it is that.

    Nothing is parsed, for whoever sends it may have no key.
    """
    found = _MEMBER.search(body)
    if found is None:
        return None
    text = found[1].decode()
    name = id_of(text)
    return (name, text) if name else None


def holds(body: bytes, key: str) -> bool:
    """Whether the key that ``in_body`` found is the member ``key`` of a JSON object.

    Ask it of a key that is known: where that does not come first, the body is parsed.
    """
    beginning = _BEGINNING.match(body)
    if beginning and _MEMBER.match(body, beginning.end()):
        return True
    try:
        return bool(json.loads(body)["key"] == key)
    except (KeyError, TypeError, ValueError, RecursionError):
        return False


def _texts(environ: "WSGIEnvironment", authorization: str) -> Iterator[str]:
    kind, _, text = authorization.partition(" ")
    if kind.lower() == "bearer":
        yield text.strip()
    elif kind.lower() == "basic":
        yield _user_name(text)
    yield environ.get("HTTP_X_API_KEY", "")


def _user_name(text: str) -> str:
    try:
        return base64.b64decode(text).decode("latin-1").partition(":")[0]
    except ValueError:
        return ""


def read(environ: "WSGIEnvironment", max_bytes: int) -> bytes:
    """The body, which the application finds as it was. Raises TooLarge."""
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdigit() and int(length) > max_bytes:
        raise TooLarge(TOO_LARGE.format(max_bytes))
    is_chunked = "wsgi.input_terminated" in environ
    asked = max_bytes + 1 if is_chunked else int(length) if length.isdigit() else 0
    body: bytes = environ["wsgi.input"].read(asked)
    if len(body) > max_bytes:
        raise TooLarge(TOO_LARGE.format(max_bytes))
    environ["wsgi.input"] = BytesIO(body)
    return body
