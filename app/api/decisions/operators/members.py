"""The members of what operators send, and of what they are answered: durations, times, numbers."""

import json
import math
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, NoReturn

from flask import Response, request

from app.contracts.decisions import DAY_MS
from app.decisions.refusals import Refused

_ISO = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)", re.ASCII)
_UNITS_MS = (DAY_MS, 3_600_000, 60_000, 1_000)
_LONG = 40
_OTHER = "an object or an array"


def answer(told: object, status: int = 200) -> Response:
    """JSON, as the service sends it."""
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    response = Response(text, status, content_type="application/json; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response


def of_body(code: str) -> "Members":
    """The members of the request's body. Raises Refused."""
    try:
        return Members(json.loads(request.get_data()), code)
    except (ValueError, RecursionError) as error:
        raise Refused(400, code, f"The body must be JSON: {error}.") from error


class Members:
    """Those of a JSON object; what is wrong with one is refused by its name, under one code.

    A member that is null is one that is not there, for some clients send all that they know.
    """

    def __init__(self, found: object, code: str) -> None:
        if not isinstance(found, dict):
            raise Refused(400, code, "A JSON object is required.")
        self._code = code
        self._given = {name: value for name, value in found.items() if value is not None}

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def require(self, names: Sequence[str]) -> None:
        """Refuse a body without all of them."""
        if missing := [name for name in names if name not in self]:
            verb = "is" if len(missing) == 1 else "are"
            message = f"{', '.join(missing)} {verb} required."
            raise Refused(400, self._code, message, missing[0])

    def allow(self, names: Collection[str]) -> None:
        """Refuse a body with any other, which may be one of them misspelt."""
        if others := self._given.keys() - set(names):
            other = min(others)
            like = get_close_matches(other, names, 1)
            message = f"There is no member {other!a:.60}"
            message += f": did you mean {like[0]}?" if like else f"; there are {', '.join(names)}."
            raise Refused(400, self._code, message)

    def refuse(self, name: str, allowed: str, code: str = "") -> NoReturn:
        """Say what a member may be."""
        value = self._given.get(name)
        shown = json.dumps(value)[:_LONG] if not isinstance(value, (dict, list)) else _OTHER
        raise Refused(400, code or self._code, f"{name} must be {allowed}, not {shown}.", name)

    def text(self, name: str, most: int) -> str:
        """Text of 1 to ``most`` characters."""
        self.require([name])
        value = self._given[name]
        if not isinstance(value, str) or not 0 < len(value) <= most or not _is_unicode(value):
            self.refuse(name, f"text of 1 to {most} characters")
        return value

    def number(self, name: str, low: float, high: float) -> float:
        """A number between two, which it may be."""
        value = self._given[name]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            self.refuse(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, name: str, low: int, high: int, code: str = "") -> int:
        """A whole number between two."""
        value = self._given[name]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(name, f"a whole number from {low} to {high}", code)
        return value

    def flag(self, name: str) -> bool:
        """True or false; false where it is not there."""
        value = self._given.get(name, False)
        if not isinstance(value, bool):
            self.refuse(name, "true or false")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """One of these, whatever its case."""
        value = str(self._given[name]).lower()
        for each in choices:
            if each.lower() == value:
                return each
        self.refuse(name, f"one of {', '.join(choices)}")

    def array(self, name: str) -> list[Any]:
        """A list; empty where it is not there."""
        value = self._given.get(name, [])
        if not isinstance(value, list):
            self.refuse(name, "an array")
        return value

    def time(self, name: str) -> str:
        """A time of ISO 8601, in UTC; one without a zone is held to be so."""
        self.require([name])
        try:
            return in_utc(self._given[name])
        except (TypeError, ValueError, OverflowError):
            self.refuse(name, "a time of ISO 8601, such as 2026-08-25T00:00:00Z")

    def duration_ms(self, name: str, low_ms: int, high_ms: int, code: str = "") -> int:
        """A duration, as ISO 8601 or .NET writes it."""
        found = _milliseconds(self._given[name])
        if found is None or not low_ms <= found <= high_ms:
            allowed = f"a duration from {duration(low_ms)} to {duration(high_ms)}"
            self.refuse(name, allowed, code)
        return found


def in_utc(text: str) -> str:
    """The same time as ``2026-08-25T00:00:00Z``. Raises TypeError, ValueError, OverflowError."""
    found = datetime.fromisoformat(text)
    found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    return found.isoformat().replace("+00:00", "Z")


def now() -> str:
    """The time now."""
    return in_utc(datetime.now(UTC).isoformat(timespec="milliseconds"))


def duration(ms: int) -> str:
    """A duration as ISO 8601 writes it: ``PT4H``, ``P27D``."""
    days, rest = divmod(ms, DAY_MS)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    told = [(hours, "H"), (minutes, "M"), (f"{rest / 1000:g}" if rest else 0, "S")]
    clock = "".join(f"{amount}{unit}" for amount, unit in told if amount)
    if not days and not clock:
        return "PT0S"
    return f"P{days}D" * (days > 0) + "P" * (days == 0) + f"T{clock}" * bool(clock)


def _milliseconds(value: object) -> int | None:
    text = value if isinstance(value, str) and len(value) <= _LONG else ""
    found = _CLOCK.fullmatch(text) or _ISO.fullmatch(text)
    if found is None or text[-1] in "PT":
        return None
    total = sum(float(n or 0) * unit for n, unit in zip(found.groups(), _UNITS_MS, strict=True))
    return round(total) if math.isfinite(total) else None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
