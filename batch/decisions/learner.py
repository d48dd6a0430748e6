"""A model of Vowpal Wabbit that learns decisions, one after another.

What was saved goes on, once loaded, as if it had never been saved: byte for byte, where a policy
draws no lots while it learns. (``bag``, ``cover`` and ``rnd`` do: they begin anew with each load.)

A line that Vowpal Wabbit does not expect may end the process without a word, and examples that
nobody gives back are never freed: so only what ``problem_of`` finds nothing wrong with is taught.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from vowpalwabbit import Workspace

from app.contracts.decisions import MAX_ACTIONS
from app.contracts.policies import BadPolicy
from batch.decisions import dsjson
from batch.decisions.terms import Joined

_OPTIONS = "--dsjson --quiet --save_resume --preserve_performance_counters"

Pmf = tuple[float, ...]
"""The probability of each action, by its number from 1."""


class BrokenModel(ValueError):
    """Bytes that are no model, or one of a release that this one does not read."""


class Unlearnable(ValueError):
    """A decision that this model cannot learn; the sentence says why."""


class Learner:
    """For one thread. several: whether its decisions are of several slots."""

    def __init__(self, arguments: str) -> None:
        self._workspace = Workspace(f"{arguments} {_OPTIONS}")
        self.several = "--ccb_explore_adf" in self._workspace.get_arguments()
        self._kind = self._workspace.get_prediction_type()

    @classmethod
    def fresh(cls, arguments: str) -> Self:
        """A model that has learned nothing. Raises BadPolicy."""
        try:
            return cls(arguments)
        except RuntimeError as error:
            raise BadPolicy(f"Vowpal Wabbit refuses {arguments!r}: {error}") from error

    @classmethod
    def load(cls, model: bytes, more: str = "") -> Self:
        """Go on with a model as ``save`` returned it; more: arguments beside, or over, its own.

        Raises BrokenModel.
        """
        with tempfile.NamedTemporaryFile(prefix="larder-model-") as file:
            file.write(model)
            file.flush()
            try:
                return cls(f"-i {file.name} {more}")
            except RuntimeError as error:
                raise BrokenModel(f"Vowpal Wabbit cannot read this model: {error}") from error

    def learn(self, joined: Joined) -> None:
        """Learn one decision, whatever it counts. Raises Unlearnable."""
        if problem := problem_of(joined):
            raise Unlearnable(problem)
        if not self.fits(joined):
            raise Unlearnable("the policy is for one slot and the decision of several, or reverse")
        self.teach(dsjson.line(joined))

    def fits(self, joined: Joined) -> bool:
        """Whether its policy decides what was decided: several slots, or one."""
        return self.several == bool(joined.slots[0].id)

    def teach(self, line: str) -> tuple[Pmf, ...]:
        """Learn a line of a decision that fits and has no problem.

        Returns what the model said of each slot before it learned. Raises Unlearnable.
        """
        try:
            examples = self._workspace.parse(line)
        except RuntimeError as error:
            raise Unlearnable(f"Vowpal Wabbit cannot read it: {error}") from error
        try:
            self._workspace.learn(examples)
            return self._said(examples)
        except RuntimeError as error:
            raise Unlearnable(f"Vowpal Wabbit cannot learn it: {error}") from error
        finally:
            self._workspace.finish_example(examples)

    def _said(self, examples: Sequence[Any]) -> tuple[Pmf, ...]:
        found = examples[0].get_prediction(self._kind)
        if not self.several:
            return (tuple(found),)
        return tuple(tuple(share for _, share in sorted(slot)) for slot in found)

    def save(self) -> bytes:
        """The model as it is now."""
        with tempfile.TemporaryDirectory(prefix="larder-model-") as folder:
            path = Path(folder) / "model"
            self._workspace.save(path)
            return path.read_bytes()

    def close(self) -> None:
        """Free its memory."""
        self._workspace.finish()


def problem_of(joined: Joined) -> str:
    """What is wrong with a decision, whatever the policy; empty when nothing is."""
    try:
        context = json.loads(joined.context)
        actions, slots = len(context["_multi"]), context.get("_slots")
        several = bool(joined.slots[0].id)
        expected = len(slots) if several else 1
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        return f"its context cannot be read: {error!r:.100}"
    if not 1 <= actions <= MAX_ACTIONS or several != (slots is not None):
        return f"its context has {actions} actions, or no slots"
    if not len(joined.slots) == len(joined.rewards) == expected:
        return f"{len(joined.slots)} slots were decided, of {expected}"
    known = range(1, actions + 1)
    for slot in joined.slots:
        chosen = slot.actions
        if not chosen or len({*chosen}) < len(chosen) or any(each not in known for each in chosen):
            return f"actions {chosen} were decided, of {actions}"
        if len(slot.probabilities) != len(chosen) or not 0 < slot.probabilities[0] <= 1:
            return f"its probabilities are {slot.probabilities}"
        if not several and len(chosen) != actions:
            return f"{len(chosen)} actions were ranked, of {actions}"
    return ""
