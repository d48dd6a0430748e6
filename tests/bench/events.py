"""Events acknowledged and in the stream, for a second of a core: ``make bench-events``.

Few connections send bodies that were made before, each event of another user, to a worker of the
shipped server on the same cores. What counts is processor time: of the API, and of the server of
the events. Every figure is the median of the rounds.
"""

import argparse
import json
import random
import statistics
import sys
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import psutil
import redis

from app.contracts.events import Streams
from batch.command.table import table
from tests.app.wire import kept_alive
from tests.servers import SERVERS, Api, Gunicorn, Server

NAME = "default"
CONNECTIONS = 4
BODIES = 200
HEAD = ["", "events", "API us/event", "events/s a core", "stream us/event", "bytes/event"]


@dataclass(frozen=True, slots=True)
class Case:
    """One row: who takes events, how many at a time, and in how many requests of a round."""

    name: str
    api: Gunicorn
    size: int
    requests: int
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
            cases.append(Case(f"single, {kind}", api, 1, 4000))
        constant = "tests.bench.floors:constant"
        flask = stack.enter_context(Gunicorn(constant, workers="1", log_level="error"))
        seen: dict[str, list[Measured]] = {case.name: [] for case in cases}
        floors: list[float] = []
        for number in range(rounds + 1):
            for case in cases:
                measured = _measure(case, server)
                if number:  # the first round warms up
                    seen[case.name].append(measured)
            floors.append(_cpu_us(Case("Flask", flask, 1, 4000, ("GET", "/recommendations/1"))))
    rows = [_row(case, seen[case.name]) for case in cases]
    floor = statistics.median(floors)
    rows.append(["Flask, constant answer, gunicorn", "", f"{floor:.1f}", f"{1e6 / floor:,.0f}"])
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
    share = case.requests // CONNECTIONS
    before = sum(case.api.cpu_seconds())
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for done in [threads.submit(_send, case, bodies, share) for _ in range(CONNECTIONS)]:
            done.result()
    return (sum(case.api.cpu_seconds()) - before) * 1e6 / (case.size * case.requests)


def _send(case: Case, bodies: Sequence[str], times: int) -> None:
    kind = {"Content-Type": "application/json"}
    with kept_alive(case.api.url) as connection:
        for number in range(times):
            connection.request(*case.asked, bodies[number % len(bodies)], kind)
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
