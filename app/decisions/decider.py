"""Rank, reward, activate: log first, then answer.

An answer without its entry in the log would be learned wrong or never, so a reward that cannot be
stored is refused. A decision that cannot is answered all the same, by the last model, and says so:
an application goes on, and only what its users did then is not learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from app.cache.link import Link
from app.cache.writer import Writer
from app.contracts.decisions import Activated, Logged, Mode, Ranked, Slot
from app.contracts.learning import policies
from app.decisions import body as bodies
from app.decisions.body import Asked
from app.decisions.chooser import Chance, Model, Stranded
from app.decisions.follower import Follower, Listener, State
from app.decisions.refusals import NOT_NOW, Refused
from app.errors import CacheUnavailable, EventsUnavailable
from app.settings import Settings

_FULL = "see that the trainer runs, which clears what it has learned"


@dataclass(frozen=True, slots=True)
class Answer:
    """body: JSON of a decision; logged: False when the log did not take it."""

    body: bytes
    logged: bool


class Decider:
    """What one namespace decides; requests may share it. All that it raises is Refused."""

    def __init__(self, settings: Settings, link: Link, listener: Listener | None = None) -> None:
        self.follower, self._listener = Follower(settings, link, listener), listener
        self._log = Writer(settings, self.follower.space.log, noun="decisions", full=_FULL)

    def start(self) -> None:
        """Look, then follow in a thread."""
        self.follower.start()

    def poll(self) -> None:
        """Look once."""
        self.follower.poll()

    def stop(self) -> None:
        """End the following, and the connections."""
        self.follower.stop()
        self._log.close()

    def rank(self, body: bytes) -> Answer:
        """Choose one of the actions, and log it."""
        state = self._state()
        if policies.is_for_slots(state.policy.arguments):
            raise Refused(
                403,
                "InvalidApiAccess",
                "Api is currently disabled for the instance. Its policy is one of several slots: "
                "call /multislot/rank, or have a policy with --cb_explore_adf.",
            )
        asked, chooser = bodies.rank(body), _chooser(state)
        slot, mode = chooser.rank(asked), state.configuration.mode
        imitated = mode == "Apprentice" and slot.actions[0] == 1
        if mode != "Online":
            slot = _baseline(len(asked.offered))
        name = asked.actions[asked.offered[slot.actions[0] - 1]]
        told = {"ranking": _ranking(asked, slot), "eventId": asked.id, "rewardActionId": name}
        if state.configuration.explains and isinstance(chooser, Model):
            scores = chooser.explain(asked.context, slot.actions[0] - 1)
            features = [{"name": feature, "score": score} for feature, score in scores]
            told["inferenceExplanation"] = [{"id": name, "features": features}]
        logged = self._logs(asked, (slot,), chooser, mode, imitated)
        return Answer(orjson.dumps(told), logged)

    def rank_slots(self, body: bytes) -> Answer:
        """Choose an action for each slot, and log it."""
        state = self._state()
        if not policies.is_for_slots(state.policy.arguments):
            raise Refused(
                400,
                "InvalidMultiSlotApiAccess",
                "Multi-slot feature is currently disabled. Please follow multi-slot Personalizer "
                "documentation to update your instance settings to enable multi-slot "
                "functionality. Here that is a policy with --ccb_explore_adf.",
            )
        asked, chooser = bodies.rank_slots(body), _chooser(state)
        slots, mode, imitated = _decided(asked, chooser, state.configuration.mode)
        names = [(slot.id, asked.actions[slot.actions[0] - 1]) for slot in slots]
        shown = [{"id": id, "rewardActionId": name} for id, name in names]
        told = {"slots": shown, "eventId": asked.id}
        logged = self._logs(asked, slots, chooser, mode, imitated)
        return Answer(orjson.dumps(told), logged)

    def reward(self, event_id: str, body: bytes) -> None:
        """Log what an event was worth, whether or not it is known."""
        self._log_rewards([bodies.reward(event_id, body)])

    def reward_slots(self, event_id: str, body: bytes) -> None:
        """Log what slots of an event were worth."""
        self._log_rewards(bodies.reward_slots(event_id, body))

    def activate(self, event_id: str) -> None:
        """Log that a deferred decision was used."""
        self._log_all([Activated(bodies.known(event_id))])

    def backlog(self) -> tuple[int, int]:
        """How many entries the log holds, and how many at most. Raises EventsUnavailable."""
        self._log.ask([])
        return self._log.length, self._log.most

    def _state(self) -> State:
        try:
            return self.follower.state()
        except CacheUnavailable as error:
            raise Refused(503, NOT_NOW, str(error)) from error

    def _logs(
        self, asked: Asked, slots: Sequence[Slot], chooser: Model | Chance, mode: Mode, same: bool
    ) -> bool:
        of = tuple(slots), chooser.generation
        try:
            self._write([Ranked(asked.id, asked.context, *of, mode, asked.deferred, same)])
            logged = True
        except EventsUnavailable:  # whose writer has told it
            logged = False
        if self._listener:
            self._listener.decided(logged)
        return logged

    def _log_rewards(self, entries: Sequence[Logged]) -> None:
        self._log_all(entries)
        if self._listener:
            self._listener.rewarded()

    def _log_all(self, entries: Sequence[Logged]) -> None:
        try:
            self._write(entries)
        except EventsUnavailable as error:
            raise Refused(503, NOT_NOW, str(error)) from error

    def _write(self, entries: Sequence[Logged]) -> None:
        """Wait until entries stand in the log, in their order. Raises EventsUnavailable."""
        self._log.expect_room(len(entries))
        key = self.follower.space.log
        self._log.ask([("XADD", key, "*", *chain(*e.encode().items())) for e in entries])


def _chooser(state: State) -> Model | Chance:
    """A model of one slot does not decide several, while the trainer has not made another."""
    found, arguments = state.model, state.policy.arguments
    if found and found.is_for_slots == policies.is_for_slots(arguments):
        return found
    return Chance(arguments)


def _baseline(count: int) -> Slot:
    return Slot("", tuple(range(1, count + 1)), (1.0, *[0.0] * (count - 1)))


def _ranking(asked: Asked, slot: Slot) -> list[dict[str, Any]]:
    """What was excluded keeps its place; the others follow each other around it."""
    pairs = zip(slot.actions, slot.probabilities, strict=True)
    names = [(asked.actions[asked.offered[number - 1]], p) for number, p in pairs]
    if len(names) < len(asked.actions):
        left, offered = iter(names), set(asked.offered)
        every = enumerate(asked.actions)
        names = [next(left) if number in offered else (name, 0.0) for number, name in every]
    return [{"id": name, "probability": p} for name, p in names]


def _decided(
    asked: Asked, chooser: Model | Chance, mode: Mode
) -> tuple[Sequence[Slot], Mode, bool]:
    """The slots, the mode to log them with, and whether the model imitated all baselines.

    Where earlier slots took all that a later one may show, each gets its baseline, of which nothing
    is learned: nobody could tell the probability of that.
    """
    baselines = [Slot(p.id, (p.baseline + 1,), (1.0,), p.baseline + 1) for p in asked.slots]
    try:
        found = chooser.rank_slots(asked)
    except Stranded:
        return baselines, "LoggingOnly", False
    if mode == "Online":
        return found, mode, False
    imitated = mode == "Apprentice" and all(slot.actions[0] == slot.baseline for slot in found)
    return baselines, mode, imitated
