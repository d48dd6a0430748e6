"""Callers of the API for Locust: ``python -m loadtest`` runs it, plain ``locust`` can too.

    locust -f loadtest/locustfile.py --headless --host http://127.0.0.1:8000 --scenario slo -u 200

Every answer is checked, and a wrong one is a failure as much as an error status. Locust's exit code
is the verdict, decided where the run is led (alone or as master), also with --processes,
--master and --worker.
"""

import heapq
import logging
import time
import uuid
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, cast
from urllib.parse import quote

import gevent
import locust.runners
from locust import FastHttpUser, events, task
from locust.contrib.fasthttp import FastResponse
from locust.env import Environment
from locust.exception import CatchResponseError
from locust.runners import WorkerRunner

from loadtest.api import key_header
from loadtest.judge.checks import WrongAnswer, check_gone, check_taken
from loadtest.load import decisions, scenarios
from loadtest.load.population import Caller
from loadtest.runs import REPORT_SECONDS, Run, Steps

# Shorter than Locust's own 3 s, so that a step can be judged while the next one runs.
locust.runners.WORKER_REPORT_INTERVAL = REPORT_SECONDS

log = logging.getLogger("loadtest")

REQUEST_TIMEOUT_SECONDS = 10.0
SEVERAL = 20
SHORT = 5
JSON = {"Content-Type": "application/json"}
LATEST = decisions.LATEST_SECONDS
TYPES = ("click", "click", "click", "purchase")
AT_ONCE = (1, 1, 1, 1, 4)
"""How many events a request holds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A list that was answered, and how to ask whether it is still so."""

    caller: Caller
    n: int | None
    etag: str = ""
    items: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"/recommendations/{_segment(self.caller.user)}" + (f"?n={self.n}" if self.n else "")


class Visitor(FastHttpUser):
    """A caller of the API, or in the open model a source of callers."""

    network_timeout = connection_timeout = REQUEST_TIMEOUT_SECONDS
    concurrency = 10_000
    max_redirects = 0  # load must not follow to another host; allow_redirects is not concurrent

    def __init__(self, environment: Environment) -> None:
        self.default_headers = key_header()
        super().__init__(environment)
        self._run = cast(Steps, environment.shape_class).run
        self._seen: Seen | None = None
        self._shown: Seen | None = None
        """The list of somebody who may do something with its items."""
        self._owed: list[tuple[float, str, float]] = []
        """Rewards to come: when, of which event, how much."""
        self._back: Caller | None = None
        """Who has just done something, and comes back to look."""

    def on_start(self) -> None:
        """Begin at a moment of one's own."""
        while self._run.draw is None:
            gevent.sleep(1)  # the run is being ended: see Run.prepare
        self._draw, self._k = self._run.draw, self._run.k
        self._short = min(SHORT, self._k)
        worker = getattr(self.environment.runner, "worker_index", 0)
        self._chance = Random(f"{self._run.asked.seed}/{worker}/{next(self._run.seeds)}")
        self._arrivals = self._run.scenario.arrivals
        self._due = time.monotonic() + self._arrivals.first(self._chance)
        gevent.sleep(max(self._due - time.monotonic(), 0))

    def wait_time(self) -> float:
        """Until the next request is due."""
        now = time.monotonic()
        self._due = self._arrivals.next(self._due, now, self._chance)
        return max(self._due - now, 0.0)

    @task
    def ask(self) -> None:
        """One kind of request, most often a single user's list."""
        if self._run.scenario.decides:
            return self._guarded(self._decide, time.monotonic())
        if self._run.rankings:
            return self._guarded(self._rank, time.monotonic())
        share = self._run.scenario.events_share
        if share and self._chance.random() < share:
            return self._guarded(self._act, time.monotonic())
        (request,) = self._chance.choices(
            (self._one, self._several, self._similar, self._conditional), weights=(85, 5, 5, 5)
        )
        if self._arrivals.is_open:
            gevent.spawn(self._guarded, request, self._due)
        else:
            self._guarded(request, time.monotonic())

    def _guarded(self, request: Callable[[float], None], due: float) -> None:
        """A mistake of ours must turn the verdict red, not vanish in a log."""
        try:
            request(due)
        except Exception as error:
            log.exception("the load generator made a mistake")
            self._run.record(0.0, CatchResponseError(f"mistake of the generator: {error!r}"))

    def _one(self, due: float) -> None:
        n = self._short if self._chance.random() < 0.1 else None
        caller = self._back or self._draw.caller(self._chance)
        self._back, asked = None, Seen(self._as_now(caller), n)
        self._ask("GET", asked.path, "one user", due, lambda response: self._look(response, asked))

    def _as_now(self, caller: Caller) -> Caller:
        doings = self._run.doings
        return doings.caller(caller, time.monotonic()) if doings else caller

    def _look(self, response: FastResponse, asked: Seen) -> None:
        """Check a list, and keep what the next requests need of it."""
        body, n = _ok(response), asked.n or self._k
        items = self._run.checker.one(body, asked.caller, n)
        self._seen = seen = replace(asked, etag=_etag(response), items=tuple(items))
        if items and self._run.doings and self._run.doings.may_act(asked.caller):
            self._shown = seen

    def _several(self, due: float) -> None:
        drawn = [self._draw.caller(self._chance) for _ in range(SEVERAL)]
        callers, n = [*map(self._as_now, drawn)], self._short
        self._ask(
            *("POST", "/recommendations", f"{SEVERAL} users", due),
            lambda response: self._run.checker.several(_ok(response), callers, n),
            json={"users": [caller.user for caller in callers], "n": n},
        )

    def _similar(self, due: float) -> None:
        if self._seen is None or not self._seen.items:
            return self._one(due)
        item, n = self._chance.choice(self._seen.items), self._short
        self._ask(
            *("GET", f"/items/{_segment(item)}/similar?n={n}", "similar items", due),
            lambda response: self._run.checker.similar(_ok(response), item, n),
        )

    def _conditional(self, due: float) -> None:
        if self._seen is None:
            return self._one(due)
        asked = replace(self._seen, caller=self._as_now(self._seen.caller))

        def accept(response: FastResponse) -> None:
            if response.status_code == 200 and _tag(response) != asked.etag:
                self._look(response, asked)  # a new generation went live, or something was done
            else:
                _expect(response, 304)
                check_gone(asked.caller, asked.items)

        headers = {"If-None-Match": asked.etag}
        self._ask("GET", asked.path, "one user, not modified", due, accept, headers=headers)

    def _act(self, due: float) -> None:
        """Click or buy something of a list that was shown."""
        doings, shown, self._shown = self._run.doings, self._shown, None
        if doings is None or shown is None:
            return self._one(due)
        user, chance = shown.caller.user, self._chance
        items = chance.sample(shown.items, min(chance.choice(AT_ONCE), len(shown.items)))
        deeds = {item: chance.choice(TYPES) for item in items}
        events = [
            {"id": self._id(), "type": type, "user": user, "item": item}
            for item, type in deeds.items()
        ]

        def accept(response: FastResponse) -> None:
            _expect(response, 202)
            check_taken(response.content or b"", len(events))
            self._run.checker.counts["events"] += len(events)
            doings.did(user, deeds, time.monotonic())
            self._back = shown.caller

        name, body = ("an event", events[0]) if len(events) == 1 else ("events", {"events": events})
        self._ask("POST", "/events", name, due, accept, json=body)

    def _rank(self, due: float) -> None:
        """Have a click model put candidates in order."""
        asked = self._chance.choice(self._run.rankings)

        def accept(response: FastResponse) -> None:
            self._run.checker.ranked(_ok(response), _header(response, "X-Model-Version"), asked)

        self._ask("POST", "/rank/click", "candidates", due, accept, data=asked.body, headers=JSON)

    def _decide(self, due: float) -> None:
        """Have something decided, or tell what a decision of before was worth."""
        if self._owed and self._owed[0][0] <= due:
            return self._reward(due)
        counts, chance = self._run.checker.counts, self._chance
        asked = chance.choice(decisions.questions())

        def accept(response: FastResponse) -> None:
            _expect(response, 201)
            if _header(response, "X-Larder-Logged") == "false":
                raise WrongAnswer("a decision that nobody logged")
            counts["decisions"] += 1
            try:
                event, action = decisions.chosen(response.content or b"")
            except (ValueError, KeyError, TypeError) as error:
                raise WrongAnswer(f"no decision: {error}") from None
            if (value := asked.reward(action, chance)) is not None:
                later = min(chance.expovariate(1 / decisions.SOON_SECONDS), LATEST)
                heapq.heappush(self._owed, (time.monotonic() + later, event, value))

        path = f"{decisions.BASE}/rank"
        self._ask("POST", path, "rank", due, accept, data=asked.body, headers=JSON)

    def _reward(self, due: float) -> None:
        _, event, value = heapq.heappop(self._owed)
        counts = self._run.checker.counts

        def accept(response: FastResponse) -> None:
            _expect(response, 204)
            counts["rewards"] += 1
            counts[decisions.HUNDREDTHS] += round(100 * value)

        path = f"{decisions.BASE}/events/{event}/reward"
        self._ask("POST", path, "reward", due, accept, json={"value": value})

    def _id(self) -> str:
        return uuid.UUID(int=self._chance.getrandbits(128)).hex

    def _ask(
        self,
        method: str,
        path: str,
        name: str,
        due: float,
        accept: Callable[[FastResponse], None],
        **more: Any,
    ) -> None:
        """Send a request; in the open model the time since it was due counts."""
        late_ms = max(time.monotonic() - due, 0.0) * 1000
        with self.client.request(method, path, name, catch_response=True, **more) as response:
            response.request_meta["response_time"] += late_ms
            if response.status_code == 0:
                response.failure("no answer")
                gevent.sleep(0.1)  # or a closed loop without wait would spin
                return
            try:
                accept(response)
            except WrongAnswer as error:
                response.failure(str(error))
            else:
                response.success()


def _segment(identifier: str) -> str:
    return quote(identifier, safe="")


def _expect(response: FastResponse, status: int) -> None:
    if response.status_code != status:
        raise WrongAnswer(f"status {response.status_code} in place of {status}")


def _ok(response: FastResponse) -> bytes:
    _expect(response, 200)
    return response.content or b""


def _tag(response: FastResponse) -> str | None:
    """Its ETag; what is degraded has none."""
    return _header(response, "ETag")


def _header(response: FastResponse, name: str) -> str | None:
    found = response.headers.get(name) if response.headers is not None else None
    return str(found) if found else None


def _etag(response: FastResponse) -> str:
    etag = _tag(response)
    if not etag:
        raise WrongAnswer("no ETag")
    return etag


def _options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Larder")
    group.add_argument("--scenario", choices=scenarios.NAMES, default="slo", help="what is run")
    group.add_argument("--duration", type=int, help="seconds that slo, soak or refresh measure")
    group.add_argument("--step-seconds", type=int, default=scenarios.STEP_SECONDS)
    group.add_argument("--strict", action="store_true", help="our own objective")
    group.add_argument("--population", default="", help="a file of user ids, one a line")
    group.add_argument("--zipf", type=float, default=1.0, help="exponent of the law of users")
    group.add_argument("--seed", type=int, default=1, help="of chance")
    group.add_argument("--figures", default="", help="where to write the result as JSON")


def _init(environment: Environment, **_: Any) -> None:
    run = Run(environment)
    shape = cast(Steps, environment.shape_class)
    shape.run = run
    environment.events.request.add_listener(run.record)
    environment.events.test_start.add_listener(run.prepare)
    if isinstance(environment.runner, WorkerRunner):
        environment.events.report_to_master.add_listener(run.report_to_master)
        return
    environment.events.worker_report.add_listener(run.worker_report)
    environment.events.spawning_complete.add_listener(shape.spawned)
    environment.events.quitting.add_listener(lambda environment: run.conclude(shape))


events.init_command_line_parser.add_listener(_options)
events.init.add_listener(_init)
