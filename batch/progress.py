"""How a run tells how far it is, whoever shows it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]
"""Takes how much more was done."""


class Progress(Protocol):
    """Shows how far a step of a run is."""

    def step(self, name: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Open a step."""
