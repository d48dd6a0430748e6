"""What users do, as the API writes it and batch reads it: the stream, one event, the recents.

Keys, beside those of ``recommendations``, on a server that may be another one::

    larder:1:{shop}:events             stream      every event, an entry of a few texts each
    larder:1:{shop}:exported           hash        folder: whose files hold them; until: up to which
    larder:1:{shop}:deleted            hash        SHA-256 of users whose exported events must go:
                                                   up to which entry of the stream
    larder:1:{shop}:recent:user:<field>     sorted set  what a user did lately, by its time (ms)
    larder:1:{shop}:recent:session:<field>  sorted set  the same of a session
    larder:1:{shop}:recent:lasting:user:<field>     sorted set  what a user bought or hid
    larder:1:{shop}:recent:lasting:session:<field>  sorted set  the same of a session

All are in one slot of a Redis Cluster, so that one pipeline writes an event and what follows from
it. ``<field>`` is the id, or its digest, as in ``recommendations.field``.

A member of a sorted set is ``<type>:<item>``, so what a client sends again changes nothing. The
latest MAX_RECENT stay, and MAX_LASTING of what was bought or hidden, which no number of clicks
pushes out. The keys expire by themselves. The times are those of the API that took the event, so
that they compare with the ids of the stream; their fractions keep the order within a request.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, Self

from app.contracts.generations import SCHEMA, BrokenRecord
from app.contracts.recommendations import MAX_ID_BYTES, field

IMPRESSION = "impression"
PURCHASE = "purchase"
HIDE = "hide"
WEIGHTS: Mapping[str, float] = {"click": 1.0, "cart": 3.0, PURCHASE: 5.0, "rating": 1.0}
"""How much an event of each type says, where nobody has said otherwise; all others weigh 0."""
TYPES = (IMPRESSION, *WEIGHTS, HIDE)
"""The types that mean something to Larder; others are kept for whoever gives them a weight."""
LASTING = frozenset({PURCHASE, HIDE})
"""The types whose items must not come back, whatever else somebody does."""

MAX_EVENTS = 500
MAX_ITEMS = 100
MAX_TEXT_BYTES = 128
MAX_PROPERTIES_BYTES = 4096
MAX_VALUE = 1e9
MAX_POSITION = 1_000_000
MAX_RECENT = 100
MAX_LASTING = 1000

_BOUNDS = {
    "user": MAX_ID_BYTES,
    "session": MAX_ID_BYTES,
    "item": MAX_ID_BYTES,
    "id": MAX_TEXT_BYTES,
    "list": MAX_TEXT_BYTES,
    "properties": MAX_PROPERTIES_BYTES,
}
_TYPE = re.compile(r"[a-z0-9_.-]{1,64}")
_NUMBERS = {"time": int, "value": float, "position": int}

CLEAR = b"clear"
"""The field of an entry that tells workers of the API something; it is no event."""
SESSION = "session:"
"""What the digest of a session begins with among the deleted."""

Entry = tuple[bytes, Mapping[bytes, bytes]]
"""An entry of the stream as a client gives it: its id, and its fields."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The key names of one tenant's events; ``name`` is that of a ``Namespace``."""

    name: str

    @property
    def events(self) -> str:
        return self._key("events")

    @property
    def exported(self) -> str:
        return self._key("exported")

    @property
    def deleted(self) -> str:
        return self._key("deleted")

    def recent(self, actor: "Actor") -> bytes:
        """The key of what somebody did lately. Raises UnicodeEncodeError, see ``field``."""
        return self._key(f"recent:{actor.kind}:").encode() + field(actor.id)

    def lasting(self, actor: "Actor") -> bytes:
        """The key of what somebody bought or hid. Raises as ``recent``."""
        return self._key(f"recent:lasting:{actor.kind}:").encode() + field(actor.id)

    def keys_of(self, actor: "Actor") -> tuple[bytes, bytes]:
        """All keys of somebody: ``recent`` and ``lasting``. Raises as they do."""
        return self.recent(actor), self.lasting(actor)

    def _key(self, end: str) -> str:
        return f"larder:{SCHEMA}:{{{self.name}}}:{end}"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something: a user, or a session of a visitor who may have no id."""

    kind: str
    id: str

    @classmethod
    def user(cls, user: str) -> Self:
        return cls("user", user)

    @classmethod
    def session(cls, session: str) -> Self:
        return cls("session", session)


class Event(NamedTuple):
    """One thing that somebody did. A frozen dataclass takes three times as long to be made.

    id: of the event, the same when it is sent again. item: empty for an impression of ``items``.
    time: ms since 1970. list: what the answer that showed the item called itself; position: the
    item's place in it, from 0; -1 where nobody said. properties: a JSON object's text. Whoever
    makes one answers for its bounds: ``problem_of``.
    """

    id: str
    type: str
    time: int
    user: str = ""
    session: str = ""
    item: str = ""
    items: tuple[str, ...] = ()
    value: float = 1.0
    list: str = ""
    position: int = -1
    properties: str = ""

    def actors(self) -> Iterator[Actor]:
        """Whose doing it is: the user's, the session's, or both."""
        if self.user:
            yield Actor.user(self.user)
        if self.session:
            yield Actor.session(self.session)

    def encode(self) -> dict[str, str | int | float]:
        """The fields of its entry in the stream: those that say something."""
        told: dict[str, str | int | float] = {
            name: value
            for name, default in _DEFAULTS.items()
            if (value := getattr(self, name)) != default
        }
        if self.items:
            told["items"] = json.dumps(self.items, ensure_ascii=False)
        return told

    @classmethod
    def decode(cls, entry: Mapping[bytes, bytes]) -> Self:
        """Read an entry of the stream. Raises BrokenRecord."""
        try:
            told: dict[str, Any] = {name.decode(): text.decode() for name, text in entry.items()}
            for name in _NUMBERS.keys() & told:
                told[name] = _NUMBERS[name](told[name])
            if "items" in told:
                told["items"] = tuple(json.loads(told["items"]))
                if not all(isinstance(item, str) for item in told["items"]):
                    raise TypeError("its items are not all texts")
            event = cls(**told)
        except (TypeError, ValueError, RecursionError) as error:
            raise BrokenRecord(f"an entry of the stream is no event: {error}") from error
        if problem := problem_of(event):
            raise BrokenRecord(f"an entry of the stream is no event: {problem}")
        return event

    @property
    def takes_back(self) -> bool:
        """Whether it undoes a purchase, as a return does."""
        return self.type == PURCHASE and self.value <= 0

    @property
    def recent(self) -> bytes:
        """Its member among the recents."""
        return f"{self.type}:{self.item}".encode()


_DEFAULTS = {name: Event._field_defaults.get(name) for name in Event._fields}


class Recent(NamedTuple):
    """What somebody did with an item; ms: when it was taken."""

    type: str
    item: str
    ms: int

    @classmethod
    def decode(cls, member: bytes, score: float) -> Self:
        """Read a member and its score. Raises BrokenRecord."""
        try:
            kind, colon, item = member.decode().partition(":")
        except UnicodeDecodeError as error:
            raise BrokenRecord(f"a recent event is no text: {member[:60]!r}") from error
        if not colon or not item or not math.isfinite(score):
            raise BrokenRecord(f"expected a recent event, found {member[:60]!r} at {score}")
        return cls(kind, item, int(score))


def is_type(text: str) -> bool:
    """Whether an event may be of that type."""
    return bool(_TYPE.fullmatch(text))


def ms_of(stream_id: str) -> int:
    """When an entry of the stream was written, in ms since 1970; 0 for no id."""
    return int(stream_id.partition("-")[0] or 0)


def order(stream_id: str) -> tuple[int, int]:
    """What ids of the stream are sorted by; "" comes first."""
    return ms_of(stream_id), int(stream_id.partition("-")[2] or 0)


def digest(user: str) -> str:
    """What stands for a user among the deleted."""
    return sha256(user.encode()).hexdigest()


def digest_of(user: str, session: str) -> str:
    """What stands for whose an event is: the user's, or the session's where no user is named."""
    return digest(user) if user else SESSION + digest(session)


def problem_of(event: Event) -> str:
    """What is wrong with an event, naming the member; empty when nothing is."""
    for name, most in _BOUNDS.items():
        text = getattr(event, name)
        if len(text) > most or not text.isascii():
            if problem := _size_problem(name, text, most):
                return problem
    if not event.user and not event.session:
        return "user must be given, or session for a visitor without an id"
    if not is_type(event.type):
        return f"type must be 1 to 64 of a-z 0-9 _ . -, not {event.type[:70]!r}"
    if event.items and event.type != IMPRESSION:
        return "items are an impression's; send an event for each item"
    if not event.item and not event.items:
        return "item must be text that is not empty" + (
            ", or items a list of them" if event.type == IMPRESSION else ""
        )
    if len(event.items) > MAX_ITEMS:
        return f"items must be at most {MAX_ITEMS}, not {len(event.items)}"
    for item in event.items:
        if problem := _size_problem("items", item, MAX_ID_BYTES):
            return problem
        if not item:
            return "items hold an empty text"
    if not (math.isfinite(event.value) and abs(event.value) <= MAX_VALUE):
        return f"value must be a number within +-{MAX_VALUE:g}, not {event.value}"
    if not -1 <= event.position <= MAX_POSITION:
        return f"position must be 0 to {MAX_POSITION}, not {event.position}"
    return "" if event.id else "id must be text that is not empty"


def _size_problem(name: str, text: str, most: int) -> str:
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:  # a lone surrogate: it is no text
        size = 1 << 30
    return "" if size <= most else f"{name} must be at most {most} bytes of UTF-8, not {size}"
