"""A model of Vowpal Wabbit that learns decisions, one after another.

What was saved goes on, once loaded, as if it had never been saved: byte for byte, where a policy
draws no lots while it learns. (``bag``, ``cover`` and ``rnd`` do: they begin anew with each load.)

A line that Vowpal Wabbit does not expect may end the process without a word, and examples that
nobody gives back are never freed: so only what ``problem_of`` finds nothing wrong with is taught.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import orjson
from vowpalwabbit import Workspace

from app.contracts.decisions import MAX_ACTIONS, Slot
from app.contracts.learning.policies import BadPolicy, exploration
from batch.decisions.terms import Joined

_OURS = {"_multi", "_slots"}, {"_tag"}, {"_id", "_inc"}
"""What Vowpal Wabbit has names for: in a context, in an action, in a slot."""
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

    @classmethod
    def fresh(cls, arguments: str) -> Self:
        """A model that has learned nothing. Raises BadPolicy."""
        try:
            return cls(arguments)
        except RuntimeError as error:
            raise BadPolicy(f"Vowpal Wabbit refuses {arguments!r}: {error}") from error

    @classmethod
    def load(cls, model: bytes, arguments: str = "") -> Self:
        """Go on with a model as ``save`` returned it; the epsilon of these arguments is over its.

        Raises BrokenModel.
        """
        says = exploration(arguments)
        epsilon = ["--epsilon", says] if says else []
        with tempfile.NamedTemporaryFile(prefix="larder-model-") as file:
            file.write(model)
            file.flush()
            try:
                return cls(" ".join(["-i", file.name, *epsilon]))
            except RuntimeError as error:
                raise BrokenModel(f"Vowpal Wabbit cannot read this model: {error}") from error

    def fits(self, joined: Joined) -> bool:
        """Whether its policy decides what was decided: several slots, or one."""
        return self.several == bool(joined.slots[0].id)

    def teach(self, line: str) -> tuple[Pmf, ...]:
        """Learn a line of a decision that fits and has no problem.

        Returns what the model said of each slot before it learned. Raises Unlearnable.
        """
        model = self._workspace
        try:
            # Its own parse() makes objects of Python around these, which takes as long as all else.
            examples = model._parse(line)
        except RuntimeError as error:
            raise Unlearnable(f"Vowpal Wabbit cannot read it: {error}") from error
        try:
            model.learn_multi(examples)
            return self._said(examples)
        except RuntimeError as error:
            raise Unlearnable(f"Vowpal Wabbit cannot learn it: {error}") from error
        finally:
            model._finish_example_multi_ex(examples)

    def _said(self, examples: Sequence[Any]) -> tuple[Pmf, ...]:
        if not self.several:
            return (tuple(examples[0].get_action_scores()),)
        found = examples[0].get_decision_scores()
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
    several = bool(joined.slots) and bool(joined.slots[0].id)
    if b"\n" in joined.context or b"\r" in joined.context:
        return "its context is of several lines"
    try:
        context = orjson.loads(joined.context)
        actions, places = context["_multi"], context["_slots"] if several else [{}]
        if problem := _problem_of_names(joined.context, [context], actions, places):
            return problem
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        return f"its context cannot be read: {error!r:.100}"
    if not 1 <= len(actions) <= MAX_ACTIONS:
        return f"expected 1 to {MAX_ACTIONS} actions: found {len(actions)}"
    if several != ("_slots" in context):
        return "either its context or what was decided has slots, not both"
    if not len(joined.slots) == len(joined.rewards) == len(places) <= len(actions):
        decided = f"{len(joined.slots)} of {len(places)}, by {len(actions)} actions"
        return f"slots that are not those of the context: {decided}"
    for slot in joined.slots:
        if problem := _problem_of_slot(slot, len(actions)):
            return problem
    return ""


def _problem_of_names(text: bytes, *parts: Sequence[Mapping[str, Any]]) -> str:
    """Names that Vowpal Wabbit takes for its own, or that end it: namespaces that are not ASCII."""
    ours = sum(len(each.keys() & names) for part, names in zip(parts, _OURS) for each in part)
    if text.isascii() and b"\\u" not in text and text.count(b'"_') == ours:
        return ""  # the quick way: all that is odd is what must be
    rest = [
        {name: value for name, value in each.items() if name not in names}
        for part, names in zip(parts, _OURS)
        for each in part
    ]
    bad = _bad_name(rest)
    return f"its context has the name {bad!r:.40}" if bad else ""


def _bad_name(value: Any) -> str:
    """A name in a value that may not be there; empty for none."""
    if isinstance(value, list):
        return next(filter(None, map(_bad_name, value)), "")
    if not isinstance(value, dict):
        return ""
    for name, inner in value.items():
        if name[:1] == "_" or (name[:1] > "\x7f" and isinstance(inner, (dict, list))):
            return str(name)
        if found := _bad_name(inner):
            return found
    return ""


def _problem_of_slot(slot: Slot, actions: int) -> str:
    chosen, chances = slot.actions, slot.probabilities
    if not chosen or len(chances) != len(chosen):
        return "expected a probability for each action"
    if min(*chosen, slot.baseline) < 1 or max(*chosen, slot.baseline) > actions:
        return f"an action is none of the context: {chosen}, of {actions}"
    if len({*chosen}) < len(chosen):
        return f"an action was decided twice: {chosen}"
    if not (all(0 <= each <= 1 for each in chances) and chances[0] > 0):
        return f"a probability is not between 0 and 1: {chances}"
    if not slot.id and len(chosen) != actions:
        return f"not all actions were ranked: {len(chosen)} of {actions}"
    return ""
