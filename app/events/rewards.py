"""Events that are rewards: of what a decision had put first in a list, see ``POST .../rank``."""

from collections.abc import Sequence
from itertools import chain

from app.cache.pipeline import Command
from app.cache.writer import Writer
from app.contracts.decisions import OF_LISTS, Decisions, Rewarded
from app.contracts.events import HIDE, Event
from app.settings import Settings


class Rewards:
    """What of some events goes into the log of decisions, in one round trip with the events."""

    def __init__(self, settings: Settings) -> None:
        self._key = Decisions(settings.namespace).log
        full = "see that the trainer runs, which clears what it has learned"
        self._writer = Writer(settings, self._key, "decisions", full)

    def close(self) -> None:
        """End the connections."""
        self._writer.close()

    def commands(self, events: Sequence[Event]) -> list[Command]:
        """The entries for events that count. Raises EventsUnavailable when there is no room."""
        found = [Rewarded(event.list, 1.0) for event in events if _is_reward(event)]
        if not found:
            return []
        self._writer.expect_room(len(found))
        fields = [chain.from_iterable(each.encode().items()) for each in found]
        return [*(("XADD", self._key, "*", *each) for each in fields), ("XLEN", self._key)]

    def answered(self, last: object) -> None:
        """Take the last answer: a number, how long the log is, where there were rewards."""
        if isinstance(last, int):
            self._writer.length = last


def _is_reward(event: Event) -> bool:
    return event.list.startswith(OF_LISTS) and event.position == 0 and event.type != HIDE
