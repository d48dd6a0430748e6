"""What the owner of a namespace orders of its lists, and how each version of it is kept.

    larder:1:{shop}:rules    hash    1, 2, 3, ... -> version (JSON), of which the last is in force

A version is written by HSETNX at the number behind the last, so of two writers one finds it taken.
No field is ever removed, so HLEN is the number of the version in force; what is older than
KEPT_VERSIONS becomes an empty text. To roll back is to write an older one's rules again.

The rules are a JSON object, all of whose members may be left out::

    {"hide": ["i7"],                                            items that nobody is shown
     "pin": [{"item": "i3", "position": 1,                      from 1; in every user's list
              "from": "2026-12-01", "until": "2026-12-24T18:00:00+01:00"}],
     "boost": [{"filter": "category:film", "factor": 1.5}],     of the scores, .1 to 10
     "cap": {"column": "category", "most": 2},                  so many of each value of a column
     "diversity": 0.3,                                          0 by score alone, 1 by variety alone
     "filters": {"kids": ["category:children", "-category:horror"]},
     "defaults": {"filter": ["in_stock:true"]}}                 on every list that is asked for
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from typing import Any, Self

from app.contracts.filtering.columns import Column, Type
from app.contracts.filtering.filters import BadFilter, Clause, parse, seconds_of
from app.contracts.generations import SCHEMA, BrokenRecord
from app.contracts.recommendations import MAX_ID_BYTES, MAX_K

MAX_RULES_BYTES = 1 << 20
MAX_HIDDEN = 20_000
MAX_PINS, MAX_BOOSTS, MAX_FILTERS = 50, 50, 100
MAX_BOOST_VALUES = 500
"""Of all boosts together: each is looked for in the column of all items."""
LEAST_FACTOR, MOST_FACTOR = 0.1, 10.0
MAX_NOTE = 200
KEPT_VERSIONS = 50


class BadRules(ValueError):
    """Rules that cannot be in force: the message says what would do."""


@dataclass(frozen=True, slots=True)
class Pin:
    """An item at a position (from 1) of every list, from and until seconds since 1970."""

    item: str
    position: int
    start: float = -math.inf
    until: float = math.inf


@dataclass(frozen=True, slots=True)
class Boost:
    """What is done to the scores of the items that a filter lets through."""

    filter: tuple[Clause, ...]
    factor: float


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so many items of each value of a column in a list."""

    column: str
    most: int


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that were read; without arguments those of a namespace that has none."""

    hide: frozenset[str] = frozenset()
    pin: tuple[Pin, ...] = ()
    boost: tuple[Boost, ...] = ()
    cap: Cap | None = None
    diversity: float = 0.0
    filters: Mapping[str, tuple[Clause, ...]] = field(default_factory=dict)
    default_filter: tuple[Clause, ...] = ()

    @classmethod
    def of(cls, raw: Any) -> Self:
        """Read a JSON value. Raises BadRules, which names the member."""
        _encoded(raw)
        rules = _object("a set of rules", raw, tuple(_MEMBERS))
        found = {}
        for name, value in rules.items():
            try:
                found[name] = _MEMBERS[name](value)
            except (BadRules, BadFilter) as error:
                raise BadRules(f"{name}: {error}") from error
        defaults = found.pop("defaults", {})
        filters = found.get("filters", {})
        try:
            default = parse(defaults.get("filter", []), filters)
        except BadFilter as error:
            raise BadRules(f"defaults: {error}") from error
        return cls(**found, default_filter=default)

    def check(self, columns: Mapping[str, Type]) -> None:
        """Raise BadRules where a filter or the cap names no column of a generation, or misuses it.

        Rules outlive generations: what serves them leaves out what a later one cannot follow.
        """
        groups = [*self.filters.values(), *(each.filter for each in self.boost)]
        for clause in (each for group in [*groups, self.default_filter] for each in group):
            try:
                clause.check(columns)
            except BadFilter as error:
                raise BadRules(str(error)) from error
        if self.cap and columns.get(self.cap.column) != "category":
            raise BadRules(f"cap: {self.cap.column!r} is no column of categories")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the rules as it was written; at: ISO 8601 in UTC."""

    number: int
    at: str
    by: str
    note: str
    rules: dict[str, Any]

    @classmethod
    def after(cls, last: int, at: datetime, by: str, note: str, rules: dict[str, Any]) -> Self:
        """The one behind the last. Raises BadRules, also for a note that is no short line."""
        Rules.of(rules)
        if len(note) > MAX_NOTE or not note.isprintable():
            raise BadRules(f"note must be one line of at most {MAX_NOTE} characters")
        return cls(last + 1, at.isoformat(timespec="seconds"), by, note, rules)

    @property
    def head(self) -> dict[str, Any]:
        """All but the rules, as JSON has it."""
        return {"version": self.number, "at": self.at, "by": self.by, "note": self.note}

    def to_json(self) -> str:
        return _encoded({"at": self.at, "by": self.by, "note": self.note, "rules": self.rules})

    @classmethod
    def from_json(cls, number: int, text: bytes | None) -> Self:
        """What the field of that number holds; number 0 has no rules. Raises BrokenRecord."""
        if not number:
            return cls(0, "", "", "", {})
        if not text:
            raise BrokenRecord(f"version {number} of the rules is not kept")
        try:
            raw = json.loads(text)
            found = cls(number, raw["at"], raw["by"], raw["note"], raw["rules"])
            Rules.of(found.rules)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise BrokenRecord(f"version {number} of the rules cannot be read: {error}") from error
        return found


NONE = Version.from_json(0, None)
"""What a namespace without rules has."""


def kept_numbers(last: int) -> range:
    """The numbers of the versions that are kept, the newest first."""
    return range(last, max(last - KEPT_VERSIONS, 0), -1)


def readable(numbers: Iterable[int], texts: Iterable[bytes | None]) -> Iterator[Version]:
    """Those versions that can be read."""
    for number, text in zip(numbers, texts, strict=True):
        with suppress(BrokenRecord):
            yield Version.from_json(number, text)


def rules_key(namespace: str) -> str:
    """The key of a namespace's rules, in the slot of its pointer."""
    return f"larder:{SCHEMA}:{{{namespace}}}:rules"


def loads(text: str | bytes, columns: Sequence[Column] | None = None) -> dict[str, Any]:
    """Rules as JSON text, checked, and held to the columns of a generation. Raises BadRules."""
    if len(text) > MAX_RULES_BYTES:
        raise BadRules(f"rules are at most {MAX_RULES_BYTES} bytes, not {len(text)}")
    try:
        raw: dict[str, Any] = json.loads(text, object_pairs_hook=_each_once)
        rules = Rules.of(raw)
    except BadRules:
        raise
    except (ValueError, RecursionError) as error:
        raise BadRules(f"rules are a JSON object: {error}") from error
    if columns is not None:
        rules.check({each.name: each.type for each in columns})
    return raw


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        twice, _ = Counter(name for name, _ in members).most_common(1)[0]
        raise BadRules(f"{twice!r:.80} stands more than once in an object")
    return found


def _encoded(raw: Any) -> str:
    """A JSON value as text that can be sent. Raises BadRules."""
    text = json.dumps(raw, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRules("rules hold a lone surrogate, which no text has") from error
    return text


def _object(what: str, raw: Any, members: Iterable[str]) -> dict[str, Any]:
    known = tuple(members)
    if not isinstance(raw, dict):
        raise BadRules(f"{what} is an object with {', '.join(known)}, not {raw!r:.80}")
    for name in raw:
        if name not in known:
            raise BadRules(f"{what} has {', '.join(known)}, but no {name!r:.80}")
    return raw


def _list(raw: Any, most: int) -> list[Any]:
    if not isinstance(raw, list) or len(raw) > most:
        raise BadRules(f"expected a list of at most {most}, found {raw!r:.80}")
    return raw


def _id(raw: Any) -> str:
    if not isinstance(raw, str) or not 0 < len(raw.encode()) <= MAX_ID_BYTES:
        raise BadRules(f"expected the id of an item, found {raw!r:.80}")
    return raw


def _between(what: str, raw: Any, low: float, high: float) -> float:
    if type(raw) not in (int, float) or not low <= raw <= high:
        raise BadRules(f"{what} is from {low:g} to {high:g}, not {raw!r:.80}")
    return float(raw)


def _whole(what: str, raw: Any, low: int, high: int) -> int:
    if type(raw) is not int or not low <= raw <= high:
        raise BadRules(f"{what} is a whole number from {low} to {high}, not {raw!r:.80}")
    return raw


def _pins(raw: Any) -> tuple[Pin, ...]:
    pins = tuple(map(_pin, _list(raw, MAX_PINS)))
    if len({each.item for each in pins}) < len(pins):
        raise BadRules("an item is pinned twice")
    for one, other in combinations(pins, 2):
        is_at_once = one.start < other.until and other.start < one.until
        if one.position == other.position and is_at_once:
            raise BadRules(
                f"{one.item!r:.80} and {other.item!r:.80} are at position {one.position} at once"
            )
    return pins


def _pin(raw: Any) -> Pin:
    pin = _object("a pin", raw, ("item", "position", "from", "until"))
    position = _whole("position", pin.get("position"), 1, MAX_K)
    start, until = _moment(pin.get("from"), -math.inf), _moment(pin.get("until"), math.inf)
    if start >= until:
        raise BadRules(f"a pin's from must be before its until, in {raw!r:.80}")
    return Pin(_id(pin.get("item")), position, start, until)


def _moment(raw: Any, default: float) -> float:
    if raw is None:
        return default
    try:
        return seconds_of(raw)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRules(
            f"expected a time such as 2026-12-24T18:00:00Z, found {raw!r:.80}"
        ) from error


def _boosts(raw: Any) -> tuple[Boost, ...]:
    boosts = tuple(map(_boost, _list(raw, MAX_BOOSTS)))
    values = sum(len(clause.values) for boost in boosts for clause in boost.filter)
    if values > MAX_BOOST_VALUES:
        raise BadRules(f"all filters together have {values} values, more than {MAX_BOOST_VALUES}")
    return boosts


def _boost(raw: Any) -> Boost:
    boost = _object("a boost", raw, ("filter", "factor"))
    factor = _between("factor", boost.get("factor"), LEAST_FACTOR, MOST_FACTOR)
    if not (found := parse(boost.get("filter"))):
        raise BadRules("a boost needs a filter, such as category:film")
    return Boost(found, factor)


def _cap(raw: Any) -> Cap:
    cap = _object("a cap", raw, ("column", "most"))
    if not isinstance(cap.get("column"), str):
        raise BadRules(f"column names a column of categories, not {cap.get('column')!r:.80}")
    return Cap(cap["column"], _whole("most", cap.get("most"), 1, MAX_K))


def _filters(raw: Any) -> dict[str, tuple[Clause, ...]]:
    if not isinstance(raw, dict) or len(raw) > MAX_FILTERS:
        raise BadRules(f"expected an object of at most {MAX_FILTERS} filters by name")
    for name in raw:
        if not name or ":" in name or len(name) > MAX_NOTE:
            raise BadRules(
                f"the name of a filter is a short text without a colon, not {name!r:.80}"
            )
    return {name: parse(each) for name, each in raw.items()}


_MEMBERS: dict[str, Callable[[Any], Any]] = {
    "hide": lambda raw: frozenset(map(_id, _list(raw, MAX_HIDDEN))),
    "pin": _pins,
    "boost": _boosts,
    "cap": _cap,
    "diversity": lambda raw: _between("it", raw, 0, 1),
    "filters": _filters,
    "defaults": lambda raw: _object("it", raw, ("filter",)),
}
