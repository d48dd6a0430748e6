"""What a command says of several inputs, and of how much events count, before anything is read."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from app.contracts.events import HIDE, IMPRESSION, WEIGHTS, is_type
from batch.errors import BadSettings

MARK = "_larder_events.json"
"""The file that makes a folder one of exported events."""
MOST = 1e6
_HOURS = {"h": 1, "d": 24, "w": 168}


@dataclass(frozen=True, slots=True)
class Weighing:
    """weights: of the types that say anything; half_life: such as 30d, or "" for none.

    given: whether somebody has said the weights, so that a folder that is empty is one of events.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    half_life: str = ""
    given: bool = False

    @classmethod
    def of(cls, weights: str | None, half_life: str | None) -> Self:
        """Read both as they are given. Raises BadSettings."""
        return cls(
            dict(WEIGHTS) if weights is None else dict(_weights(weights)),
            _checked(half_life or ""),
            weights is not None,
        )

    @property
    def half_life_seconds(self) -> float | None:
        """After which an event counts half; None when all count the same."""
        if not self.half_life:
            return None
        return float(self.half_life[:-1]) * _HOURS[self.half_life[-1]] * 3600

    @property
    def settings(self) -> dict[str, Any]:
        """What the manifest records."""
        said = {"half_life": self.half_life} if self.half_life else {}
        return {"event_weights": dict(self.weights), **said}


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files and folders, some of which may be folders of events."""

    paths: tuple[str, ...]
    weighing: Weighing = Weighing()

    @property
    def shown(self) -> str:
        """What messages call them."""
        return ", ".join(self.paths)

    def of_events(self) -> tuple[str, ...]:
        """The folders of events on this machine."""
        return tuple(path for path in self.paths if self._is_of_events(path))

    def others(self) -> tuple[str, ...]:
        """The inputs that are not of events."""
        events = self.of_events()
        return tuple(path for path in self.paths if path not in events)

    def settings(self) -> dict[str, Any]:
        """What the manifest records of how events were weighed; nothing without any."""
        return self.weighing.settings if self.of_events() else {}

    def _is_of_events(self, path: str) -> bool:
        """Whether it is one, or will be: where weights are given, an empty or missing folder.

        What has an ending is no folder, but a file whose name somebody misspelt.
        """
        if "://" in path:
            return False
        there = Path(path)
        is_free = _is_empty(there) or not (there.exists() or there.suffix)
        return is_of_events(path) or (self.weighing.given and is_free)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the manifest says of events: up to which, and how they were weighed."""

    until: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def is_of_events(path: str | Path) -> bool:
    """Whether an export has made this folder."""
    return Path(path, MARK).is_file()


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _weights(text: str) -> Iterator[tuple[str, float]]:
    pairs = [each.partition("=") for each in text.split(",")]
    for kind, equals, number in ((kind.strip(), equals, number) for kind, equals, number in pairs):
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not (equals and is_type(kind) and 0 <= weight <= MOST):
            raise BadSettings(
                f"--event-weights must be types with weights of 0 to {MOST:,.0f}, such as "
                f"click=1,purchase=5, not {text!r}"
            )
        if kind in (IMPRESSION, HIDE):
            raise BadSettings(f"--event-weights cannot weigh {kind}: it says nothing to like")
        yield kind, weight


def _checked(half_life: str) -> str:
    if half_life and not re.fullmatch(r"(?=.*[1-9])[0-9]+(\.[0-9]+)?[hdw]", half_life):
        raise BadSettings(
            f"--half-life must be hours, days or weeks, such as 12h, 30d or 8w, not {half_life!r}"
        )
    return half_life
