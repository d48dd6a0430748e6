"""``--guard``: go back to the policy before, when a new one is worse than no policy at all.

After a policy was changed, what it earns is held against what showing the baseline alone would have
earned, of the same decisions. When its mean falls under the lower end of the baseline's interval,
the policy before is used again, with its last generation. Each look is twice as late as the one
before, for each is one more chance to be wrong.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.contracts import policies
from app.contracts.decisions import Decisions, Manifest, Order, Policy
from app.contracts.estimates import Sums
from batch.decisions import logs
from batch.decisions.evaluate import LEAST, ms_of
from batch.decisions.terms import Joined
from batch.errors import UnknownGeneration
from batch.generations.connect import Client, errors_of_keys
from batch.generations.registry import Generations

PREVIOUS, GUARD = "previous", "guard"
"""Fields of the desk: what the trainer says of the policy before, and what was done here."""
FEWEST = 500
"""Of fewer decisions, nothing is said of a policy."""
MOST = 50_000
"""After so many it is trusted."""

# Nothing happens when an operator has changed the policy meanwhile: ARGV[1] is what it was.
_SAY = """
if (redis.call('HGET', KEYS[1], 'policy') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'policy', ARGV[2], 'guard', ARGV[3])
return 1
"""

log = logging.getLogger("larder.decisions")


class Guard:
    """Looks at the policy that is live. For the one trainer of a namespace."""

    def __init__(
        self,
        client: Client,
        space: Decisions,
        folder: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._space, self._folder, self._clock = client, space, folder, clock
        self._generations = Generations(client, space)
        self._since, self._looked, self._trusts = 0.0, 0.0, False

    def check(self) -> bool:
        """Go back where that is called for, and say whether it was. Raises CacheUnavailable.

        The pointer moves then: the trainer goes on from what is live.
        """
        policy, previous, said = self._told()
        live = self._generations.live_manifest()
        if not previous or live is None or _same(live.arguments, previous["policy"]["arguments"]):
            return False
        began = float(previous["at"])
        acted = ms_of(said["at"]) if said else 0
        if said.get("generation") == previous["generation"] and acted >= began:
            return self._go_back(previous)  # a run died after it had said so
        why = self._looks_bad(live, max(began, acted))
        if not why or not self._say(policy, previous, f"{why}; {_name(previous)} is used again"):
            return False
        return self._go_back(previous)

    def _go_back(self, previous: Mapping[str, Any]) -> bool:
        """Point at its last generation, or have it learned anew where that is gone."""
        try:
            self._generations.roll_back(previous["generation"])
        except UnknownGeneration as error:
            log.warning("%s: it is learned anew from the logs", error)
            order = Order("retrain", "by the guard").to_json()
            with errors_of_keys("the cache", self._space.orders):
                self._client.rpush(self._space.orders, order)
        return True

    def _told(self) -> tuple[bytes, Mapping[str, Any], Mapping[str, Any]]:
        """What the desk says: of the policy, of the one before, of what was done here."""
        with errors_of_keys("the cache", self._space.desk):
            policy, *others = self._client.hmget(self._space.desk, "policy", PREVIOUS, GUARD)
        previous, said = (json.loads(each) if each else None for each in others)
        return policy or b"", previous or {}, said or {}

    def _looks_bad(self, live: Manifest, since: float) -> str:
        """Why to go back; empty where there is no reason, or it is too soon to say."""
        if since != self._since:
            self._since, self._looked, self._trusts = since, 0.0, False
        passed = self._clock() * 1000 - since
        if self._trusts or passed < 2 * self._looked:
            return ""
        online, baseline = compared(logs.read(self._folder, int(since)))
        if online.events < FEWEST or baseline.effective < LEAST:
            return ""
        self._looked, self._trusts = passed, online.events >= MOST
        low, high = baseline.interval
        if online.snips >= low:
            return ""
        return (
            f"policy {live.policy!r} earned {online.snips:.4f} of {online.events:,} decisions, and "
            f"the baseline would have earned {low:.4f} to {high:.4f}"
        )

    def _say(self, policy: bytes, previous: Mapping[str, Any], why: str) -> bool:
        """Tell the desk that the policy before is used; False where there is a newer one."""
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        told = {"at": at, "why": why, "generation": previous["generation"]}
        wanted = Policy(**previous["policy"]).to_json()
        with errors_of_keys("the cache", self._space.desk):
            values = policy, wanted, json.dumps(told)
            changed = bool(self._client.eval(_SAY, 1, self._space.desk, *values))
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


def _name(previous: Mapping[str, Any]) -> str:
    return f"policy {previous['policy']['name']!r}, generation {previous['generation']},"


def _same(one: str, other: str) -> bool:
    """Whether they differ by how much is explored alone."""
    return policies.with_exploration(one, 0.0) == policies.with_exploration(other, 0.0)
