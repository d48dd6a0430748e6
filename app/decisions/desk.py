"""What operators set and ask for, as it stands in the cache; each change is done whole or not."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

from app.cache.link import Link
from app.contracts.decisions import (
    IMPORT,
    Configuration,
    Decisions,
    Evaluation,
    Importance,
    Manifest,
    Order,
    Policy,
    Record,
)
from app.contracts.generations import BrokenRecord
from app.contracts.learning import policies
from app.decisions.follower import read
from app.errors import CacheUnavailable

MAX_JOBS = 30
"""Evaluations that are kept, and importances of features."""

_TRIES = 20
_CHANGE = """
local fields = {'configuration', 'policy'}
for at, field in ipairs(fields) do
  if (redis.call('HGET', KEYS[1], field) or '') ~= ARGV[at] then return 0 end
end
for at, field in ipairs(fields) do
  local said = ARGV[at + 2]
  if said == '' then redis.call('HDEL', KEYS[1], field) end
  if said ~= '' then redis.call('HSET', KEYS[1], field, said) end
end
if ARGV[5] ~= '' then redis.call('RPUSH', KEYS[2], ARGV[5]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What stood at the desk at one moment; policy: None for the one that Larder begins with.

    apprentice, logs: what the trainer told; empty where it has not.
    """

    configuration: Configuration
    policy: Policy | None
    apprentice: dict[str, Any]
    logs: dict[str, str]

    @property
    def arguments(self) -> str:
        """Those of the policy in force, with the exploration of the configuration."""
        policy = self.policy or policies.DEFAULT
        return policies.with_exploration(policy.arguments, self.configuration.exploration)


R = TypeVar("R", Evaluation, Importance)
T = TypeVar("T")


class Jobs(Generic[R]):
    """What was asked of the logs: a hash of records by their ids."""

    def __init__(self, link: Link, key: str, kind: type[R]) -> None:
        self._link, self._key = link, key
        self._kind: type[R] = kind

    def all(self) -> list[R]:
        """All of them, the latest first. Raises CacheUnavailable, BrokenRecord, as the others."""
        with self._link.asking() as client:
            texts = client.hgetall(self._key).values()
        return sorted(map(self._kind.from_json, texts), key=lambda each: each.created, reverse=True)

    def find(self, id: str) -> R | None:
        """That of an id."""
        with self._link.asking() as client:
            text = client.hget(self._key, id)
        return None if text is None else self._kind.from_json(text)

    def add(self, record: R) -> bool:
        """Put it where the trainer finds it; False when there is one of its id, or no room."""
        with self._link.asking() as client:
            there: Any = client
            is_full = there.hlen(self._key) >= MAX_JOBS
            return not is_full and bool(there.hsetnx(self._key, record.id, record.to_json()))

    def remove(self, id: str) -> bool:
        """Forget it; whether it was there."""
        with self._link.asking() as client:
            there: Any = client
            return bool(there.hdel(self._key, id))


class Desk:
    """That of one tenant. All that it does raises CacheUnavailable while the cache is away."""

    def __init__(self, link: Link, space: Decisions) -> None:
        self._link, self._space = link, space
        self.evaluations = Jobs(link, space.evaluations, Evaluation)
        self.importances = Jobs(link, space.importances, Importance)

    def evaluation(self, id: str) -> Evaluation | None:
        """That of an id, with its results. Raises BrokenRecord."""
        found = self.evaluations.find(id)
        with self._link.asking() as client:
            text = client.hget(self._space.results, id)
        return replace(found, results=_parsed(text, [])) if found else None

    def forget_evaluation(self, id: str) -> bool:
        """Forget it, with its results; whether it was there."""
        with self._link.asking() as client:
            there: Any = client
            there.hdel(self._space.results, id)
        return self.evaluations.remove(id)

    def look(self) -> Look:
        """Raises BrokenRecord where the cache holds what no Larder wrote."""
        return _look(self._read())

    def trainer(self) -> dict[str, Any]:
        """What the trainer told of itself last; empty where there was none yet."""
        with self._link.asking() as client:
            return _told(client.hget(self._space.desk, "trainer"))

    def change(self, wanted: Callable[[Look], tuple[Look, str]]) -> Look:
        """Put in force what ``wanted`` makes of what stands there, and give the order to learn.

        wanted: gives the desk as it shall be, and why the model must be learned anew, "" if it need
        not; it is asked again where another was faster. Returns what stands there now.
        """
        for _ in range(_TRIES):
            found = self._read()
            before = [text or b"" for text in found[:2]]
            after, why = wanted(_look(found))
            order = Order("retrain", why).to_json() if why else ""
            said = [_merged(before[0], after.configuration), _merged(before[1], after.policy)]
            keys = (self._space.desk, self._space.orders)
            if self._run(_CHANGE, *keys, *before, *said, order):
                return after
        raise CacheUnavailable("others change the configuration all the time: try again")

    def put_policy(self, policy: Policy | None) -> Look:
        """Put a policy in force, None for that which Larder begins with.

        One that names how much it explores also sets that of the configuration.
        """
        return self.change(lambda look: _with_policy(look, policy))

    def order(self, order: Order) -> None:
        """Tell the trainer what to do next."""
        with self._link.asking() as client:
            there: Any = client
            there.rpush(self._space.orders, order.to_json())

    def import_model(self, model: bytes, why: str) -> None:
        """Have the trainer publish a model that somebody brings; the last one brought holds."""
        order = Order("import", why).to_json()
        self._run(IMPORT, self._space.imported, self._space.orders, model, order)

    def manifest(self) -> Manifest | None:
        """That of the live generation; None where nothing was published."""
        with self._link.asking() as client:
            name = client.get(self._space.live)
            text = client.hget(self._space.generations, name) if name else None
        return None if text is None else self._space.read(text)

    def model(self) -> tuple[Manifest, bytes] | None:
        """The live generation with its model, as Vowpal Wabbit saved it. Raises BrokenRecord."""
        with self._link.asking() as client:
            name = client.get(self._space.live)
            return read(client, self._space, name.decode(errors="replace")) if name else None

    def _read(self) -> list[bytes | None]:
        with self._link.asking() as client:
            there: Any = client
            fields = ["configuration", "policy", "apprentice", "logs"]
            found: list[bytes | None] = there.hmget(self._space.desk, fields)
        return found

    def _run(self, script: str, first: str, second: str, *said: str | bytes) -> int:
        with self._link.asking() as client:
            there: Any = client
            return int(there.eval(script, 2, first, second, *said))


def _look(found: list[bytes | None]) -> Look:
    configuration, policy, apprentice, logs = found
    return Look(
        Configuration.from_json(configuration) if configuration else Configuration(),
        Policy.from_json(policy) if policy else None,
        _told(apprentice),
        _told(logs),
    )


def _told(text: bytes | None) -> dict[str, Any]:
    return _parsed(text, {})


def _parsed(text: bytes | None, empty: T) -> T:
    try:
        found = json.loads(text) if text else empty
    except (ValueError, RecursionError) as error:
        raise BrokenRecord(f"expected JSON at the desk: {error}") from error
    return found if isinstance(found, type(empty)) else empty


def _merged(before: bytes, record: Record | None) -> str:
    """With the members that another version of Larder has put there."""
    if record is None:
        return ""
    return json.dumps({**_told(before or None), **asdict(record)}, ensure_ascii=False)


def _with_policy(look: Look, policy: Policy | None) -> tuple[Look, str]:
    configuration = look.configuration
    if policy and (says := policies.exploration(policy.arguments)):
        configuration = replace(configuration, exploration=float(says))
    after = replace(look, configuration=configuration, policy=policy)
    same = replace(look, configuration=configuration)
    return after, "" if after.arguments == same.arguments else "another policy"
