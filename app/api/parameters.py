"""What callers pass in, checked: an error names the parameter, its range and what was found."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.routing import BaseConverter

from app.contracts.filtering.filters import BadFilter, parse
from app.contracts.recommendations import MAX_ID_BYTES, MAX_K
from app.errors import BadParameter
from app.recommendations.answer import FALLBACKS, Wish
from app.recommendations.generation import Generation
from app.recommendations.rules.in_force import Clauses

FILTER = "filter"
"""The one parameter that may come several times."""

WISHES = ("n", "fallback", FILTER)
"""What ``wish`` reads."""


class IdConverter(BaseConverter):
    """Any id in a path: slashes, line breaks and all."""

    regex = r"(?s:.+)"
    part_isolating = False


def only(given: Iterable[str], known: tuple[str, ...], what: str = "parameter") -> None:
    """Raise BadParameter for a name that is not known, which may be a slip, or stands twice."""
    for name in given:
        if name not in known:
            there = f"it takes {', '.join(known)}" if known else "it takes none"
            raise BadParameter(f"unknown {what} {name[:40]!r}: {there}")
        if name != FILTER and isinstance(given, MultiDict) and len(given.getlist(name)) > 1:
            raise BadParameter(f"{name} is given more than once: give it once")


def number(name: str, value: object, default: int, low: int, high: int) -> int:
    """A whole number in low..high, given as text or number; the default for None."""
    if value is None:
        return default
    text = str(value)
    if not isinstance(value, bool) and text.isascii() and text.isdigit() and len(text) < 10:
        if low <= int(text) <= high:
            return int(text)
    raise BadParameter(f"{name} must be a whole number from {low} to {high}, not {text[:40]!r}")


def length(value: object, k: int) -> int:
    """How many items to answer: 1 to the k of the generation, which is also the default."""
    return number("n", value, k, 1, k)


def wish(generation: Generation, asked: Mapping[str, Any], most: int = MAX_K) -> Wish:
    """What is wanted of a list, by parameters or by the members of a body."""
    n = length(asked.get("n"), min(generation.manifest.k, most))
    fallback = choice("fallback", asked.get("fallback"), FALLBACKS)
    filters = asked.getlist(FILTER) if isinstance(asked, MultiDict) else asked.get(FILTER)
    return Wish(n, fallback, clauses(generation, filters))


def choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """One of the choices; the first one for None."""
    if value is None:
        return choices[0]
    if value in choices:
        return str(value)
    raise BadParameter(f"{name} must be {' or '.join(choices)}, not {str(value)[:40]!r}")


def clauses(generation: Generation, asked: object) -> Clauses:
    """A filter as a list of texts, or as JSON; None for no filter."""
    if asked is None or asked == []:
        return ()
    if generation.lacking:
        raise BadParameter(generation.lacking)
    try:
        found = parse(asked, generation.rules.named)
        for clause in found:
            clause.check(generation.rules.types)
    except (BadFilter, RecursionError) as error:
        raise BadParameter(f"filter: {error}") from error
    return found


def body() -> bytes:
    """What was sent as JSON, of another type than which nothing is taken."""
    if not request.is_json:
        raise UnsupportedMediaType("send a JSON object with Content-Type: application/json")
    sent = request.get_data()
    request.stream.read(1)  # a chunked body is cut at the limit, and only this says so: 413
    return sent


def json_object(example: str) -> dict[str, Any]:
    """The body as a JSON object, such as in the example."""
    return as_object(body(), example)


def as_object(body: bytes, example: str) -> dict[str, Any]:
    """The same of a body that has been read."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadParameter(f"the body must be JSON: {error}") from error
    if not isinstance(asked, dict):
        raise BadParameter(f"the body must be a JSON object such as {example}")
    return asked


def path_identifier(name: str, value: str) -> str:
    """An id from the path, where Flask has put U+FFFD for whatever is not UTF-8."""
    check_path(name, value)
    return identifier(name, value)


def check_path(name: str, value: str) -> None:
    """Raise BadParameter where the path is not UTF-8."""
    try:
        request.environ["PATH_INFO"].encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise BadParameter(f"{name} must be percent-encoded UTF-8, not {value[:40]!r}") from error


def identifier(name: str, value: object) -> str:
    """An id: text of 1 to 1,024 UTF-8 bytes."""
    if not isinstance(value, str) or not value:
        raise BadParameter(f"{name} must be text that is not empty, not {_shown(value)}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise BadParameter(f"{name} holds a lone surrogate, which no text has") from error
    if size > MAX_ID_BYTES:
        raise BadParameter(f"{name} must be at most {MAX_ID_BYTES} bytes of UTF-8, not {size}")
    return value


def _shown(value: object) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"the number {str(value)[:40]}" if is_number else repr(str(value)[:40])
