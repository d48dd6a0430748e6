"""A model of Vowpal Wabbit that chooses, and what chooses without one.

A choice is drawn by a seed of the event's id, the slot's and the generation: who asks twice with
the same id gets the same answer from the same model.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import accumulate, chain
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any

import orjson
import vowpalwabbit
from vowpalwabbit import PredictionType, Workspace

from app.contracts.decisions import Manifest, Slot
from app.contracts.generations import BrokenRecord
from app.contracts.learning import policies
from app.decisions.body import Asked, Place
from app.decisions.refusals import RANK, RANKING, Refused

MAX_EXPLAINED = 200
"""Features of a decision that are left out in turn to explain it."""

_OF_ACTIONS, _OF_SLOTS = PredictionType.ACTION_PROBS, PredictionType.DECISION_SCORES
_BEFORE_SLOTS = b'"_slots":['
_SLOT = b'{"_id":'


class Stranded(Exception):
    """Earlier slots took all actions that a later one may show."""


class Chance:
    """Chooses while nothing was published yet: every action is as likely.

    arguments: of the policy that will learn of it.
    """

    generation = ""

    def __init__(self, arguments: str) -> None:
        self._arguments = arguments

    def rank(self, asked: Asked) -> Slot:
        """The actions, the chosen one first. Raises Refused."""
        _expect_bounded(asked, self._arguments)
        count = len(asked.offered)
        return drawn(asked.id, [1 / count] * count)

    def rank_slots(self, asked: Asked) -> list[Slot]:
        """The actions of each slot. Raises Stranded, and Refused."""
        _expect_bounded(asked, self._arguments)
        taken: set[int] = set()
        slots = []
        for place in asked.slots:
            left = [number for number in place.offered if number not in taken]
            if not left:
                raise Stranded
            seed = seed_of(asked.id, place.id, self.generation)
            chosen = left.pop(seed * len(left) >> 64)
            taken.add(chosen)
            count = len(left) + 1
            slots.append(_slot([chosen, *left], [1 / count] * count, place))
        return slots


class Model:
    """The model of a generation; threads may share it.

    exploration: in place of the policy's epsilon, where it has one. Raises BrokenRecord when
    Vowpal Wabbit does not take the bytes.
    """

    def __init__(self, manifest: Manifest, model: bytes, exploration: float) -> None:
        _expect_no_later(manifest.vowpal)
        self.generation, self.exploration = manifest.generation, exploration
        self.is_for_slots = policies.is_for_slots(manifest.arguments)
        self._arguments = manifest.arguments
        self._asking = Lock()  # the library says that it is not safe for threads
        says = policies.exploration(manifest.arguments)
        explores = ["--epsilon", f"{exploration:g}"] if says else []
        try:
            with NamedTemporaryFile(prefix="larder-model-") as file:
                file.write(model)
                file.flush()
                arguments = ["-i", file.name, "--json", "--quiet", "-t", *explores]
                self._workspace: Any = Workspace(arg_list=arguments)
        except (RuntimeError, OSError) as error:
            raise BrokenRecord(f"Vowpal Wabbit does not take the model: {error}") from error
        gives = self._workspace.get_prediction_type()
        if gives != (_OF_SLOTS if self.is_for_slots else _OF_ACTIONS):
            raise BrokenRecord(f"the model does not choose by {manifest.arguments!r:.200}")

    def rank(self, asked: Asked) -> Slot:
        """The actions, the chosen one first. Raises Refused."""
        return drawn(asked.id, self.probabilities(asked), self.generation)

    def probabilities(self, asked: Asked) -> list[float]:
        """Of each offered action, in their order. Raises Refused."""
        found: list[float] = self._predict(asked, asked.context)
        total = sum(found)
        if len(found) != len(asked.offered) or not total > 0:
            raise _no_ranking("it gave no probability of each action")
        return [each / total for each in found]

    def rank_slots(self, asked: Asked) -> list[Slot]:
        """The actions of each slot. Raises Stranded, and Refused."""
        found = self._predict(asked, _seeded(asked, self.generation))
        if not all(found):
            raise Stranded
        slots = []
        for place, (chosen, *rest) in zip(asked.slots, found, strict=True):
            pairs = [chosen, *sorted(rest, key=lambda pair: -pair[1])]
            slots.append(_slot([n for n, _ in pairs], [p for _, p in pairs], place))
        return slots

    def _predict(self, asked: Asked, context: bytes) -> Any:
        _expect_bounded(asked, self._arguments)
        try:
            with self._predicted(context) as (first, *_):
                read = first.get_decision_scores if self.is_for_slots else first.get_action_scores
                return read()
        except RuntimeError as error:
            raise _no_ranking(str(error)) from error

    @contextmanager
    def _predicted(self, context: bytes) -> Iterator[list[Any]]:
        """The examples of a context, of which the first has the prediction.

        It is what ``Workspace.predict`` does, without the wrapping of each example, which would
        cost as much again.
        """
        with self._asking:
            examples = self._workspace._parse(context.decode())
            try:
                self._workspace.predict_multi(examples)
                yield examples
            finally:
                self._workspace._finish_example_multi_ex(examples)

    def explain(self, context: bytes, number: int) -> list[tuple[str, float]]:
        """How much each feature adds to the reward that the model expects of an action.

        number: of the action in the context, from 0. Each feature is left out in turn: its score
        is what the model then expects less, interactions with all others included (leave one out:
        Robnik-Sikonja and Kononenko, 2008, IEEE TKDE 20). The largest come first, whatever their
        sign; those that change nothing are not named, and of a large decision only the first
        MAX_EXPLAINED are tried, fewer where a policy multiplies many.
        """
        told = orjson.loads(context)
        told["_multi"] = [action] = [told["_multi"][number]]
        leaves = chain.from_iterable(map(_leaves, [*told["FromUrl"], *action["j"], action["i"]]))
        whole, scores = self._expected(told), []
        most = policies.MAX_PRODUCTS // 20 // policies.products(self._arguments, told)
        for name, holder, key in list(leaves)[: min(most, MAX_EXPLAINED)]:
            if holder is action["i"] and key == "constant":
                continue
            value = holder.pop(key)
            if score := whole - self._expected(told):
                scores.append((name, score))
            holder[key] = value
        return sorted(scores, key=lambda pair: -abs(pair[1]))

    def _expected(self, told: dict[str, Any]) -> float:
        """The reward of the only action."""
        with self._predicted(orjson.dumps(told)) as examples:
            return -float(examples[-1].get_partial_prediction())


def _expect_bounded(asked: Asked, arguments: str) -> None:
    """Raise Refused when the policy would take much longer for this than a request may."""
    if not policies.is_bounded(arguments, asked.context):
        raise Refused(
            400,
            RANK,
            "Exceeds maximum allowed payload size. The policy multiplies more features than a "
            "decision may take: send fewer, or use a policy with fewer interactions.",
        )


def drawn(event_id: str, probabilities: Sequence[float], generation: str = "") -> Slot:
    """Draw one of the actions, which comes first; the rest by falling probability."""
    share = seed_of(event_id, "", generation) / 2**64
    sums = list(accumulate(probabilities))
    chosen = bisect_right(sums, share * sums[-1])
    rest = [number for number in range(len(sums)) if number != chosen]
    rest.sort(key=lambda number: -probabilities[number])
    order = [chosen, *rest]
    return _slot(order, [probabilities[number] for number in order])


def seed_of(event_id: str, slot_id: str, generation: str) -> int:
    """64 bits that the ids decide."""
    digest = sha256(f"{event_id}\n{slot_id}{generation}".encode()).digest()
    return int.from_bytes(digest[:8])


def _expect_no_later(release: str) -> None:
    """Vowpal Wabbit reads what a later release saved, and not always as it was meant."""
    ours = vowpalwabbit.__version__
    if _parts(release) > _parts(ours):
        raise BrokenRecord(f"Vowpal Wabbit {ours} does not take the model of release {release}")


def _parts(release: str) -> list[int]:
    return [int(part) for part in release.split(".")[:2] if part.isdecimal()]


_ONLY = Place("", (), 0)


def _slot(numbers: Sequence[int], probabilities: Sequence[float], place: Place = _ONLY) -> Slot:
    """A 32-bit float knows no more than seven digits."""
    rounded = tuple([float(f"{each:.7g}") for each in probabilities])
    return Slot(place.id, tuple([n + 1 for n in numbers]), rounded, place.baseline + 1)


def _seeded(asked: Asked, generation: str) -> bytes:
    """The context with a tag in each slot, from which Vowpal Wabbit takes the seed of its draw."""
    head, _, slots = asked.context.rpartition(_BEFORE_SLOTS)
    first, *others = slots.split(_SLOT)
    for place, each in zip(asked.slots, others, strict=True):
        seed = seed_of(asked.id, place.id, generation)
        first += b'{"_tag":"seed=%x","_id":%s' % (seed, each)
    return head + _BEFORE_SLOTS + first


def _leaves(told: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each feature: its name, the object that holds it, and its key there."""
    for key, value in told.items():
        if type(value) is dict:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield path + key, told, key


def _no_ranking(why: str) -> Refused:
    return Refused(
        409,
        RANKING,
        "Error while ranking actions using model. Please verify the learning settings are valid. "
        f"Vowpal Wabbit said: {why}",
    )
