"""How a run tells how far it is, whoever shows it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class Progress(Protocol):
    """Shows how far a step of a run is."""

    def step(
        self, name: str, total: int, unit: str
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Open a step; the function it gives takes how much more was done."""
