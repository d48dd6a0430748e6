"""One run: what is asked of whom, in which steps, what came back, and the verdict on it.

Locust calls: ``tick`` while the run lasts, the listeners at their events.
"""

import logging
import time
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from locust import LoadTestShape
from locust.env import Environment
from locust.exception import CatchResponseError
from locust.runners import MasterRunner

from loadtest import population, report, scenarios, verdict
from loadtest.api import Api, CannotRun
from loadtest.checks import Checks
from loadtest.population import Draw
from loadtest.recording import Recording
from loadtest.slo import Outcome, broken

log = logging.getLogger("loadtest")

REPORT_SECONDS = 1.0
REPORTS_LATE_SECONDS = 2
PATIENCE_SECONDS = 10
SPAWN_RATE = 100.0
N = 5


@dataclass(frozen=True, slots=True)
class Asking:
    """All that a caller needs to know before it asks."""

    draw: Draw
    n: int
    """How many items to ask for, where a number is asked for."""
    k: int
    """How many items a list holds at most."""
    checks: Checks


class Run:
    """One run as one process sees it: the options, what came back, who may ask."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.recording = Recording()
        self.generations: list[str] = []
        self.met_known = False
        self.seeds = count()
        self.asking: Asking | None = None
        self.failed: str | None = None

    @property
    def options(self) -> Any:
        """Locust's options and ours; a worker has the master's once it was told to spawn."""
        return self.environment.parsed_options

    @cached_property
    def scenario(self) -> scenarios.Scenario:
        """What is run."""
        asked = self.options
        return scenarios.make(
            asked.scenario, asked.num_users or 200, asked.duration, asked.step_seconds, asked.strict
        )

    def prepare(self, **_: Any) -> None:
        """Learn who may ask before anybody does, or end the run with a sentence."""
        if isinstance(self.environment.runner, MasterRunner):
            return
        try:
            self.asking = self._learn()
        except CannotRun as error:
            log.error("%s", error)
            self.failed = str(error)
            self.environment.process_exit_code = 2
            assert self.environment.runner is not None
            gevent.spawn(self.environment.runner.quit)

    def _learn(self) -> Asking:
        api = Api(self.environment.host or "")
        k = api.k()
        if self.options.population:
            found = population.load(Path(self.options.population))
        else:
            found = population.sample(api)
        return Asking(Draw(found, self.options.zipf), min(N, k), k, Checks(found.generation))

    def record(self, response_time: float, exception: Exception | None = None, **_: Any) -> None:
        """Note a request that ended."""
        self.recording.request(time.time(), response_time, _name(exception))

    def report_to_master(self, client_id: str, data: dict[str, Any]) -> None:
        """Send what was recorded since the last report."""
        data["seconds"] = self.recording.drain()
        self._saw_own()
        data["generations"], data["met_known"] = self.generations, self.met_known

    def _saw_own(self) -> None:
        if self.asking:
            self._saw(self.asking.checks.generations, self.asking.checks.met_known)

    def worker_report(self, client_id: str, data: dict[str, Any]) -> None:
        """Add what a worker sent."""
        self.recording.add(data.get("seconds", []))
        self._saw(data.get("generations", []), data.get("met_known", False))

    def _saw(self, generations: list[str], met_known: bool) -> None:
        self.generations += [each for each in generations if each not in self.generations]
        self.met_known = self.met_known or met_known

    def conclude(self, shape: "Steps") -> None:
        """Judge, write the figures, set Locust's exit code."""
        self.environment.process_exit_code = 2  # until the figures are written
        self._saw_own()
        several = len(self.scenario.steps) > 1  # a step that was cut cannot be compared with others
        outcomes, stopped = shape.outcomes(time.time(), whole=several), shape.stopped()
        judged = verdict.judge(self.scenario, outcomes, self.failed or stopped or self._unmet())
        if self.options.figures:
            figures = report.figures(
                self.scenario, outcomes, judged, self.recording, shape.windows, self.generations
            )
            Path(self.options.figures).write_text(figures, encoding="utf-8")
        if self.failed is None:
            self.environment.process_exit_code = 0 if judged.passed else 1

    def _unmet(self) -> str | None:
        """Why the answers prove nothing, if nobody who asked was known."""
        if self.met_known or not self.generations:
            return None
        return "not one answer was personal: the API knows nobody of the population that asked"


class Steps(LoadTestShape):
    """The steps of the scenario; each is measured from when all its users are there and settled."""

    use_common_options = True
    run: Run

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.windows: list[tuple[int, int]] = []
        self._began = 0.0
        self._spawned = False
        self._ended = False
        self._why: str | None = None

    def spawned(self, **_: Any) -> None:
        """All users of the current step are there: it is measured from soon on."""
        if self._spawned:
            return
        step = self.run.scenario.steps[len(self.windows)]
        start = int(time.time() + self.run.scenario.arrivals.settle_seconds) + 1
        self.windows.append((start, start + step.seconds))
        self._spawned = True

    def tick(self) -> tuple[int, float] | None:
        """The users that there should be now; None ends the run."""
        now = time.time()
        self._began = self._began or now
        if self._is_dead(now) or self._is_broken(now):
            self._ended = True
            return None
        if self._spawned and now >= self.windows[-1][1]:
            if len(self.windows) == len(self.run.scenario.steps):
                return self._end(now)
            self._spawned = False
        index = len(self.windows) - 1 if self._spawned else len(self.windows)
        return self.run.scenario.steps[index].users, SPAWN_RATE

    def _end(self, now: float) -> tuple[int, float] | None:
        """Wait for the last reports of the workers with the users still there."""
        if self._is_distributed and now < self.windows[-1][1] + REPORTS_LATE_SECONDS:
            return self.run.scenario.steps[-1].users, SPAWN_RATE
        self._ended = True
        return None

    @property
    def _is_distributed(self) -> bool:
        return isinstance(self.runner, MasterRunner)

    def _is_dead(self, now: float) -> bool:
        silent = now - max(self.run.recording.last_good, self._began)
        if silent < PATIENCE_SECONDS:
            return False
        ran = now - self._began - silent
        self._why = (
            f"the API stopped answering well {ran:.0f} seconds into the run and did not come back "
            f"within {PATIENCE_SECONDS} seconds"
        )
        return True

    def _is_broken(self, now: float) -> bool:
        if not self.run.scenario.stops_when_broken:
            return False
        late = REPORTS_LATE_SECONDS if self._is_distributed else 0
        over = [window for window in self.windows if window[1] <= now - late]
        if not over:
            return False
        step = self.run.scenario.steps[len(over) - 1]
        return bool(broken(step.objective, self.run.recording.outcome(*over[-1], step.users)))

    def outcomes(self, now: float, *, whole: bool) -> list[Outcome]:
        """What the steps measured until now; with ``whole`` without the one that is not over."""
        steps = self.run.scenario.steps
        return [
            self.run.recording.outcome(start, min(end, now), step.users)
            for step, (start, end) in zip(steps, self.windows, strict=False)
            if end <= now or (not whole and start + 1 <= now)
        ]

    def stopped(self) -> str | None:
        """Why the run ended early, if it did."""
        if self._why is None and not self._ended:
            return "the run was stopped before its end"
        return self._why


def _name(exception: Exception | None) -> str | None:
    if exception is None or isinstance(exception, CatchResponseError):
        return str(exception) if exception else None
    return type(exception).__name__
