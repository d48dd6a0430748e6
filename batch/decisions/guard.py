"""``--guard``: go back to the policy before, when a new one is worse than no policy at all.

After a policy was changed, what it earns is held against what showing the baseline alone would have
earned, of the same decisions. When its mean falls under the lower end of the baseline's interval,
the policy before is used again, with its last model; that comes as an order to the trainer, so that
no pointer moves back, and no position of the log. Looks are twice as late each time, for each one
is a chance to be wrong.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.contracts.decisions import MODEL, Decisions, Manifest, Order, Policy, Record
from app.contracts.estimates import Sums
from batch.decisions import logs
from batch.decisions.evaluate import LEAST, ms_of
from batch.decisions.terms import Joined
from batch.generations.connect import Client, errors_of_keys
from batch.generations.registry import Generations

PREVIOUS, GUARD = "previous", "guard"
"""Fields of the desk."""
FEWEST = 500
"""Of fewer decisions, nothing is said of a policy."""
MOST = 50_000
"""After so many, a policy is trusted."""

# Nothing happens when the policy was changed again meanwhile: ARGV[1] is what it was.
_BACK = """
if (redis.call('HGET', KEYS[1], 'policy') or '') ~= ARGV[1] then return 0 end
local model = redis.call('GET', KEYS[3])
redis.call('HSET', KEYS[1], 'policy', ARGV[2], 'guard', ARGV[3])
redis.call('HDEL', KEYS[1], 'previous')
if model then
  redis.call('SET', KEYS[4], model)
  redis.call('RPUSH', KEYS[2], ARGV[4])
else
  redis.call('RPUSH', KEYS[2], ARGV[5])
end
redis.call('DEL', KEYS[3])
return 1
"""

log = logging.getLogger("larder.decisions")


@dataclass(frozen=True, slots=True)
class Previous(Record):
    """The policy before, and the moment from which the one after it has decided (ISO 8601)."""

    name: str
    arguments: str
    generation: str
    until: str


class Guard:
    """Looks at the policy that is live. For the holder of the lock."""

    def __init__(
        self,
        client: Client,
        space: Decisions,
        folder: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._space, self._folder, self._clock = client, space, folder, clock
        self._generations = Generations(client, space)
        self._looked, self._trusted = 0.0, ""

    def check(self) -> bool:
        """Go back where that is called for; return whether it was. Raises CacheUnavailable."""
        published = self._generations.published()
        live = self._generations.live_manifest()
        if live is None:
            return False
        self._remember([each for each in published if each.generation <= live.generation])
        with errors_of_keys("the cache", self._space.desk):
            text = self._client.hget(self._space.desk, PREVIOUS)
        previous = Previous.from_json(text) if text else None
        if previous is None or previous.generation == self._trusted:
            return False
        since = ms_of(previous.until)
        passed = self._clock() * 1000 - since
        if passed < 2 * self._looked:
            return False
        online, baseline = compared(logs.read(self._folder, since))
        if online.events < FEWEST:
            return False
        self._looked = passed
        if online.events >= MOST:
            self._trusted = previous.generation
        if baseline.effective < LEAST or online.snips >= baseline.interval[0]:
            return False
        return self._go_back(previous, live, online, baseline)

    def _remember(self, published: Sequence[Manifest]) -> None:
        """Keep the model before the one of another policy, while it is there."""
        for before, after in reversed([*zip(published, published[1:])]):
            if _kind(before.arguments) != _kind(after.arguments):
                break
        else:
            return
        with errors_of_keys("the cache", self._space.desk, self._space.previous):
            said = self._client.hmget(self._space.desk, PREVIOUS, GUARD)
            known, thrown = (json.loads(each) if each else {} for each in said)
            thrown_out = _kind(thrown.get("arguments", "")) == _kind(before.arguments)
            if thrown_out or known.get("generation") == before.generation:
                return
            model = self._client.get(self._space.part(before.generation, MODEL))
            told = Previous(before.policy, before.arguments, before.generation, after.published_at)
            if model is not None:
                self._client.set(self._space.previous, model)
            self._client.hset(self._space.desk, PREVIOUS, told.to_json())
        self._looked = 0.0

    def _go_back(self, previous: Previous, live: Manifest, online: Sums, baseline: Sums) -> bool:
        low, high = baseline.interval
        why = (
            f"policy {live.policy!r} earned {online.snips:.4f} of {online.events:,} decisions, the "
            f"baseline would have earned {low:.4f} to {high:.4f}: {previous.name!r} is used again"
        )
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        told = {"at": at, "why": why, "policy": live.policy, "arguments": live.arguments}
        keys = [getattr(self._space, name) for name in ("desk", "orders", "previous", "imported")]
        with errors_of_keys("the cache", *keys):
            values = (
                self._client.hget(self._space.desk, "policy") or b"",
                Policy(previous.name, previous.arguments).to_json(),
                json.dumps(told),
                Order("import", why).to_json(),
                Order("retrain", why).to_json(),
            )
            changed = bool(self._client.eval(_BACK, len(keys), *keys, *values))
        if changed:
            log.warning("%s", why)
        return changed


def compared(joined: Iterable[Joined]) -> tuple[Sums, Sums]:
    """What was earned, and what the baseline would have, of the first ``MOST`` decisions."""
    online, baseline = Sums(), Sums()
    for each in joined:
        if each.counts:
            for slot, reward in zip(each.slots, each.rewards, strict=True):
                shown = slot.actions[0] == slot.baseline
                online.add(1.0, reward)
                baseline.add(shown / slot.probabilities[0], reward)
        if online.events >= MOST:
            break
    return online, baseline


def _kind(arguments: str) -> list[str]:
    """What tells policies apart: all but how much is explored."""
    words = arguments.split()
    at = words.index("--epsilon") if "--epsilon" in words else len(words)
    return words[:at] + words[at + 2 :]
