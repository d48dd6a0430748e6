"""Events acknowledged and in the stream, for a second of a core: ``make bench-events``.

Bodies that were made before, each event of another user, go to a worker of the shipped server on
the same cores, over FEW connections at once, or over MANY. What counts is processor time: of the
API, and of the server of the events. Every figure is the median of the rounds.

A worker that has few requests at once wakes up for each of them, which costs more than to take one
of several that wait. So only with MANY is a core full of requests, and each row names its floor.
"""

import argparse
import json
import random
import statistics
import sys
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import psutil
import redis

from app.contracts.events import Streams
from batch.command.output.table import table
from tests.app.wire import kept_alive
from tests.servers import SERVERS, Api, Gunicorn, Server

NAME = "default"
FEW, MANY = 4, 64
BODIES = 200
HEAD = ["", "events", "API us/event", "events/s a core", "stream us/event", "bytes/event"]


@dataclass(frozen=True, slots=True)
class Case:
    """One row: who takes events, how many at a time, and in how many requests of a round.

    at_once: over so many connections; each has a request before the first is answered.
    """

    name: str
    api: Gunicorn
    size: int
    requests: int
    at_once: int = FEW
    asked: tuple[str, str] = ("POST", "/events")


@dataclass(frozen=True, slots=True)
class Measured:
    """Processor time of an event, in us, and the memory that it took."""

    api_us: float
    server_us: float
    bytes: float


def main() -> None:
    """Print what an event costs, alone and in a batch, with each server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        settings = {"events": "true", "workers": "1", "log_level": "error"}
        cases = []
        for kind in SERVERS:
            api = stack.enter_context(Api(server.url, NAME, server=kind, **settings))
            cases.append(Case(f"batches of 100, {kind}", api, 100, 400))
            cases.append(Case(f"single, {kind}", api, 1, 4096))
            cases.append(Case(f"single, {MANY} at once, {kind}", api, 1, 4096, MANY))
        constant = "tests.bench.floors:constant"
        flask = stack.enter_context(Gunicorn(constant, workers="1", log_level="error"))
        seen: dict[str, list[Measured]] = {case.name: [] for case in cases}
        asked = ("GET", "/recommendations/1")
        of_flask = [
            Case(f"Flask, constant answer, {at_once} at once", flask, 1, 4096, at_once, asked)
            for at_once in (FEW, MANY)
        ]
        floors: dict[str, list[float]] = {case.name: [] for case in of_flask}
        for number in range(rounds + 1):
            for case in cases:
                measured = _measure(case, server)
                if number:  # the first round warms up
                    seen[case.name].append(measured)
            for case in of_flask:
                floors[case.name].append(_cpu_us(case))
    rows = [_row(case, seen[case.name]) for case in cases]
    for name, figures in floors.items():
        floor = statistics.median(figures)
        rows.append([name, "", f"{floor:.1f}", f"{1e6 / floor:,.0f}"])
    print(table(HEAD, [[*row, *[""] * (len(HEAD) - len(row))] for row in rows]))


def _row(case: Case, seen: Sequence[Measured]) -> list[str]:
    api, stream, size = (
        statistics.median(getattr(each, figure) for each in seen)
        for figure in ("api_us", "server_us", "bytes")
    )
    count = case.size * case.requests
    return [
        case.name,
        f"{count:,}",
        f"{api:.1f}",
        f"{1e6 / api:,.0f}",
        f"{stream:.1f}",
        f"{size:.0f}",
    ]


def _measure(case: Case, server: Server) -> Measured:
    key = Streams(NAME).events
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        before = _seconds_of(server)
        api_us = _cpu_us(case)
        server_us = (_seconds_of(server) - before) * 1e6 / (case.size * case.requests)
        length = client.xlen(key)
        if length != case.size * case.requests:
            sys.exit(f"{case.name}: {length} events are in the stream")
        used = client.memory_usage(key, samples=0) or 0
    return Measured(api_us, server_us, used / length)


def _cpu_us(case: Case) -> float:
    """Processor time of the API for an event."""
    bodies = [_body(case.size) for _ in range(min(BODIES, case.requests))]
    before = sum(case.api.cpu_seconds())
    _send(case, bodies)
    return (sum(case.api.cpu_seconds()) - before) * 1e6 / (case.size * case.requests)


def _send(case: Case, bodies: Sequence[str]) -> None:
    kind = {"Content-Type": "application/json"}
    with ExitStack() as stack:
        opened = [stack.enter_context(kept_alive(case.api.url)) for _ in range(case.at_once)]
        for start in range(0, case.requests, case.at_once):
            for number, connection in enumerate(opened, start):
                connection.request(*case.asked, bodies[number % len(bodies)], kind)
            for connection in opened:
                response = connection.getresponse()
                response.read()
                if response.status not in (200, 202):
                    sys.exit(f"{case.name}: {response.status}")


def _body(size: int) -> str:
    events = [
        {
            "id": uuid.uuid4().hex,
            "type": "click",
            "user": f"u{random.randrange(1_000_000)}",
            "item": f"i{random.randrange(100_000)}",
            "time": "2026-11-21T14:03:07.123Z",
        }
        for _ in range(size)
    ]
    return json.dumps({"events": events})


def _seconds_of(server: Server) -> float:
    times = psutil.Process(server._server._process.pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
