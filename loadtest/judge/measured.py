"""What was measured in a run, field by field, and the file that holds it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest.judge.recording import Moment, Recording
from loadtest.judge.verdict import Verdict, held, knee
from loadtest.load.scenarios import Scenario, Step
from loadtest.slo import Objective, Outcome, broken

FILE = "figures.json"
POINTS = 120


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """What one step offered and got; the window is seconds since the epoch."""

    users: int
    seconds: float
    requests: int
    errors: int
    median_ms: float
    p95_ms: float
    p99_ms: float
    offered: float
    requests_per_second: float
    error_share: float
    window: tuple[int, int]
    broken: Sequence[str]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was run, what came back, and the verdict on it."""

    scenario: str
    arrivals: str
    objective: Objective
    verdict: Verdict
    steps: Sequence[MeasuredStep]
    knee: int | None
    """The index of a step."""
    held: int
    """How many steps held."""
    errors: Mapping[str, int]
    generations: Sequence[str]
    series: Sequence[Moment]
    counts: Mapping[str, int] = field(default_factory=dict)
    """Events taken, and lists of the whole run by what there was to say of them."""

    def write(self, path: Path) -> None:
        """Write it as JSON. Raises OSError."""
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def measure(
    scenario: Scenario,
    outcomes: Sequence[Outcome],
    verdict: Verdict,
    recording: Recording,
    windows: Sequence[tuple[int, int]],
    generations: Sequence[str],
    counts: Mapping[str, int],
) -> Measured:
    """Gather what a run measured."""
    seconds = sum(step.seconds for step in scenario.steps[: len(outcomes)])
    return Measured(
        scenario=scenario.name,
        arrivals=scenario.arrivals.sentence,
        objective=scenario.objective,
        verdict=verdict,
        steps=[*map(_step, scenario.steps, outcomes, windows)],
        knee=knee(outcomes) if scenario.name == "capacity" and outcomes else None,
        held=len(held(scenario, outcomes)),
        errors=dict(recording.errors().most_common()),
        generations=generations,
        series=recording.series(bin_seconds=max(1, seconds // POINTS)),
        counts=dict(counts),
    )


def _step(step: Step, outcome: Outcome, window: tuple[int, int]) -> MeasuredStep:
    return MeasuredStep(
        **asdict(outcome),
        offered=step.objective.requests_per_second,
        requests_per_second=round(outcome.requests_per_second, 2),
        error_share=outcome.error_share,
        window=window,
        broken=broken(step.objective, outcome),
    )


def read(folder: Path) -> Measured:
    """Read what a run left in its folder. Raises OSError or ValueError."""
    path = folder / FILE
    said = json.loads(path.read_text(encoding="utf-8"))
    try:
        return _measured(said)
    except (KeyError, TypeError):
        raise ValueError(f"{path} holds no figures of a run") from None


def _measured(said: Any) -> Measured:
    return Measured(
        scenario=said["scenario"],
        arrivals=said["arrivals"],
        objective=Objective(**said["objective"]),
        verdict=Verdict(**said["verdict"]),
        steps=[MeasuredStep(**step) for step in said["steps"]],
        knee=said["knee"],
        held=said["held"],
        errors=said["errors"],
        generations=said["generations"],
        series=[Moment(**moment) for moment in said["series"]],
        counts=said.get("counts", {}),
    )
