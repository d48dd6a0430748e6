"""The log of decisions, as a worker writes to it: an answer waits until its entry stands there."""

from collections.abc import Sequence
from itertools import chain

from app.cache.writer import Writer
from app.contracts.decisions import Decisions, Logged
from app.settings import Settings


class Log:
    """The log of one namespace; requests may share it."""

    def __init__(self, settings: Settings) -> None:
        self._key = Decisions(settings.namespace).log
        self._writer = Writer(
            settings,
            self._key,
            noun="decisions",
            full="see that the trainer runs, which clears what it has learned",
        )

    def write(self, entries: Sequence[Logged]) -> None:
        """Write entries in their order. Raises EventsUnavailable; then none is acknowledged."""
        self._writer.expect_room(len(entries))
        self._writer.ask(
            [("XADD", self._key, "*", *chain.from_iterable(e.encode().items())) for e in entries]
        )

    def backlog(self) -> tuple[int, int]:
        """How many entries it holds, and how many at most. Raises EventsUnavailable."""
        self._writer.ask([])
        return self._writer.length, self._writer.most

    def close(self) -> None:
        """End the connections."""
        self._writer.close()
