"""The service-level objective as data, and which of its limits an outcome broke."""

from dataclasses import dataclass, replace
from math import sqrt


@dataclass(frozen=True, slots=True)
class Objective:
    """What is promised. A rate of 0 promises no rate."""

    users: int
    requests_per_second: float
    median_ms: float
    p95_ms: float
    p99_ms: float
    error_share: float
    rate_slack: float = 0.02
    """The share by which the rate may fall short. Paced users can only be slower than their
    nominal rate, never faster: a late answer delays its user's next request."""

    def for_users(self, users: int) -> "Objective":
        """The same promise for another number of paced users: the rate is theirs."""
        return replace(self, users=users, requests_per_second=users * self.rate_of_a_user)

    @property
    def rate_of_a_user(self) -> float:
        """How often one user asks in a second."""
        return self.requests_per_second / self.users


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured over ``seconds``. Latencies are those of all requests, failed ones too."""

    users: int
    seconds: float
    requests: int
    errors: int
    median_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def requests_per_second(self) -> float:
        """Good answers per second."""
        return (self.requests - self.errors) / self.seconds if self.seconds else 0.0

    @property
    def error_share(self) -> float:
        """The share of the requests that failed."""
        return self.errors / self.requests if self.requests else 0.0


# The reference architecture publishes users, rate and median. The tails are ours: an answer that
# takes longer than 200 ms is felt, and one in a hundred over half a second is one on every page.
REFERENCE = Objective(
    users=200, requests_per_second=180, median_ms=60, p95_ms=200, p99_ms=500, error_share=0.001
)

# The click model of the reference architecture answers 200 users 104 times a second, at a median of
# 390 ms. Ours: 1,000 a second with the slack, each with ten candidates.
CLICKS = Objective(
    users=200, requests_per_second=1_021, median_ms=60, p95_ms=200, p99_ms=500, error_share=0.0
)

# 180 decisions a second, and rewards for most of them, within the limits of STRICT.
DECISIONS = Objective(
    users=200, requests_per_second=360, median_ms=5, p95_ms=15, p99_ms=40, error_share=0.0
)

# Ours, with the load generator, the API and the cache on the same two cores.
STRICT = Objective(
    users=200, requests_per_second=180, median_ms=5, p95_ms=15, p99_ms=40, error_share=0.0
)


def broken(objective: Objective, outcome: Outcome) -> list[str]:
    """The limits that the outcome broke, each as a sentence; none when the promise held."""
    if outcome.requests == 0:
        return ["no request was answered"]
    return [
        *_rate(objective, outcome),
        *_latency("median", outcome.median_ms, objective.median_ms),
        *_latency("p95", outcome.p95_ms, objective.p95_ms),
        *_latency("p99", outcome.p99_ms, objective.p99_ms),
        *_errors(objective, outcome),
    ]


def _rate(objective: Objective, outcome: Outcome) -> list[str]:
    least = _least_rate(objective, outcome.seconds)
    if outcome.requests_per_second >= least:
        return []
    return [
        f"{outcome.requests_per_second:,.1f} requests/s were answered well, promised were "
        f"{objective.requests_per_second:,.1f} (at least {least:,.1f} with the slack)"
    ]


def _least_rate(objective: Objective, seconds: float) -> float:
    """The promise less its slack, and less what the edges of the window may cut off.

    A user of 0.9 requests/s sends 1 or 2 in two seconds. Over all users the sum varies by half the
    square root of their number at most; three times that never happens by chance.
    """
    edges = 1.5 * sqrt(objective.users) / seconds
    return objective.requests_per_second * (1 - objective.rate_slack) - edges


def _latency(name: str, measured_ms: float, limit_ms: float) -> list[str]:
    if measured_ms <= limit_ms:
        return []
    return [f"{name} was {digits(measured_ms)} ms, promised was at most {digits(limit_ms)} ms"]


def _errors(objective: Objective, outcome: Outcome) -> list[str]:
    if outcome.error_share <= objective.error_share:
        return []
    limit = f"at most {objective.error_share:.2%}" if objective.error_share else "none"
    return [
        f"{outcome.errors:,} of {outcome.requests:,} requests failed "
        f"({outcome.error_share:.2%}), promised was {limit}"
    ]


def digits(number: float) -> str:
    """Three significant digits, or all digits before the point: 0.477, 12.3, 1,234."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
