"""When requests are sent: the model of arrivals, printed with every result.

A closed model has a fixed number of users who wait for their answers, so a slow API is asked less.
An open model does not care: requests come when they come.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How one user, or in an open model one source of arrivals, spaces its requests."""

    sentence: str
    gap: Callable[[Random], float]
    """Seconds from one request to the next."""
    first: Callable[[Random], float]
    """Seconds before the first request."""
    is_open: bool
    steady_seconds: float
    """From the last user's start until what comes back is typical."""

    def next(self, due: float, now: float, chance: Random) -> float:
        """When the request after the one that was due is due.

        Closed: never earlier than now, since the user has only now got the answer. Open: also
        earlier, and then it is sent at once, late, which counts as time that its caller waited.
        """
        planned = due + self.gap(chance)
        return planned if self.is_open else max(planned, now)


def paced(users: int, per_second: float) -> Arrivals:
    """Every user asks at a constant rate as long as the answers come in time.

    This is Locust's ``constant_throughput`` but for the start: Locust starts users in batches and
    a batch stays in step for ever, 100 requests at once and then a second of silence. Here every
    user starts at a random moment of the period.
    """
    period = 1 / per_second
    return Arrivals(
        f"closed, paced: each of {users:,} users asks {per_second:g} times a second "
        f"(constant_throughput({per_second:g}): waits what is left of {period:.2f} s after each "
        f"answer), {users * per_second:,.4g} requests/s at most",
        lambda chance: period,
        lambda chance: chance.uniform(0, period),
        is_open=False,
        steady_seconds=period,
    )


def without_wait() -> Arrivals:
    """Every user asks again as soon as the answer is there."""
    return Arrivals(
        "closed, no wait: every user asks again as soon as the answer is there",
        lambda chance: 0.0,
        lambda chance: 0.0,
        is_open=False,
        steady_seconds=1.0,
    )


def poisson(per_second: float) -> Arrivals:
    """A source of independent arrivals; the sum of several sources is such a source too."""
    return Arrivals(
        "open: Poisson arrivals at a rising rate, as many at a time as come, latency counted from "
        "the moment when a request was due",
        lambda chance: chance.expovariate(per_second),
        lambda chance: chance.expovariate(per_second),
        is_open=True,
        steady_seconds=1.0,
    )
