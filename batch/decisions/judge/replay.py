"""Let policies decide again what the logs hold, and sum up what each would have earned.

Progressive validation (Blum, Kalai and Langford, 1999, COLT): of each decision in its order a
policy says how likely it would have made the same one, and only then learns what came of it. So
each is judged on what it has not seen, and has learned as it would have: one pass for all of them.

A decision of several slots counts as one of each slot, given what was shown in those before it; a
model has then learned what came of those.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Literal, Protocol

from app.contracts.decisions import Slot
from app.contracts.learning import policies
from app.contracts.learning.estimates import Sums
from batch.decisions import dsjson
from batch.decisions.learner import Learner, Unlearnable, problem_of
from batch.decisions.terms import Joined

Source = Literal["Online", "Baseline", "Random", "Custom", "OfflineExperimentation"]
Chances = Mapping[int, float]
"""Of each action of a slot, by its number."""

FIVE_MINUTES = 300_000
MOST_SLOTS = 50
"""So many slots have sums of their own; those of further ones are only in the sum of all."""

REWARDS = "--cb_adf --cb_type mtr --interactions ::i"
"""The model of rewards for the doubly robust estimate: it says what each action costs."""


class Policy(Protocol):
    """Decides, and may learn."""

    def teach(self, joined: Joined, line: str) -> Sequence[Chances]:
        """Of each slot, how likely each action is; learn what came of it only then.

        line: the decision as Vowpal Wabbit reads it. Raises Unlearnable where it cannot.
        """


class Online:
    """What was in use, as it was logged."""

    def teach(self, joined: Joined, line: str) -> Sequence[Chances]:
        return [dict(zip(slot.actions, slot.probabilities)) for slot in joined.slots]


class Baseline:
    """What an application would have shown alone."""

    def teach(self, joined: Joined, line: str) -> Sequence[Chances]:
        return [{slot.baseline: 1.0} for slot in joined.slots]


class Random:
    """Any action as likely as any other."""

    def teach(self, joined: Joined, line: str) -> Sequence[Chances]:
        return [dict.fromkeys(slot.actions, 1 / len(slot.actions)) for slot in joined.slots]


class Learning:
    """A policy, or a model of rewards, that begins without knowing anything. Raises BadPolicy."""

    def __init__(self, arguments: str) -> None:
        self._learner, self._arguments = Learner.fresh(arguments), arguments

    def teach(self, joined: Joined, line: str) -> Sequence[Chances]:
        if not policies.is_bounded(self._arguments, joined.context):
            raise Unlearnable("its context would keep this policy busy for too long")
        said = self._learner.teach(line)
        return [
            dict(zip(sorted(slot.actions), each)) if len(slot.actions) == len(each) else {}
            for slot, each in zip(joined.slots, said, strict=True)
        ]


@dataclass(slots=True)
class Judged:
    """A policy, and by slot and moment what it would have earned; slot "" has all of them.

    chooses: sums of the decisions that a search goes by, which are in no row; None for no search.
    """

    name: str
    arguments: str
    source: Source
    policy: Policy
    rows: dict[str, dict[int, Sums]] = field(default_factory=lambda: {"": defaultdict(Sums)})
    chooses: Sums | None = None

    def sums_of(self, slot: str, moment: int) -> Iterable[Sums]:
        """What a decision at a slot is counted by."""
        if slot and slot not in self.rows and len(self.rows) <= MOST_SLOTS:
            self.rows[slot] = defaultdict(Sums)
        return [self.rows[each][moment] for each in {"", slot} if each in self.rows]

    def total(self, slot: str = "") -> Sums:
        """The sums of the whole time."""
        return sum(self.rows[slot].values(), Sums())

    def results(self) -> list[dict[str, Any]]:
        """As an ``Evaluation`` has them, the sum of all slots first."""
        told = {"name": self.name, "arguments": self.arguments, "source": self.source}
        return [
            told | {"slot": slot, "rows": [[at, *astuple(sums)] for at, sums in rows.items()]}
            for slot, rows in self.rows.items()
        ]


@dataclass(slots=True)
class Replay:
    """One pass over the logs.

    judged: all of them; slotted: whether the decisions are of several slots, others are
    passed over; width_ms: how much time one row of sums is; decided, passed: how many were judged,
    and how many could not be; imitated: how many were only learned, for an apprentice decides as
    the baseline would, and what else might have been done was never tried.
    """

    judged: list[Judged]
    slotted: bool = False
    width_ms: int = FIVE_MINUTES
    decided: int = 0
    passed: int = 0
    imitated: int = 0
    _rewards: Learning | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not self.slotted:  # of slots, Vowpal Wabbit predicts no costs
            self._rewards = Learning(REWARDS)

    def run(self, logs: Iterable[Joined], each: Callable[[], object] = lambda: None) -> None:
        """Judge by all decisions that count; each: called after every one of them."""
        for joined in logs:
            if not joined.counts:
                continue
            try:
                self._judge(joined)
            except Unlearnable:
                self.passed += 1
                continue
            each()

    def _judge(self, joined: Joined) -> None:
        if problem := problem_of(joined) or is_slotted(joined) != self.slotted:
            raise Unlearnable(problem)
        line = dsjson.line(joined)
        values: Sequence[Chances] = [{}] * len(joined.slots)
        if self._rewards and policies.is_bounded(REWARDS, joined.context):
            values = self._rewards.teach(joined, line)
        said = [each.policy.teach(joined, line) for each in self.judged]
        if joined.mode == "Apprentice":
            self.imitated += 1
            return
        moment = joined.time - joined.time % self.width_ms
        for each, chances in zip(self.judged, said, strict=True):
            for at, slot in enumerate(joined.slots):
                added = _weighed(slot, chances[at], joined.rewards[at], values[at])
                for sums in self._counted_by(each, slot.id, moment):
                    sums.add(*added)
        self.decided += 1

    def _counted_by(self, each: Judged, slot: str, moment: int) -> Iterable[Sums]:
        if each.chooses is not None and self.decided % 2:
            return [each.chooses]
        return each.sums_of(slot, moment)


def is_slotted(joined: Joined) -> bool:
    """Whether a decision is one of several slots."""
    return joined.slots[0].id != ""


def _weighed(
    slot: Slot, chances: Chances, reward: float, costs: Chances
) -> tuple[float, float, float, float]:
    """The weight, the reward, and what the model of rewards expects: as ``Sums.add`` takes them."""
    chosen, probability = slot.actions[0], slot.probabilities[0]
    expected = -sum(chance * costs.get(action, 0.0) for action, chance in chances.items())
    return chances.get(chosen, 0.0) / probability, reward, expected, -costs.get(chosen, 0.0)
