"""What is asked of the logs: since when, until when, over which intervals; and lists of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Self, TypeVar

from flask import Response, request

from app.api.decisions.operators.members import Members, answer, in_utc
from app.contracts.decisions import MAX_EVENT_ID, MAX_POLICY_NAME, Evaluation, Importance
from app.decisions.desk import MAX_JOBS, Jobs
from app.decisions.refusals import Refused

INTERVALS = (5, 60, 360, 720, 1440)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

R = TypeVar("R", Evaluation, Importance)


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of the results is wanted: times in ms since 1970, and minutes of an interval.

    origin: where the evaluation starts, within its first row; expands: each point holds all that
    was before, too.
    """

    origin: int
    start: int
    end: int
    minutes: int
    expands: bool

    @classmethod
    def read(cls, given: Mapping[str, str], start: str, end: str) -> Self:
        """That of a query; all of it, where it does not say. Raises Refused."""
        minutes = _whole(given, "intervalInMinutes", INTERVALS[0])
        if minutes not in INTERVALS:
            _refuse("intervalInMinutes", f"one of {', '.join(map(str, INTERVALS))}")
        fitting = "expanding" if minutes == INTERVALS[0] else "rolling"
        if given.get("window", fitting).lower() != fitting:
            _refuse("window", f"{fitting.title()} where intervalInMinutes is {minutes}")
        times = (_time(given, "startTime", start), _time(given, "endTime", end))
        return cls(_ms(start), *times, minutes, fitting == "expanding")

    def holds(self, at: int) -> bool:
        """Whether a row that begins then is wanted."""
        return self.start <= max(at, self.origin) < self.end

    def end_of(self, at: int) -> int:
        """When the interval of a time ends; they begin at midnight in UTC."""
        length = self.minutes * 60_000
        return (at // length + 1) * length

    def told(self) -> dict[str, Any]:
        """As it is answered."""
        times = {"startTime": moment(self.start), "endTime": moment(self.end)}
        return {**times, "intervalInMinutes": self.minutes}


def moment(ms: int) -> str:
    """A time as ISO 8601 writes it."""
    return in_utc((_EPOCH + timedelta(milliseconds=ms)).isoformat())


def identifier(id: str, code: str) -> str:
    """An id of the path. Raises Refused."""
    if len(id) > MAX_EVENT_ID or not id.isprintable():
        message = f"An id must be printable text of {MAX_EVENT_ID} characters at most."
        raise Refused(400, code, message, "id")
    return id


def of_logs(logs: Mapping[str, str], members: Members) -> tuple[str, str, str]:
    """The name, the start and the end of what is asked. Raises Refused, also without such logs."""
    name = members.text("name", MAX_POLICY_NAME)
    start, end = members.time("startTime"), members.time("endTime")
    if _ms(start) >= _ms(end):
        members.refuse("endTime", "later than startTime")
    if not logs or _ms(end) <= _ms(logs["from"]) or _ms(start) > _ms(logs["to"]):
        there = f"they reach from {logs['from']} to {logs['to']}" if logs else "there are none yet"
        message = f"No logs exist in the given date range: {there}."
        raise Refused(400, "NoLogsExistInDateRange", message)
    return name, start, end


def file(jobs: Jobs[R], record: R, code: str) -> None:
    """Put it to the others, unless the same was asked before. Raises Refused."""
    if jobs.add(record):
        return
    there = jobs.find(record.id)
    if there is None:
        message = f"There are {MAX_JOBS} already, and no more are kept: delete one first."
        raise Refused(400, code, message)
    if _asked(there) != _asked(record):
        message = "Another one has this id: take another id, or delete that one first."
        raise Refused(400, code, message, "id")


def head(record: Evaluation | Importance) -> dict[str, Any]:
    """The members that all have in all versions."""
    told = {
        "id": record.id,
        "name": record.name,
        "startTime": record.start,
        "endTime": record.end,
        "creationTime": record.created,
    }
    return told | ({"description": record.problem} if record.problem else {})


def page(found: list[dict[str, Any]]) -> Response:
    """The part of a list that the query asks for; so few are kept that it is never two pages."""
    skip, top = _whole(request.args, "skip", 0), _whole(request.args, "top", len(found))
    return answer({"value": found[skip : skip + top]})


def _asked(record: Evaluation | Importance) -> object:
    """What a client has said of it."""
    parts: list[object] = [record.name, record.start, record.end]
    if isinstance(record, Evaluation):
        parts += [[list(each) for each in record.policies], record.search]
    return parts


def _ms(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)


def _time(given: Mapping[str, str], name: str, default: str) -> int:
    try:
        return _ms(in_utc(given.get(name, default)))
    except (ValueError, OverflowError):
        _refuse(name, "a time of ISO 8601, such as 2026-08-25T00:00:00Z")


def _whole(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        _refuse(name, "a whole number")
    return int(text)


def _refuse(name: str, allowed: str) -> NoReturn:
    raise Refused(400, "InvalidRequest", f"{name} must be {allowed}.", name)
