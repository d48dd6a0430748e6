"""The words of the room: a decision with what came of it, and where it stands in the logs."""

from datetime import UTC, datetime
from typing import NamedTuple

from app.contracts.decisions import Mode, Slot


class Joined(NamedTuple):
    """A decision whose window has closed.

    position: its entry in the stream, "" where it was imported; time: ms since 1970; context: JSON
    as Vowpal Wabbit reads it; rewards: of each slot, in order: what its rewards aggregate to, else
    the default; observed: all that came in time, as (slot, value), in their order.
    counts: whether models learn it: it was activated where that was deferred, in no mode that only
    logs.
    """

    position: str
    id: str
    time: int
    context: bytes
    slots: tuple[Slot, ...]
    rewards: tuple[float, ...]
    observed: tuple[tuple[str, float], ...] = ()
    counts: bool = True
    generation: str = ""
    mode: Mode = "Online"
    imitated: bool = False


class Late(NamedTuple):
    """A reward that came when the window of its decision had closed, or for no known decision.

    It is kept beside the logs, and nothing learns of it. time: ms since 1970.
    """

    position: str
    id: str
    time: int
    value: float
    slot: str = ""


def utc(moment: str) -> datetime:
    """A time of ISO 8601, in UTC where it names no zone. Raises ValueError."""
    read = datetime.fromisoformat(moment)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def iso(ms: int) -> str:
    """A time in ms since 1970 as ISO 8601."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
