"""Decisions: which of these actions now, with which probability, and what came of it.

Of the generations of a namespace (``generations``), of kind ``decisions``, this is the one part::

    larder:1:shop:decisions:<generation>:model   string  a model as Vowpal Wabbit saves it

Beside the control keys of every kind, on the cache's server::

    larder:1:{shop}:decisions:desk          hash    configuration, policy (what operators set),
                                                    previous, apprentice, logs, trainer, guard,
                                                    optimised (what the trainer tells): JSON each
    larder:1:{shop}:decisions:orders        list    what the trainer shall do next: JSON each
    larder:1:{shop}:decisions:imported      string  a model that an order tells it to publish
    larder:1:{shop}:decisions:evaluations   hash    id -> ``Evaluation`` without its results
    larder:1:{shop}:decisions:results       hash    id -> these, which are long: no list reads them
    larder:1:{shop}:decisions:importances   hash    id -> ``Importance``

and on the server of the events, which may be another one::

    larder:1:{shop}:decisions:log           stream  each decision before it is answered, each
                                                    reward and activation; ids are its only clock

A decision's *window* begins with its entry and lasts ``Configuration.wait_ms``. What counts of it
is what stands in the log before its end; so the log alone, and a position in it, say what a model
has learned.

*Actions* are counted from 1, as Vowpal Wabbit logs them, among those that were not excluded: the
others are in no context. Action 1 is the *baseline*, what an application would have shown alone.
"""

import dataclasses
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

from app.contracts import generations
from app.contracts.generations import SCHEMA, BrokenRecord, Parts, Space

Mode = Literal["Online", "Apprentice", "LoggingOnly"]
MODES: tuple[Mode, ...] = get_args(Mode)
Aggregation = Literal["earliest", "average", "median", "sum", "min", "max"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)

MAX_ACTIONS = 50
MAX_EVENT_ID = 256
MAX_POLICY_NAME = 256
MAX_ARGUMENTS = 1024
MODEL = "model"
"""The name of a generation's part."""
OF_LISTS = "decision-"
"""What the event id of a decision about a list begins with; events name it as their ``list``."""

IMPORT = """
redis.call('SET', KEYS[1], ARGV[1])
return redis.call('RPUSH', KEYS[2], ARGV[2])
"""
"""The script that brings a model. KEYS: ``imported``, ``orders``. ARGV: the model, the order."""

DAY_MS = 86_400_000
_PACKED_ABOVE = 512
"""Bytes of a context; a longer one stands in the log as zlib packs it."""


@dataclass(frozen=True, slots=True)
class Decisions(Space["Manifest"]):
    """The key names of one tenant's decisions."""

    infix: ClassVar[str] = "decisions:"

    def read(self, manifest: str | bytes) -> "Manifest":
        return Manifest.from_json(manifest)

    @property
    def desk(self) -> str:
        return self._control("desk")

    @property
    def orders(self) -> str:
        return self._control("orders")

    @property
    def imported(self) -> str:
        return self._control("imported")

    @property
    def evaluations(self) -> str:
        return self._control("evaluations")

    @property
    def results(self) -> str:
        return self._control("results")

    @property
    def importances(self) -> str:
        return self._control("importances")

    @property
    def log(self) -> str:
        """The stream, on the server of the events."""
        return self._control("log")


@dataclass(frozen=True, slots=True)
class Manifest(generations.Manifest):
    """How to read a model of decisions, and where it came from.

    policy, arguments: the name of the policy and what Vowpal Wabbit was started with; position:
    the entry of the last decision that it has learned, or passed over ("" for none): the next one
    is the first behind it; events: how many it has learned; bytes, hash: length and SHA-256 of the
    model; vowpal: which release saved it.
    metrics: {"model": {"reward": mean, "events": n}} of what was learned since the one before, and
    "history": the same of the last ones, oldest first, each with the time it was published at.
    """

    generation: str
    state: str
    policy: str
    arguments: str
    position: str
    events: int
    bytes: int
    hash: str
    vowpal: str
    settings: dict[str, Any]
    metrics: dict[str, Any]
    fingerprint: str
    forced: bool
    code_version: str
    started_at: str
    published_at: str = ""
    checksum: str = ""
    schema: int = SCHEMA

    def parts(self) -> Iterator[Parts]:
        yield Parts("string", [MODEL], self.bytes)


class Slot(NamedTuple):
    """What was decided for one place: ``id`` is empty where there is only one.

    actions: in the order of the answer, the chosen one first; probabilities: of each of them.
    baseline: what would have been shown without us.
    """

    id: str
    actions: tuple[int, ...]
    probabilities: tuple[float, ...]
    baseline: int = 1


class Ranked(NamedTuple):
    """A decision, as it was answered.

    context: JSON as Vowpal Wabbit reads it; generation: of the model, "" where there was none;
    deferred: it counts only once it was activated; imitated: in mode Apprentice, whether the
    model's own choice was the baseline.
    """

    id: str
    context: bytes
    slots: tuple[Slot, ...]
    generation: str = ""
    mode: Mode = "Online"
    deferred: bool = False
    imitated: bool = False

    def encode(self) -> dict[str, str | bytes]:
        """The fields of its entry."""
        packed = len(self.context) > _PACKED_ABOVE
        told: dict[str, str | bytes] = {"id": self.id}
        told["z" if packed else "c"] = zlib.compress(self.context, 1) if packed else self.context
        told["slots"] = json.dumps(self.slots, separators=(",", ":"), ensure_ascii=False)
        told |= {"generation": self.generation} if self.generation else {}
        told |= {"mode": self.mode} if self.mode != "Online" else {}
        told |= {"deferred": "1"} if self.deferred else {}
        return told | ({"imitated": "1"} if self.imitated else {})


class Rewarded(NamedTuple):
    """What somebody says that a decision was worth; slot is empty where there is only one."""

    id: str
    value: float
    slot: str = ""

    def encode(self) -> dict[str, str | float]:
        """The fields of its entry."""
        told: dict[str, str | float] = {"id": self.id, "value": self.value}
        return told | ({"slot": self.slot} if self.slot else {})


class Activated(NamedTuple):
    """A decision that was deferred was used."""

    id: str

    def encode(self) -> dict[str, str]:
        """The fields of its entry."""
        return {"id": self.id, "activated": "1"}


Logged = Ranked | Rewarded | Activated


def decode(entry: Mapping[bytes, bytes]) -> Logged:
    """Read an entry of the log. Raises BrokenRecord."""
    try:
        name = entry[b"id"].decode()
        if b"activated" in entry:
            return Activated(name)
        if b"value" in entry:
            return _rewarded(name, entry)
        return _ranked(name, entry)
    except (KeyError, TypeError, ValueError, RecursionError, zlib.error) as error:
        raise BrokenRecord(f"an entry of the log of decisions cannot be read: {error}") from error


def _rewarded(name: str, entry: Mapping[bytes, bytes]) -> Rewarded:
    value = float(entry[b"value"])
    if not math.isfinite(value):
        raise ValueError("its reward is no finite number")
    return Rewarded(name, value, entry.get(b"slot", b"").decode())


def _ranked(name: str, entry: Mapping[bytes, bytes]) -> Ranked:
    context = zlib.decompress(entry[b"z"]) if b"z" in entry else entry[b"c"]
    slots = slots_of(entry[b"slots"])
    mode = entry.get(b"mode", b"Online").decode()
    if mode not in MODES:
        raise ValueError(f"there is no mode {mode!r:.40}")
    generation = entry.get(b"generation", b"").decode()
    deferred, imitated = b"deferred" in entry, b"imitated" in entry
    return Ranked(name, context, slots, generation, mode, deferred, imitated)


def slots_of(text: str | bytes) -> tuple[Slot, ...]:
    """Read slots as an entry holds them. Raises ValueError or TypeError."""
    return tuple(
        Slot(str(id), tuple(map(int, actions)), tuple(map(float, probabilities)), int(baseline))
        for id, actions, probabilities, baseline in json.loads(text)
    )


class Record:
    """What stands as JSON at the desk: a frozen dataclass of what JSON can say."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def to_json(self) -> str:
        told = dataclasses.asdict(self)
        return json.dumps(told, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a record; what a later version added is passed over. Raises BrokenRecord."""
        try:
            raw = json.loads(text)
            return cls(**{name: raw[name] for name in cls.__dataclass_fields__.keys() & raw.keys()})
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            raise BrokenRecord(f"expected {cls.__name__} as JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Configuration(Record):
    """How a tenant's decisions are made and learned, as operators set it.

    wait_ms: how long a reward is waited for; default_reward: that of a decision without one;
    exploration: the share of decisions that is not the best one, from 0 to 1; retention_days: how
    long logs stay, -1 for ever; retrain_days: how much of the logs a model is made of anew, when
    what it learns from has changed; edited_at, optimise_from: ISO 8601, "" for never.
    """

    wait_ms: int = 600_000
    default_reward: float = 0.0
    aggregation: Aggregation = "earliest"
    exploration: float = 0.2
    export_ms: int = 300_000
    retention_days: int = 90
    mode: Mode = "Online"
    retrain_days: int = 2
    explains: bool = False
    optimises: bool = True
    optimise_days: int = 28
    optimise_from: str = ""
    edited_at: str = ""


@dataclass(frozen=True, slots=True)
class Policy(Record):
    """How a model chooses and learns: a name, and arguments that ``policies`` allows."""

    name: str
    arguments: str


Status = Literal["queued", "running", "succeeded", "failed", "applied", "retained"]
"""``applied``: its best policy is used now; ``retained``: the one in use was good enough."""


@dataclass(frozen=True, slots=True)
class Evaluation(Record):
    """What was asked of the logs, and what they say of each policy.

    start, end, created: ISO 8601 in UTC; policies: [name, arguments] of each; search: whether
    others are tried, too; automatic: the trainer began it by itself; optimal: the name of the best.
    results, of each policy: {"name", "arguments", "source", "slot", "rows"}; source: Online,
    Baseline, Random, Custom or OfflineExperimentation; rows: [time, *sums] of each five minutes,
    see ``estimates.Sums``.
    """

    id: str
    name: str
    start: str
    end: str
    created: str
    policies: Sequence[Sequence[str]] = ()
    search: bool = False
    automatic: bool = False
    status: Status = "queued"
    problem: str = ""
    optimal: str = ""
    results: Sequence[Mapping[str, Any]] = ()
    importance: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, slots=True)
class Importance(Record):
    """How much each feature says: ``scores`` are [namespace, feature, score], the best first."""

    id: str
    name: str
    start: str
    end: str
    created: str
    status: Status = "queued"
    problem: str = ""
    scores: Sequence[Sequence[Any]] = ()


@dataclass(frozen=True, slots=True)
class Order(Record):
    """What the trainer shall do next, in its turn.

    reset: forget all that was learned; retrain: learn the last ``retrain_days`` of the logs anew;
    import: publish the model at ``Decisions.imported``; delete_logs: delete all files of the logs.
    """

    do: Literal["reset", "retrain", "import", "delete_logs"]
    why: str = ""
