"""One event as clients send it, checked member by member::

    {"type": "click", "user": "4711", "item": "sku-9", "time": "2026-11-21T14:03:07.123Z"}

``app.contracts.events.Event`` names all members, and so do the readers here. Where ``id`` is
missing one is made; where ``time`` is missing the event is of now.
"""

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from app.contracts.events import Event, problem_of

FUTURE_MS = 300_000
"""A client's clock may be ahead by so much; what it says is later happened now."""

_SECONDS_BELOW = 1e11
"""A smaller number counts seconds: as milliseconds it would be in March 1973 at the latest."""

_SHOWN = 60


class Unacceptable(ValueError):
    """A sentence that says why an event cannot be taken."""


def event_of(told: object, now_ms: int) -> Event:
    """The event that a JSON object tells of. Raises Unacceptable."""
    if not isinstance(told, dict):
        raise Unacceptable(f"an event must be an object, not {shown(told)}")
    given = _read(told)
    if given.setdefault("time", now_ms) > now_ms + FUTURE_MS:
        given["time"] = now_ms
    if "id" not in given:
        given["id"] = uuid4().hex
    given.setdefault("type", "")
    event = Event(**given)
    if problem := problem_of(event):
        raise Unacceptable(problem)
    return event


def time_of(name: str, value: object) -> int:
    """Milliseconds since 1970 of ISO 8601 text or of a number, in seconds or milliseconds.

    Text without an offset is of UTC. Raises Unacceptable.
    """
    if isinstance(value, str):
        seconds = _seconds(value)
    else:
        seconds = number_of(name, value)
        if abs(seconds) >= _SECONDS_BELOW:
            seconds /= 1000
    if seconds is None or seconds < 0:
        raise Unacceptable(
            f"{name} must be ISO 8601 text, or seconds or milliseconds since 1970, "
            f"not {shown(value)}"
        )
    return round(seconds * 1000)


def number_of(name: str, value: object) -> float:
    """A number that is finite. Raises Unacceptable."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise Unacceptable(f"{name} must be a number, not {shown(value)}")


def shown(value: object) -> str:
    """As much of a value as a sentence may repeat."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits, or a deep list
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _read(told: Mapping[str, object]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in told.items():
        read = _READERS.get(name)
        if read is None:
            known = ", ".join(_READERS)
            raise Unacceptable(f"unknown member {shown(name)}: an event has {known}")
        if value is not None:
            given[name] = read(name, value)
    return given


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise Unacceptable(f"{name} must be text, not {shown(value)}")


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_text(name, each) for each in value)
    raise Unacceptable(f"{name} must be a list, not {shown(value)}")


def _position(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise Unacceptable(f"{name} must be a whole number from 0, not {shown(value)}")


def _properties(name: str, value: object) -> str:
    if not isinstance(value, dict):
        raise Unacceptable(f"{name} must be an object, not {shown(value)}")
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:  # 1e999 is read as infinity, which no JSON can hold
        raise Unacceptable(f"{name} must hold numbers that are finite") from error
    except RecursionError as error:  # reading goes a little deeper than writing
        raise Unacceptable(f"{name} must not be nested so deep") from error


def _seconds(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH).total_seconds()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READERS: Mapping[str, Callable[[str, object], Any]] = {
    "id": _text,
    "type": _text,
    "user": _text,
    "session": _text,
    "item": _text,
    "items": _texts,
    "time": time_of,
    "value": number_of,
    "list": _text,
    "position": _position,
    "properties": _properties,
}
