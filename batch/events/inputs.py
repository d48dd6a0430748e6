"""What a command says of several inputs, and of how much events count, before anything is read."""

import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from app.contracts.events import HIDE, IMPRESSION, WEIGHTS, is_type
from batch.errors import BadInteractions, BadSettings

if TYPE_CHECKING:
    from batch.interactions.counting import Counting

log = logging.getLogger("larder.interactions")

MARK = "_larder_events.json"
"""The file that makes a folder one of exported events."""
MOST = 1e6
LENGTHS = "hours, days or weeks"
_LAST = 253_402_300_799  # the year 9999
_HOURS = {"h": 1, "d": 24, "w": 168}
_RECORDED = (
    *("half_life", "type_column", "since"),
    *("max_items_per_user", "items_allow", "items_deny"),
)


@dataclass(frozen=True, slots=True)
class Weighing:
    """Which rows and events count, and how much, as the options say it.

    weights: of the types that say anything; half_life: such as 30d, or "" for none; given: whether
    somebody has said the weights, so that a folder that is empty is one of events; type_column: of
    inputs that are not of events; since: a date, or a length such as 90d back from the newest;
    max_items_per_user: 0 for any number; items_allow, items_deny: files of ids.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    half_life: str = ""
    given: bool = False
    type_column: str = ""
    since: str = ""
    max_items_per_user: int = 0
    items_allow: str = ""
    items_deny: str = ""

    @classmethod
    def of(
        cls, weights: str | None, half_life: str | None, since: str | None = None, **others: Any
    ) -> Self:
        """Read them as they are given. Raises BadSettings."""
        said = {name: value for name, value in others.items() if value is not None}
        found = (
            dict(_weights(weights, bool(said.get("type_column")))) if weights is not None else {}
        )
        if half_life and _seconds(half_life) is None:
            raise BadSettings(
                f"--half-life must be {LENGTHS}, such as 12h, 30d or 8w, not {half_life!r}"
            )
        if since and _seconds(since) is None:
            moment_of(since, "--since", f", or {LENGTHS} such as 90d")
        given = weights is not None
        return cls(
            found if given else dict(WEIGHTS), half_life or "", given, since=since or "", **said
        )

    @property
    def half_life_seconds(self) -> float | None:
        """After which a row counts half; None when all count the same."""
        return _seconds(self.half_life)

    @property
    def looks_back(self) -> bool:
        """Whether it matters when the newest row was."""
        return bool(self.half_life) or _seconds(self.since) is not None

    def counting(self, newest: Mapping[str, float | None], item_column: str) -> "Counting":
        """What reading goes by, whose lists of items are loaded now.

        newest: the time of the newest row of each input, in seconds since 1970, where that matters.
        Raises BadInteractions.
        """
        from batch.interactions.counting import Counting, load_ids  # SQL, which is not there yet

        for path in [path for path, time in newest.items() if time is None and self.half_life]:
            log.warning(
                "--half-life changes nothing of %s, which has no timestamps: their column may be "
                "named with --timestamp-column",
                path,
            )
        latest = self._latest({path: time for path, time in newest.items() if time is not None})
        length = _seconds(self.since)
        since = moment_of(self.since, "--since") if length is None else latest - length
        allow, deny = (
            load_ids(Path(path), item_column) if path else None
            for path in (self.items_allow, self.items_deny)
        )
        if allow is not None and not allow:
            raise BadInteractions(f"--items-allow {self.items_allow}: expected ids, found none")
        return Counting(
            self.type_column, self.weights, self.half_life_seconds, latest, since, allow, deny
        )

    def _latest(self, newest: Mapping[str, float]) -> float:
        """What is counted back from: the newest row, or tomorrow where that is still to come."""
        if not newest:
            return 0.0
        path, latest = max(newest.items(), key=lambda each: each[1])
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).timestamp()
        if latest <= tomorrow:
            return latest
        log.warning(
            "the newest row of %s is of %s, which is to come: --since and --half-life count back "
            "from tomorrow; mend that row, or see why the clock is behind",
            path,
            datetime.fromtimestamp(min(latest, _LAST), UTC).date(),
        )
        return tomorrow

    @property
    def settings(self) -> dict[str, Any]:
        """What the manifest records."""
        said = {name: getattr(self, name) for name in _RECORDED}
        kept = {name: value for name, value in said.items() if value}
        return {"event_weights": dict(self.weights), **kept}


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

    def read(self) -> tuple[str, ...]:
        """All files that are read but those of events: the lists of items, too."""
        lists = self.weighing.items_allow, self.weighing.items_deny
        return *self.others(), *(path for path in lists if path)

    def weighed(self, until: str) -> "Weighed":
        """What the manifest records, given the last entry of the stream; "" where no events are.

        Weights of types are recorded where there are types.
        """
        said = self.weighing.settings
        if not (until or self.of_events() or self.weighing.type_column):
            del said["event_weights"]
        return Weighed(until, said)

    def check(self) -> None:
        """Raise BadSettings when nothing that is weighed has a type."""
        weighing, elsewhere = self.weighing, any("://" in path for path in self.paths)
        if weighing.given and not (weighing.type_column or elsewhere or self.of_events()):
            raise BadSettings(
                f"--weights says how much each type counts, and {self.shown} is no folder of "
                "events: name the column of the types with --type-column, or leave out --weights"
            )

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
    """What the manifest says of events, up to which, and of how rows and events were weighed."""

    until: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def is_of_events(path: str | Path) -> bool:
    """Whether an export has made this folder."""
    return Path(path, MARK).is_file()


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _weights(text: str, any_type: bool) -> Iterator[tuple[str, float]]:
    pairs = [each.partition("=") for each in text.split(",")]
    for kind, equals, number in ((kind.strip(), equals, number) for kind, equals, number in pairs):
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not (equals and (is_type(kind) or any_type and kind) and 0 <= weight <= MOST):
            raise BadSettings(
                f"--weights must be types with weights of 0 to {MOST:,.0f}, such as "
                f"click=1,purchase=5, not {text!r}"
            )
        if kind in (IMPRESSION, HIDE):
            raise BadSettings(f"--weights cannot weigh {kind}: it says nothing to like")
        yield kind, weight


def _seconds(length: str) -> float | None:
    """How long that is; None when it is no length."""
    if not re.fullmatch(r"(?=.*[1-9])[0-9]+(\.[0-9]+)?[hdw]", length):
        return None
    return float(length[:-1]) * _HOURS[length[-1]] * 3600


def moment_of(text: str | None, option: str, other: str = "") -> float | None:
    """Return a date as seconds since 1970; what has no zone is in UTC. Raises BadSettings."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadSettings(
            f"{option} must be a date such as 2026-01-31{other}, not {text!r}"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
