"""Try some policies that others do well with, all in the one pass over the logs.

Successive halving (Jamieson and Talwalkar, 2016, AISTATS): after a quarter of the decisions the
better half of them goes on, after a half the better half of those; the best one at the end is told.

The best of several estimates is too good on average, for luck has helped to choose it: the winner's
curse. So every other decision only chooses, and the winner is judged by those between them.
"""

from dataclasses import dataclass

from app.contracts.estimates import Sums
from batch.decisions.replay import Judged, Learning, Replay

_ONE_SLOT = "--cb_explore_adf --cb_type mtr"
_SLOTS = "--ccb_explore_adf --cb_type mtr"
_FEATURES = (
    "-q ::",
    "-q :: --cubic :::",
    "-q :: -l 0.1",
    "-q :: --coin",
)
_EXPLORATIONS = (
    "--squarecb -q ::",
    "--squarecb -q :: --cubic :::",
    "--softmax --lambda 10 -q ::",
    "--softmax --lambda 10 -q :: --cubic :::",
)
QUARTERS = (1, 2)
"""After how many of them the worse half is left out."""


def candidates(slotted: bool, exploration: float) -> list[Judged]:
    """Those that are tried; exploration: of those that go by a share."""
    start = f"{_SLOTS if slotted else _ONE_SLOT} "
    tried = [f"{start}--epsilon {exploration:g} {each}" for each in _FEATURES]
    if not slotted:
        tried += [start + each for each in _EXPLORATIONS]
    return [
        Judged(f"hyper{at}", each, "OfflineExperimentation", Learning(each), chooses=Sums())
        for at, each in enumerate(tried, 1)
    ]


@dataclass(slots=True)
class Race:
    """A search within a replay of about so many decisions."""

    replay: Replay
    running: list[Judged]
    decisions: int

    def advance(self) -> None:
        """Leave the worse half out, when it is time."""
        if self.replay.decided in [quarter * self.decisions // 4 for quarter in QUARTERS]:
            self._keep((len(self.running) + 1) // 2)

    def end(self) -> None:
        """Leave all out but the best."""
        self._keep(1)

    def _keep(self, count: int) -> None:
        best = sorted(self.running, key=lambda each: (each.chooses or Sums()).snips, reverse=True)
        self.running = best[:count]
        for each in best[count:]:
            self.replay.judged.remove(each)
