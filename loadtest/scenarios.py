"""The scenarios: which arrivals, in which steps, for how long, held against which objective."""

from dataclasses import dataclass, replace
from math import sqrt

from loadtest.arrivals import Arrivals, paced, poisson, without_wait
from loadtest.slo import REFERENCE, REQUESTS_PER_USER_SECOND, STRICT, Objective

NAMES = ("slo", "capacity", "ramp", "soak", "refresh")
DURATION_SECONDS = {"slo": 60, "soak": 300, "refresh": 60}
STEP_SECONDS = 5
CAPACITY_USERS = (1, 2, 4, 8, 16, 32, 64, 128)

STRICT_CAPACITY_FACTOR = 10
"""``capacity --strict`` asks for ten times the reference's rate within the reference's limits."""

SOURCE_RATE = 10.0
"""Arrivals per second of one source; the ramp adds sources."""
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


def make(name: str, users: int, duration: int | None, step_seconds: int, strict: bool) -> Scenario:
    """The scenario of that name. ``duration`` in seconds; None takes the scenario's own."""
    promised = STRICT if strict else REFERENCE
    if name == "capacity":
        return _capacity(users, step_seconds, strict)
    if name == "ramp":
        return _ramp(step_seconds, promised)
    objective = promised.for_users(users)
    if name == "refresh":
        objective = replace(objective, error_share=0.0)  # a change of generation excuses nothing
    step = Step(users, duration or DURATION_SECONDS[name], objective)
    arrivals = paced(users, REQUESTS_PER_USER_SECOND)
    return Scenario(name, arrivals, (step,), objective, objective.requests_per_second)


def _capacity(users: int, seconds: int, strict: bool) -> Scenario:
    goal = REFERENCE.requests_per_second * (STRICT_CAPACITY_FACTOR if strict else 1)
    any_rate = replace(REFERENCE, users=users, requests_per_second=0)
    counts = [count for count in CAPACITY_USERS if count < users] + [users]
    steps = tuple(Step(count, seconds, replace(any_rate, users=count)) for count in counts)
    return Scenario("capacity", without_wait(), steps, any_rate, goal)


def _ramp(seconds: int, promised: Objective) -> Scenario:
    steps = []
    rate = RAMP_FROM
    while rate <= RAMP_TO:
        steps.append(_arriving(round(rate / SOURCE_RATE), seconds, promised))
        rate *= RAMP_FACTOR
    return Scenario(
        "ramp",
        poisson(SOURCE_RATE),
        tuple(steps),
        promised,
        promised.requests_per_second,
        stops_when_broken=True,
    )


def _arriving(sources: int, seconds: int, promised: Objective) -> Step:
    """A step of random arrivals: their number varies by its square root, three times that at most.

    Without a promised rate, requests that hang would be missing from the latencies unnoticed.
    """
    rate = sources * SOURCE_RATE
    slack = promised.rate_slack + 3 / sqrt(rate * seconds)
    held = replace(promised, users=sources, requests_per_second=rate, rate_slack=slack)
    return Step(sources, seconds, held)
