"""Rank and reward: how many pairs a second, and what each costs: ``make bench-pairs``.

Ten actions and a context of 20 features each, as the load test asks them, by ``wrk`` over loopback,
on the cores that two workers, the cache and the trainer share with it. A model is live. At last 16
connections offer a fixed rate, whatever the answers take.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from statistics import quantiles
from urllib.parse import urlsplit

from batch.command.output.table import table
from loadtest.api import Api as Asking
from loadtest.load.decisions import BASE, chosen, put_settings, questions
from tests.bench.serving import FLASK, WORKERS, Case, shared
from tests.servers import Api, Gunicorn, Server, environment, wait_until

PAIRS, TAUGHT = 2_000, 1_000
CONNECTIONS = (1, 4, 16)
OFFERED = 700
"""Pairs a second."""
SEEN = ("requests/s", "p50 ms", "p99 ms")
JSON = {"Content-Type": "application/json"}


def main() -> None:
    """Print a row for each case and number of connections."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each row")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("bench-pairs needs wrk: apt-get install wrk (Debian, Ubuntu), then try again")
    rows = []
    with _stack() as cases, tempfile.TemporaryDirectory() as folder:
        for case in cases:
            for connections in CONNECTIONS:
                seen = shared(case, connections, arguments.seconds, Path(folder))
                rate = f"{seen.requests_per_second:,.0f}"
                times = [f"{each:.1f}" for each in (seen.p50_ms, seen.p99_ms)]
                rows.append(
                    [case.name, f"{connections}", rate, *times, f"{seen.cpu_us:,.0f}"]
                    + [f"{seen.failed}"]
                )
        print(table(["", "connections", *SEEN, "CPU us", "errors"], rows))
        print("(CPU us is the processor time of the API for one request; a pair is two requests)")
        print(f"\n{OFFERED} pairs a second are offered, by {CONNECTIONS[-1]} connections:")
        print(table(["", *SEEN], _offered(cases[-1], arguments.seconds)))


def _offered(case: Case, seconds: int) -> list[list[str]]:
    """Rows of rank and reward: each due at its time, and behind the one before on its line."""
    lines = CONNECTIONS[-1]
    asked = [_request(*each) for each in zip(case.paths, case.bodies, strict=True)]
    share = len(asked) // lines // 2 * 2
    start, step = time.monotonic() + 0.5, lines / OFFERED / 2

    async def play() -> list[list[float]]:
        """Milliseconds of each request of each line."""
        host = urlsplit(case.server.url).netloc
        plays = [
            _line(
                host, asked[each * share :][:share], start + 2 * each * step / lines, step, seconds
            )
            for each in range(lines)
        ]
        return await asyncio.gather(*plays)

    took = asyncio.run(play())
    rows = []
    for name, first in (("rank", 0), ("reward", 1)):
        all_of = [each for line in took for each in line[first::2]]
        percents = quantiles(all_of, n=100)
        figures = [f"{len(all_of) / seconds:,.0f}", f"{percents[49]:.1f}", f"{percents[98]:.1f}"]
        rows.append([name, *figures])
    return rows


def _request(path: str, body: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: api\r\nContent-Length: {len(body.encode())}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n{body}".encode()


async def _line(
    host: str, asked: list[bytes], due: float, step: float, seconds: int
) -> list[float]:
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    took = []
    for number in range(round(seconds / step)):
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        writer.write(asked[number % len(asked)])
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status, length = head.split(b" ", 2)[1], head.partition(b"content-length: ")[2]
        assert status in (b"201", b"204"), head
        if length:
            await reader.readexactly(int(length.split(b"\r\n")[0]))
        took.append(1000 * (time.monotonic() - due))
        due += step
    writer.close()
    return took


@contextmanager
def _stack() -> Iterator[list[Case]]:
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        logs = stack.enter_context(tempfile.TemporaryDirectory())
        quiet = {"log_level": "error", "workers": str(WORKERS)}
        flask = stack.enter_context(Gunicorn("tests.bench.floors:constant", **quiet))
        api = stack.enter_context(Api(server.url, "default", decisions="only", **quiet))
        stack.enter_context(_trainer(server.url, logs))
        wait_until(lambda: Asking(api.url).get("/health/ready")[0] == 200)
        _teach(api.url)
        yield _cases(flask, api)


@contextmanager
def _trainer(url: str, logs: str) -> Iterator[None]:
    command = [sys.executable, "-m", "batch", "decisions", "train", logs, "--follow"]
    process = subprocess.Popen(command, env=environment({"LARDER_CACHE_URL": url}))
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _teach(url: str) -> None:
    """Wait until a model is live that has learned something."""
    asking, chance = Asking(url), Random(1)
    put_settings(asking)
    for _ in range(TAUGHT):
        asked = chance.choice(questions())
        request = urllib.request.Request(f"{url}{BASE}/rank", asked.body, JSON)
        with urllib.request.urlopen(request) as answer:
            event, action = chosen(answer.read())
        if (value := asked.reward(action, chance)) is not None:
            asking.send("POST", f"{BASE}/events/{event}/reward", {"value": value})
    wait_until(lambda: b'"0001-' not in asking.get(f"{BASE}/model/properties")[1])


def _cases(flask: Gunicorn, api: Api) -> list[Case]:
    asked = [each.body.decode() for each in questions()]
    rank, reward = f"{BASE}/rank", json.dumps({"value": 1})
    paths, bodies = [], []
    for number in range(PAIRS):
        event = f"event-{number}"
        bodies += [f'{{"eventId":"{event}",{asked[number % len(asked)][1:]}', reward]
        paths += [rank, f"{BASE}/events/{event}/reward"]
    return [
        Case(FLASK, flask, ["/recommendations/u1"], {}),
        Case("rank", api, [rank], JSON, asked),
        Case("reward", api, paths[1::2], JSON, [reward]),
        Case("rank and reward", api, paths, JSON, bodies),
    ]


if __name__ == "__main__":
    main()
