"""Who takes a new connection: the worker with the fewest, unless it is stuck.

The workers of one server share a listening socket, and whoever wakes first could take a whole
burst of connections. So each writes down how many it has, in memory that the process which starts
them made before it forked them, and leaves a connection to a worker that has fewer.
"""

import sys
from mmap import mmap

PATIENCE_SECONDS = 0.01
"""So long a connection is left to others."""

SLACK = 8
"""A worker may have an eighth more than another: to take turns for each one costs time."""

_NOBODY = -1
_CLOSED = sys.maxsize
_COUNT, _TURNS, _CELLS = 0, 1, 2


class Shares:
    """For each worker its connections and the turns of its loop, in memory that all share."""

    def __init__(self, places: int) -> None:
        self._cells = memoryview(mmap(-1, 8 * _CELLS * places)).cast("q")
        for place in range(0, len(self._cells), _CELLS):
            self._cells[place + _COUNT] = _NOBODY

    def take(self) -> "Share | None":
        """The share of a new worker; None when there are more of them than were expected."""
        for place in range(0, len(self._cells), _CELLS):
            if self._cells[place + _COUNT] == _NOBODY:
                return Share(self._cells, place)
        return None


class Share:
    """What one worker tells the others, and what it knows of them."""

    def __init__(self, cells: "memoryview[int]", place: int) -> None:
        self._cells = cells
        self._place = place
        self._left: dict[int, int] = {}
        self._left_at = 0.0
        self._stuck: dict[int, int] = {}
        self.close()

    def write(self, connections: int) -> None:
        """Say how many connections this worker has: in each turn of its loop, or more often."""
        self._cells[self._place + _COUNT] = connections
        self._cells[self._place + _TURNS] += 1

    def close(self) -> None:
        """Say that this worker takes no connections."""
        self._cells[self._place + _COUNT] = _CLOSED

    def give_back(self) -> None:
        """The worker is gone, however it ended; another may have its place."""
        self._cells[self._place + _COUNT] = _NOBODY

    def is_next(self, connections: int, now: float) -> bool:
        """Whether this worker takes the connection that waits, having so many.

        ``now`` is monotonic seconds. A worker whose loop does not turn while a connection is left
        to it is stuck, and is not asked again until it turns.
        """
        willing = self._with_fewer(connections)
        if not willing:
            return True
        if not self._left:
            self._left, self._left_at = willing, now
        if now - self._left_at < PATIENCE_SECONDS:
            return False
        self._stuck |= {at: turns for at, turns in self._left.items() if willing.get(at) == turns}
        self.went()
        return True

    def went(self) -> None:
        """Nothing waits that was left to others."""
        self._left = {}

    def _with_fewer(self, connections: int) -> dict[int, int]:
        """The others with clearly fewer: their places, and how often they have turned."""
        least = connections - connections // SLACK
        fewer = {
            at: self._cells[at + _TURNS]
            for at in range(0, len(self._cells), _CELLS)
            if at != self._place and _NOBODY < self._cells[at + _COUNT] < least
        }
        return {at: turns for at, turns in fewer.items() if self._stuck.get(at) != turns}
