"""What came back, second by second, so that any window of the run can be judged afterwards.

Every process records its own; with several of them the master adds up what the others report.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor

from loadtest.slo import Outcome

Latencies = Counter[float]
"""Milliseconds, to three significant digits -> how many requests took so long."""


Sent = tuple[int, Sequence[tuple[float, int]], Sequence[tuple[str, int]]]
"""A second as it travels between processes: when, its latencies, its errors."""


@dataclass(slots=True)
class Second:
    """One second of the clock: what ended in it."""

    latencies: Latencies = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Moment:
    """A second of the run, or several; requests that failed are among the requests."""

    at: int
    requests_per_second: float
    errors_per_second: float
    median_ms: float
    p95_ms: float
    p99_ms: float


class Recording:
    """Requests by the second in which they ended."""

    def __init__(self) -> None:
        self.seconds: dict[int, Second] = {}
        self.last_good = 0.0
        """When a request ended well for the last time, to the second where others reported it."""

    def request(self, at: float, latency_ms: float, error: str | None) -> None:
        """Note one request; ``at`` is when it ended, in seconds since the epoch."""
        second = self.seconds.get(int(at))
        if second is None:
            second = self.seconds[int(at)] = Second()
        second.latencies[float(f"{latency_ms:.3g}")] += 1
        if error is None:
            self.last_good = at
        else:
            second.errors[error] += 1

    def drain(self) -> list[Sent]:
        """Take out all there is, as plain lists that travel between processes."""
        rows: list[Sent] = [
            (at, list(second.latencies.items()), list(second.errors.items()))
            for at, second in self.seconds.items()
        ]
        self.seconds = {}
        return rows

    def add(self, rows: Iterable[Sent]) -> None:
        """Add what another recording gave out."""
        for at, latencies, errors in rows:
            second = self.seconds.setdefault(at, Second())
            for latency_ms, count in latencies:
                second.latencies[latency_ms] += count
            for name, count in errors:
                second.errors[name] += count
            if sum(count for _, count in latencies) > sum(count for _, count in errors):
                self.last_good = max(self.last_good, at + 1)

    def outcome(self, start: float, end: float, users: int) -> Outcome:
        """What was measured in the whole seconds of a window; seconds without answers count."""
        whole = range(ceil(start), max(floor(end), ceil(start)))
        latencies, errors = self._sum(whole)
        return Outcome(
            users=users,
            seconds=len(whole),
            requests=latencies.total(),
            errors=errors.total(),
            median_ms=percentile(latencies, 0.50),
            p95_ms=percentile(latencies, 0.95),
            p99_ms=percentile(latencies, 0.99),
        )

    def errors(self) -> Counter[str]:
        """The failures of the whole run by name, those of starting up included."""
        return self._sum(self.seconds)[1]

    def series(self, bin_seconds: int = 1) -> list[Moment]:
        """The run over time, the unfinished first and last second left out."""
        if not self.seconds:
            return []
        first, last = min(self.seconds) + 1, max(self.seconds)
        starts = range(first, last - bin_seconds + 1, bin_seconds)
        return [self._moment(at, bin_seconds) for at in starts]

    def _moment(self, at: int, bin_seconds: int) -> Moment:
        got = self.outcome(at, at + bin_seconds, 0)
        rate, errors = got.requests / bin_seconds, got.errors / bin_seconds
        return Moment(at, rate, errors, got.median_ms, got.p95_ms, got.p99_ms)

    def _sum(self, whole: Iterable[int]) -> tuple[Latencies, Counter[str]]:
        latencies: Latencies = Counter()
        errors: Counter[str] = Counter()
        for at in whole:
            if second := self.seconds.get(at):
                latencies.update(second.latencies)
                errors.update(second.errors)
        return latencies, errors


def percentile(latencies: Latencies, share: float) -> float:
    """The latency that so large a share of the requests did not exceed (nearest rank)."""
    rank = ceil(share * latencies.total())
    passed = 0
    for latency_ms in sorted(latencies):
        passed += latencies[latency_ms]
        if passed >= rank:
            return latency_ms
    return 0.0
