"""One run: what is asked of whom, in which steps, what came back, and the verdict on it.

Locust calls: ``tick`` while the run lasts, the listeners at their events.
"""

import logging
import time
from collections import Counter
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from locust import LoadTestShape
from locust.env import Environment
from locust.exception import CatchResponseError
from locust.runners import MasterRunner

from loadtest.api import Api, CannotRun
from loadtest.judge.checks import Checker
from loadtest.judge.measured import measure
from loadtest.judge.recording import Recording
from loadtest.judge.verdict import pronounce
from loadtest.load import candidates, population
from loadtest.load.candidates import Ranking
from loadtest.load.doings import Doings
from loadtest.load.population import Draw, Population
from loadtest.load.scenarios import Asked, Scenario, make
from loadtest.slo import Outcome, broken

log = logging.getLogger("loadtest")

REPORT_SECONDS = 1.0
REPORTS_LATE_SECONDS = 2
PATIENCE_SECONDS = 10
SPAWN_RATE = 100.0


class Run:
    """One run as one process sees it: the options, what came back, who may ask."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.recording = Recording()
        self.checker = Checker()
        self.doings: Doings | None = None
        """What users do, where the scenario has them do something."""
        self.seeds = count()
        self.rankings: list[Ranking] = []
        """What a click model is asked, where the scenario asks one."""
        self.draw: Draw | None = None
        """Who asks; None until it is known."""
        self.k = 0
        """How many items a list holds at most."""
        self.failed: str | None = None

    @property
    def asked(self) -> Asked:
        """Locust's options and ours; a worker has the master's once it was told to spawn."""
        said: Any = self.environment.parsed_options
        return Asked(
            *(said.scenario, said.num_users or 200, said.duration, said.step_seconds, said.strict),
            processes=said.processes or 1,
            population=Path(said.population) if said.population else None,
            zipf=said.zipf,
            seed=said.seed,
        )

    @cached_property
    def scenario(self) -> Scenario:
        """What is run."""
        return make(self.asked)

    def prepare(self, **_: Any) -> None:
        """Learn who may ask before anybody does, or end the run with a sentence."""
        if isinstance(self.environment.runner, MasterRunner):
            return
        try:
            self._learn()
        except CannotRun as error:
            log.error("%s", error)
            self.failed = str(error)
            self.environment.process_exit_code = 2
            assert self.environment.runner is not None
            gevent.spawn(self.environment.runner.quit)

    def _learn(self) -> None:
        api = Api(self.environment.host or "")
        file = self.asked.population
        if self.scenario.ranks or self.scenario.decides:
            self.rankings = candidates.of(api, file) if self.scenario.ranks else []
            self.checker.met_known = True
            self.draw = Draw(Population([], None, ""), self.asked.zipf)
            return
        self.k = api.k()
        known = population.read(file) if file else population.sample(api)
        if self.scenario.events_share:
            api.check_events()
            self.checker.reranks = api.reranks()
            index = getattr(self.environment.runner, "worker_index", 0)
            self.doings = Doings(index, self.asked.processes)
        self.checker.sampled = known.generation
        self.draw = Draw(known, self.asked.zipf)

    def record(self, response_time: float, exception: Exception | None = None, **_: Any) -> None:
        """Note a request that ended."""
        self.recording.request(time.time(), response_time, _name(exception))

    def report_to_master(self, client_id: str, data: dict[str, Any]) -> None:
        """Send what was recorded since the last report."""
        data["seconds"] = self.recording.drain()
        data["generations"], data["met_known"] = self.checker.generations, self.checker.met_known
        data["counts"], self.checker.counts = dict(self.checker.counts), Counter()

    def worker_report(self, client_id: str, data: dict[str, Any]) -> None:
        """Add what a worker sent."""
        self.recording.add(data.get("seconds", []))
        self.checker.add(data.get("generations", []), data.get("met_known", False))
        self.checker.counts.update(data.get("counts", {}))

    def conclude(self, shape: "Steps") -> None:
        """Reach the verdict, write the figures, set Locust's exit code."""
        self.environment.process_exit_code = 2  # until the figures are written
        outcomes = shape.outcomes(time.time())
        verdict = pronounce(self.scenario, outcomes, self.failed or shape.stopped or self._unmet())
        said: Any = self.environment.parsed_options
        if said.figures:
            measured = measure(
                *(self.scenario, outcomes, verdict, self.recording, shape.windows),
                *(self.checker.generations, self.checker.counts),
            )
            measured.write(Path(said.figures))
        if self.failed is None:
            self.environment.process_exit_code = 0 if verdict.passed else 1

    def _unmet(self) -> str | None:
        """Why the answers prove nothing, if nobody who asked was known."""
        if self.checker.met_known or not self.checker.generations:
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
        self.stopped: str | None = "the run was stopped before its end"
        """Why the run ended early; None when it came to its end."""

    def spawned(self, **_: Any) -> None:
        """All users of the current step are there: it is measured from soon on."""
        if self._spawned:
            return
        step = self.run.scenario.steps[len(self.windows)]
        start = int(time.time() + self.run.scenario.arrivals.steady_seconds) + 1
        self.windows.append((start, start + step.seconds))
        self._spawned = True

    def tick(self) -> tuple[int, float] | None:
        """The users that there should be now; None ends the run."""
        now = time.time()
        self._began = self._began or now
        if self._is_dead(now):
            return None
        if self._is_broken(now) or self._is_over(now):
            self.stopped = None
            return None
        if self._spawned and now >= self.windows[-1][1] and not self._is_last:
            self._spawned = False
        index = len(self.windows) - 1 if self._spawned else len(self.windows)
        return self.run.scenario.steps[index].users, SPAWN_RATE

    def _is_over(self, now: float) -> bool:
        return self._is_last and now >= self.windows[-1][1] + self._late_seconds

    @property
    def _is_last(self) -> bool:
        return len(self.windows) == len(self.run.scenario.steps)

    @property
    def _late_seconds(self) -> int:
        """How long the last reports of workers may take; until then the users are still there."""
        return REPORTS_LATE_SECONDS if isinstance(self.runner, MasterRunner) else 0

    def _is_dead(self, now: float) -> bool:
        silent = now - max(self.run.recording.last_good, self._began)
        if silent < PATIENCE_SECONDS:
            return False
        ran = now - self._began - silent
        self.stopped = (
            f"the API stopped answering well {ran:.0f} seconds into the run and did not come back "
            f"within {PATIENCE_SECONDS} seconds"
        )
        return True

    def _is_broken(self, now: float) -> bool:
        if not self.run.scenario.stops_when_broken:
            return False
        over = [window for window in self.windows if window[1] <= now - self._late_seconds]
        if not over:
            return False
        step = self.run.scenario.steps[len(over) - 1]
        return bool(broken(step.objective, self.run.recording.outcome(*over[-1], step.users)))

    def outcomes(self, now: float) -> list[Outcome]:
        """What the steps measured until now; of several only those that are over.

        One that was cut cannot be compared with the others.
        """
        steps = self.run.scenario.steps
        return [
            self.run.recording.outcome(start, min(end, now), step.users)
            for step, (start, end) in zip(steps, self.windows, strict=False)
            if end <= now or (len(steps) == 1 and start + 1 <= now)
        ]


def _name(exception: Exception | None) -> str | None:
    if exception is None or isinstance(exception, CatchResponseError):
        return str(exception) if exception else None
    return type(exception).__name__
