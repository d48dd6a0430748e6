"""The scenarios: which arrivals, in which steps, for how long, held against which objective."""

from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

from loadtest.load.arrivals import Arrivals, paced, poisson, without_wait
from loadtest.slo import CLICKS, DECISIONS, REFERENCE, STRICT, Objective

PACED = ("refresh", "slow", "live", "clicks", "decisions")
"""None of these excuses a lost answer."""
NAMES = ("slo", "capacity", "ramp", "soak", *PACED)
DURATION_SECONDS = dict.fromkeys((*PACED, "slo"), 60) | {"soak": 300}
STEP_SECONDS = 5
CAPACITY_USERS = (1, 2, 4, 8, 16, 32, 64, 128)

STRICT_CAPACITY_FACTOR = 10
"""``capacity --strict`` asks for ten times the reference's rate within the reference's limits."""

SOURCE_RATE = 10.0
"""Arrivals per second of one source; the ramp adds sources."""
EVENTS_SHARE = 0.1
"""Of the requests of ``live``: so many say what a user does."""
RAMP_FROM, RAMP_TO, RAMP_FACTOR = 50.0, 10_000.0, 1.25


@dataclass(frozen=True, slots=True)
class Step:
    """So many users (or sources), measured for so many seconds once all of them are there."""

    users: int
    seconds: int
    objective: Objective
    """What this step alone is held against."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is run; ``goal`` is the rate that has to be reached for the verdict to be green."""

    name: str
    arrivals: Arrivals
    steps: tuple[Step, ...]
    objective: Objective
    goal: float
    stops_when_broken: bool = False
    events_share: float = 0.0
    """Of the requests: those that say what a user does."""
    ranks: bool = False
    """Whether candidates are to be ranked by a click model, in place of lists."""
    decides: bool = False
    """Whether decisions are asked for and rewarded, in place of lists."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked for, as the command line says it; ``command`` names the scenario."""

    command: str
    users: int
    duration: int | None = None
    """Seconds; None is the scenario's own."""
    step_seconds: int = STEP_SECONDS
    strict: bool = False
    url: str | None = None
    report: Path | None = None
    processes: int = 1
    population: Path | None = None
    zipf: float = 1.0
    seed: int = 1

    @property
    def promised(self) -> Objective:
        """What a paced run of 200 users is held against."""
        if self.command == "decisions":
            return DECISIONS
        if self.strict:
            return STRICT
        return CLICKS if self.command == "clicks" else REFERENCE


def make(asked: Asked) -> Scenario:
    """The scenario that was asked for."""
    if asked.command == "capacity":
        return _capacity(asked)
    if asked.command == "ramp":
        return _ramp(asked)
    objective = asked.promised.for_users(asked.users)
    if asked.command in PACED:
        objective = replace(objective, error_share=0.0)
    step = Step(asked.users, asked.duration or DURATION_SECONDS[asked.command], objective)
    arrivals, rate = paced(asked.users, objective.rate_of_a_user), objective.requests_per_second
    return Scenario(
        *(asked.command, arrivals, (step,), objective, rate),
        events_share=EVENTS_SHARE * (asked.command == "live"),
        ranks=asked.command == "clicks",
        decides=asked.command == "decisions",
    )


def _capacity(asked: Asked) -> Scenario:
    goal = REFERENCE.requests_per_second * (STRICT_CAPACITY_FACTOR if asked.strict else 1)
    any_rate = replace(REFERENCE, users=asked.users, requests_per_second=0)
    counts = [count for count in CAPACITY_USERS if count < asked.users] + [asked.users]
    steps = tuple(
        Step(count, asked.step_seconds, replace(any_rate, users=count)) for count in counts
    )
    return Scenario("capacity", without_wait(), steps, any_rate, goal)


def _ramp(asked: Asked) -> Scenario:
    steps, promised = [], asked.promised
    rate = RAMP_FROM
    while rate <= RAMP_TO:
        steps.append(_arriving(round(rate / SOURCE_RATE), asked.step_seconds, promised))
        rate *= RAMP_FACTOR
    arrivals, goal = poisson(SOURCE_RATE), promised.requests_per_second
    return Scenario("ramp", arrivals, tuple(steps), promised, goal, stops_when_broken=True)


def _arriving(sources: int, seconds: int, promised: Objective) -> Step:
    """A step of random arrivals: their number varies by its square root, three times that at most.

    Without a promised rate, requests that hang would be missing from the latencies unnoticed.
    """
    rate = sources * SOURCE_RATE
    slack = promised.rate_slack + 3 / sqrt(rate * seconds)
    held = replace(promised, users=sources, requests_per_second=rate, rate_slack=slack)
    return Step(sources, seconds, held)
