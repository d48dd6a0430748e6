"""``--guard``: go back to the policy before, when that was better than a new one, and none is, too.

After a policy was changed, what it earns is held against what showing the baseline alone would have
earned, of the same decisions, and against what the policy before earned until then. When it is
under both beyond chance, the policy before is used again, with its last generation. (Under the
baseline alone says little: where that is nearly always right, whoever explores a fifth is under it,
the policy before as well.) Each look is twice as late as the one before, for each is one more
chance to be wrong.

It takes one step back, and then none until somebody changes the policy. It never goes back to one
that it has left, nor to one of the other kind, which would refuse what applications send.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import hypot
from pathlib import Path
from typing import Any

from app.contracts.decisions import DAY_MS, Decisions, Manifest, Order, Policy
from app.contracts.learning import policies
from app.contracts.learning.estimates import Sums, Z
from batch.decisions import logs
from batch.decisions.judge.evaluate import LEAST, ms_of
from batch.decisions.terms import Joined, iso
from batch.errors import UnknownGeneration
from batch.generations.connect import Client, errors_of_keys
from batch.generations.registry import Generations

PREVIOUS, GUARD = "previous", "guard"
"""Fields of the desk: what the trainer says of the policy before, and what was done here."""
SINCE = "since"
"""Of settings, and of a policy before: since when it was used, in ms since 1970."""
FEWEST = 500
"""Of fewer decisions, nothing is said of a policy."""
MOST = 50_000
"""After so many it is trusted."""
_LEFT = 20
"""So many policies that it has left are remembered."""

# Nothing happens when an operator has changed something: ARGV[1], ARGV[2] are what it was.
_SAY = """
if (redis.call('HGET', KEYS[1], 'policy') or '') ~= ARGV[1] then return 0 end
if (redis.call('HGET', KEYS[1], 'configuration') or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'policy', ARGV[3], 'configuration', ARGV[4], 'guard', ARGV[5])
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
        found = self._told()
        previous, said = found.previous, found.said
        live = self._generations.live_manifest()
        if not previous or live is None or not _fits(live, previous, said):
            return False
        if said and ms_of(said["at"]) >= previous["at"]:  # it has taken its step
            died = said["generation"] == previous["generation"] and found.is_wanted(previous)
            return died and self._go_back(previous)  # a run had said so, and no more
        why = self._looks_bad(live, previous)
        if not why or not self._say(found, live, f"{why}; {_name(previous)} is used again"):
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

    def _told(self) -> "Told":
        with errors_of_keys("the cache", self._space.desk):
            names = "policy", "configuration", PREVIOUS, GUARD
            policy, configuration, *others = self._client.hmget(self._space.desk, *names)
        previous, said = (json.loads(each) if each else None for each in others)
        return Told(policy or b"", configuration or b"", previous or {}, said or {})

    def _looks_bad(self, live: Manifest, previous: Mapping[str, Any]) -> str:
        """Why to go back; empty where there is no reason, or it is too soon to say."""
        since = int(previous["at"])
        if since != self._since:
            self._since, self._looked, self._trusts = since, 0.0, False
        passed = self._clock() * 1000 - since
        if self._trusts or passed < 2 * self._looked:
            return ""
        earned, baseline = compared(logs.read(self._folder, since))
        if earned.events < FEWEST:
            return ""
        self._looked, self._trusts = passed, earned.events >= MOST
        low, high = baseline.interval
        if baseline.effective < LEAST or earned.snips >= low:
            return ""
        start = max(previous.get("since") or 0, since - max(int(passed), DAY_MS))
        before, _ = compared(logs.read(self._folder, start, since))
        if before.events < FEWEST or not _is_less(earned, before):
            return ""
        return (
            f"policy {live.policy!r} earned {earned.snips:.4f} of {earned.events:,} decisions, the "
            f"baseline would have earned {low:.4f} to {high:.4f} of them, and the policy before "
            f"earned {before.snips:.4f} of {before.events:,}"
        )

    def _say(self, found: "Told", live: Manifest, why: str) -> bool:
        """Tell the desk that the policy before is used; False where there is a newer one."""
        previous = found.previous
        at = iso(int(self._clock() * 1000))
        left = [*found.said.get("left", ()), _but_for_epsilon(live.arguments)][-_LEFT:]
        told = {"at": at, "why": why, "generation": previous["generation"], "left": left}
        wanted = Policy(**previous["policy"]).to_json()
        edited = {"edited_at": at.replace("+00:00", "Z")}
        configuration = json.dumps(json.loads(found.configuration or b"{}") | edited)
        with errors_of_keys("the cache", self._space.desk):
            before, after = (found.policy, found.configuration), (wanted, configuration)
            values = *before, *after, json.dumps(told)
            changed = bool(self._client.eval(_SAY, 1, self._space.desk, *values))
        if changed:
            log.warning("%s", why)
        return changed


@dataclass(frozen=True, slots=True)
class Told:
    """What the desk says: as text what operators want; what was before, and what was done here."""

    policy: bytes
    configuration: bytes
    previous: Mapping[str, Any]
    said: Mapping[str, Any]

    def is_wanted(self, previous: Mapping[str, Any]) -> bool:
        """Whether the policy before is what the desk names."""
        named = Policy.from_json(self.policy) if self.policy else policies.DEFAULT
        return same(named.arguments, previous["policy"]["arguments"])


def resumed(live: Manifest, last: Manifest, now: int) -> dict[str, Any]:
    """Since when the live policy is used, and which one was before it, as settings tell it.

    last: the newest generation. Who moved the pointer to another policy wants that one: there is
    none before.
    """
    if same(live.arguments, last.arguments):
        return {name: live.settings.get(name) for name in (SINCE, PREVIOUS)}
    return {SINCE: now, PREVIOUS: None}


def replaced(
    settings: Mapping[str, Any], policy: Policy, generation: str, now: int
) -> dict[str, Any]:
    """The same of a policy that takes the place of this one, of these settings."""
    before = {"policy": asdict(policy), "generation": generation, "at": now}
    return {SINCE: now, PREVIOUS: before | {SINCE: settings.get(SINCE)}}


def compared(joined: Iterable[Joined]) -> tuple[Sums, Sums]:
    """What was earned, and what the baseline would have, of the first ``MOST`` decisions.

    An apprentice shows the baseline: what that earned says nothing of the policy.
    """
    online, baseline = Sums(), Sums()
    for each in joined:
        if each.counts and each.mode != "Apprentice":
            for slot, reward in zip(each.slots, each.rewards, strict=True):
                shown = slot.actions[0] == slot.baseline
                online.add(1.0, reward)
                baseline.add(shown / slot.probabilities[0], reward)
        if online.events >= MOST:
            break
    return online, baseline


def same(one: str, other: str) -> bool:
    """Whether arguments differ by how much is explored alone."""
    return _but_for_epsilon(one) == _but_for_epsilon(other)


def _but_for_epsilon(arguments: str) -> str:
    return policies.with_exploration(arguments, 0.0)


def _is_less(one: Sums, other: Sums) -> bool:
    """Whether the mean of one is under that of the other, by more than three standard errors."""
    return other.snips - one.snips > 3 / Z * hypot(one.half_width, other.half_width)


def _fits(live: Manifest, previous: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Whether the policy before is another one, of the same kind, and was not left here."""
    before = previous["policy"]["arguments"]
    return (
        not same(live.arguments, before)
        and policies.is_for_slots(live.arguments) == policies.is_for_slots(before)
        and _but_for_epsilon(before) not in said.get("left", ())
    )


def _name(previous: Mapping[str, Any]) -> str:
    return f"policy {previous['policy']['name']!r}, generation {previous['generation']},"
