"""A request's body becomes events, and sentences about those that cannot be taken."""

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

from app.contracts.events import MAX_EVENTS, Event
from app.errors import BadParameter
from app.events.native import Unacceptable, event_of
from app.events.shapes import Native, NoEvent, Told, cloudevents, gorse, personalize, segment

KEY = "key"
"""What stands beside an event, or beside a list of them, for beacons have no headers."""


Shape = Callable[[Told], Iterable[Native]]
"""What makes our own events of a tracker's."""

SHAPES: Mapping[str, Shape] = {
    "specversion": cloudevents.events,
    "eventType": personalize.events,
    "FeedbackType": gorse.events,
    "messageId": segment.events,
    "userId": segment.events,
    "anonymousId": segment.events,
}
"""The member that only this tracker's events have; the first that is there decides."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What a body held: the events of the entries that can be taken, and why others cannot.

    ignored: how many entries of another tracker tell of no item. rejected: the place of an entry,
    from 0, and a sentence.
    """

    events: Sequence[Event]
    accepted: int
    ignored: int
    rejected: Sequence[tuple[int, str]]


def take_in(told: object, now_ms: int) -> Intake:
    """The events of one object, of a list, or of an object that holds a list.

    Raises BadParameter when it is none of these, or when every entry is rejected.
    """
    entries = _entries(told)
    if not 1 <= len(entries) <= MAX_EVENTS:
        raise BadParameter(f"send 1 to {MAX_EVENTS} events at a time, not {len(entries)}")
    events: list[Event] = []
    rejected: list[tuple[int, str]] = []
    ignored = 0
    for index, entry in enumerate(entries):
        try:
            made = [event_of(native, now_ms) for native in _bounded(_natives(entry))]
        except (NoEvent, Unacceptable) as problem:
            rejected.append((index, str(problem)))
        else:
            events += made
            ignored += not made
    if len(rejected) == len(entries):
        raise BadParameter(f"no event can be taken; event 0: {rejected[0][1]}")
    return Intake(events, len(entries) - len(rejected) - ignored, ignored, rejected)


def _entries(told: object) -> list[Any]:
    found = told
    if isinstance(told, dict):
        beside = {name: value for name, value in told.items() if name != KEY}
        if "eventList" in told:
            found = personalize.entries(told)
        elif "batch" in told:
            found = told["batch"]
        else:
            found = beside["events"] if beside.keys() == {"events"} else [beside]
    if isinstance(found, list):
        return found
    raise BadParameter(
        'send one event, a list of events, or one in {"events":[...]} or {"batch":[...]}'
    )


def _natives(entry: object) -> Iterable[object]:
    if isinstance(entry, dict):
        for name, shape in SHAPES.items():
            if name in entry:
                return shape(entry)
    return [entry]


def _bounded(natives: Iterable[object]) -> list[object]:
    found = list(islice(natives, MAX_EVENTS + 1))
    if len(found) > MAX_EVENTS:
        raise Unacceptable(f"it holds over {MAX_EVENTS} events: send it in parts")
    return found


def parse(body: bytes) -> object:
    """A body's JSON. Raises BadParameter when it is none, as of NaN and of wrong UTF-8."""
    try:
        return json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadParameter(f"the body must be JSON in UTF-8: {error}") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def unpack(body: bytes, most: int) -> bytes | None:
    """What a gzip holds; None when that is more than so many bytes. Raises BadParameter."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        unpacked = stream.decompress(body, most + 1)
    except zlib.error as error:
        raise BadParameter(f"the body must be gzip, as Content-Encoding says: {error}") from error
    if len(unpacked) > most:
        return None
    if not stream.eof:
        raise BadParameter("the body must be gzip, as Content-Encoding says: it ends too early")
    if stream.unused_data:
        raise BadParameter("the body must be one gzip member, and more follows it")
    return unpacked
