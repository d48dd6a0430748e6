"""How a run tells how far it is, whoever shows it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Advance = Callable[[int], None]
"""Takes how much more was done."""


class Progress(Protocol):
    """Shows how far a step of a run is."""

    def step(self, name: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Open a step."""


class Silent:
    """A ``Progress`` that nobody sees."""

    def step(self, name: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        return nullcontext(lambda done: None)
