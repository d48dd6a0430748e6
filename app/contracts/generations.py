"""What every published generation has in common, whatever its kind: names, keys and manifest.

A *namespace* holds immutable *generations* of some kinds; one pointer a kind says which is live::

    larder:1:{shop}:<kind>:live                 string  name of the live generation
    larder:1:{shop}:<kind>:generations          hash    generation -> manifest (JSON)
    larder:1:{shop}:<kind>:lock                 string  who publishes now (JSON); expires by itself
    larder:1:shop:<kind>:<generation>:<part>    any     a part, as the manifest of its kind names it

``1`` is SCHEMA. The kind is left out of the keys of recommendations, which were there first. The
braces keep the three control keys in one slot of a Redis Cluster, so that a script may read and
move them together; the parts carry no braces and spread over all slots.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Generic, Literal, NoReturn, Self, TypeVar, get_origin

SCHEMA = 1

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HUGE = 1e9
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)


PUBLISHED = ("complete", "withdrawn")
"""The states of generations that are whole; ``withdrawn`` are those that were rolled back from."""

POINT = """
local live = redis.call('GET', KEYS[2]) or ''
if live ~= ARGV[1] then return {'live', live} end
local noted = redis.call('HGET', KEYS[1], ARGV[2])
if not noted or cjson.decode(noted).state == 'deleting' then return {'deleted'} end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return {}
"""
"""The script that moves the pointer to an older generation, for whoever rolls back.

KEYS: ``generations``, ``live``. ARGV: what was live ("" for nothing), what shall be, then names and
manifests of what changed. It returns nothing when that is done, else ``live`` with what is live, or
``deleted``. A server without free memory refuses SET and HSET, unless the script has written
before: what is replaced is deleted first, so that rolling back works then too.
"""


class BrokenRecord(ValueError):
    """Bytes that this schema did not write."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of one type, and what all of them hold: bytes of strings, or fields of hashes.

    amount: None where the manifest cannot tell.
    """

    type: Literal["string", "hash"]
    names: Iterable[str]
    amount: int | None


class Manifest:
    """All that is known of a generation: how to find its parts, and where it came from.

    The manifest of a kind is a frozen dataclass of these fields and those of its body, in the order
    of its JSON text. Its numbers are 0 or more; ``field(metadata={"low": 1})`` asks for more.

    ``state`` is "writing" until everything is written and verified, then "complete"; "withdrawn"
    once somebody rolled back from it; "deleting" while its keys go.
    ``metrics`` are those of the held-out evaluation; empty when evaluation was skipped. ``forced``:
    the gate was against it. ``fingerprint``: a hash of what it was made of. ``checksum``: the sum
    of the CRC-32 of all parts, modulo 2**32.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    generation: str
    state: str
    settings: dict[str, Any]
    metrics: dict[str, Any]
    fingerprint: str
    forced: bool
    code_version: str
    started_at: str
    published_at: str
    checksum: str
    schema: int

    def parts(self) -> Iterator[Parts]:
        """Name every part, so that the generation can be checked and deleted exactly."""
        raise NotImplementedError

    def keys(self, space: "Space[Any]") -> Iterator[str]:
        """The key of every part."""
        return (space.part(self.generation, name) for each in self.parts() for name in each.names)

    def measured(self, metric: str) -> float | None:
        """How the model did on held-out interactions; None where no number says so."""
        model = self.metrics.get("model")
        value: Any = model.get(metric) if isinstance(model, dict) else None
        known = type(value) in (int, float) and -_HUGE < value < _HUGE
        return value if known else None

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a manifest. Raises BrokenRecord when this schema did not write it."""
        try:
            raw = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise BrokenRecord(f"a manifest is not JSON: {error}") from error
        found = raw.get("schema") if isinstance(raw, dict) else raw
        if not isinstance(raw, dict) or found != SCHEMA:
            raise BrokenRecord(f"expected a manifest of schema {SCHEMA}, found {found!r}")
        known = {each.name for each in fields(cls)}
        try:
            manifest = cls(**{name: value for name, value in raw.items() if name in known})
        except TypeError as error:
            raise BrokenRecord(f"a manifest lacks a field: {error}") from error
        manifest._check()
        return manifest

    def _check(self) -> None:
        for each in fields(self):
            value, kind = getattr(self, each.name), get_origin(each.type) or each.type
            low = each.metadata.get("low", 0)
            if type(value) is not kind or (kind is int and value < low):
                raise BrokenRecord(f"{each.name} of a manifest cannot be {value!r}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")


M = TypeVar("M", bound=Manifest)


@dataclass(frozen=True, slots=True)
class Space(Generic[M]):
    """The key names of what one tenant publishes of one kind, with manifests of that kind.

    Raises ValueError when the name is not 1-64 of ``a-z 0-9 . _ -``, beginning with a-z or 0-9.
    """

    name: str

    infix: ClassVar[str]
    """The kind and a colon, as the keys have it."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"namespace must be 1-64 characters of a-z 0-9 . _ - and begin with a letter "
                f"or digit, not {self.name!r}"
            )

    def read(self, manifest: str | bytes) -> M:
        """Read a manifest of this kind. Raises BrokenRecord when it is none."""
        raise NotImplementedError

    def readable(self, entries: Mapping[bytes, bytes]) -> tuple[list[M], list[str]]:
        """The manifests of a hash of generations, and the names of those that cannot be read."""
        found, others = [], []
        for name, entry in entries.items():
            try:
                found.append(self.read(entry))
            except BrokenRecord:
                others.append(name.decode(errors="replace"))
        return found, others

    @property
    def live(self) -> str:
        return self._control("live")

    @property
    def generations(self) -> str:
        return self._control("generations")

    @property
    def lock(self) -> str:
        return self._control("lock")

    def part(self, generation: str, part: str) -> str:
        return f"larder:{SCHEMA}:{self.name}:{self.infix}{generation}:{part}"

    def _control(self, key: str) -> str:
        return f"larder:{SCHEMA}:{{{self.name}}}:{self.infix}{key}"


def generation_name(now: datetime, nonce: str, known: Iterable[str] = ()) -> str:
    """Name a new generation: UTC time to the millisecond and a nonce; names sort by time.

    known: the names that are there. The new one sorts behind them although a clock was wrong, so
    that the order of names is that of publishing.
    """
    after = (moment + timedelta(milliseconds=1) for moment in map(_moment, known))
    utc = max([now.astimezone(UTC), *after])
    return f"{utc:%Y%m%dT%H%M%S}.{utc.microsecond // 1000:03}Z-{nonce}"


def _moment(name: str) -> datetime:
    """The time in a name; long ago when there is none."""
    try:
        found = datetime.fromisoformat(name.partition("-")[0])
    except ValueError:
        return _LONG_AGO
    return min(found.replace(tzinfo=UTC), _LATEST)
