"""How near the API is to what gunicorn and Flask cost anyway: ``make bench-serving``.

The cases run in turn, round after round, under the shipped gunicorn configuration on the same
cores as ``wrk``, which asks over loopback; every figure is the median of the rounds.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from batch.command.output.table import table
from batch.datasets.movielens import SMALL
from tests.app.wire import get
from tests.bench.clicker import bodies, publish_clicker
from tests.bench.shop import RULES, SHARES, USERS, publish_shop
from tests.servers import Api, Gunicorn, Server, run, wait_until

WORKERS = 2
BATCH = 100
CANDIDATES, EXPLAINED = (1, 10, 100), 10
TRIES = 5
BURSTS = (4, 16, 64)
BURST_TRIES = 20
SLACK = 0.85
WARM = "user, warm (near cache)"
FLASK = "Flask, constant"
BURST_HEAD = ["at once", "best/s", "median/s", "worst/s", "rate", "spread", "least share"]


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what is asked, of whom, and what answer shows that it is what it seems.

    bodies: sent in turn; none for GET.
    """

    name: str
    server: Gunicorn
    paths: Sequence[str]
    headers: Mapping[str, str]
    bodies: Sequence[str] = ()
    users: int = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """What wrk saw."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_us: float
    least_share: float
    """Of the processor time of all workers, that of the one which had least to do."""


def main() -> None:
    """Print requests/s, latencies and ratios, and where the time of a request goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each case in each round")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--clicks", action="store_true", help="click models in place of lists")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("bench-serving needs wrk: apt-get install wrk (Debian, Ubuntu), then run it again")
    stack = _click_stack() if arguments.clicks else _stack()
    with stack as (cases, cache), tempfile.TemporaryDirectory() as folder:
        seen: dict[str, list[Measured]] = {case.name: [] for case in cases}
        for number in range(arguments.rounds + 1):
            for case in cases:
                measured = shared(case, arguments.connections, arguments.seconds, Path(folder))
                if number:  # the first round warms up
                    seen[case.name].append(measured)
        _print(cases, seen)
        if arguments.clicks:
            return
        warm = next(case for case in cases if case.name == WARM)
        print(table(BURST_HEAD, [_bursts(warm, size, Path(folder)) for size in BURSTS]))
        print("(rate: tries within 15 % of the best, whatever else the machine did; spread: tries")
        print("whose connections were spread over the workers so evenly that they can be)")
        print(f"one round trip to the cache by the client, alone: {_round_trip_us(cache):.0f} us")


@contextmanager
def _stack() -> Iterator[tuple[list[Case], Server]]:
    """The servers of all cases, idle but for the one that is asked."""
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        ratings = [str(SMALL / "ratings.csv"), "--items", str(SMALL / "movies.csv")]
        done = run("refresh", *ratings, "--preset", "ml-latest", "--cache-url", server.url)
        if done.returncode:
            sys.exit(f"the refresh failed: {done.stderr}")
        quiet = {"log_level": "error", "workers": str(WORKERS)}
        settings = {"user_sample": "true", **quiet}
        warm = stack.enter_context(Api(server.url, "default", **settings))
        cold = stack.enter_context(Api(server.url, "default", near_cache_users="0", **settings))
        bare = stack.enter_context(Gunicorn("tests.bench.floors:bare", **quiet))
        flask = stack.enter_context(Gunicorn("tests.bench.floors:constant", **quiet))
        api = {"cache_url": server.url, "namespace": "default", **settings}
        route = stack.enter_context(Gunicorn("tests.bench.floors:without_direct()", **api))
        sync = stack.enter_context(Gunicorn("-k sync app.http.wsgi:app", **api))
        gevent = stack.enter_context(Gunicorn("-k gevent app.http.wsgi:app", **api))
        counting = stack.enter_context(Gunicorn("app.http.wsgi:app", metrics="true", **api))
        keyed = stack.enter_context(Gunicorn("app.http.wsgi:app", auth="on", rate="1000000", **api))
        others = {
            "with metrics": counting,
            "Flask route": route,
            "sync worker": sync,
            "gevent worker": gevent,
        }
        fast = {"server": "granian", **settings}
        fast_warm = stack.enter_context(Api(server.url, "default", **fast))
        fast_cold = stack.enter_context(Api(server.url, "default", near_cache_users="0", **fast))
        _until_ready(warm, cold, fast_warm, fast_cold, keyed, *others.values())
        cases = _cases(bare, flask, warm, cold, others)
        asked = cases[2].paths
        key = {"X-API-Key": _key(server)}
        cases.append(Case("user, warm, a key that nobody reads", warm, asked, key))
        cases.append(Case("user, warm, with keys", keyed, asked, key))
        cases.append(Case("user, warm, granian", fast_warm, asked, {}))
        cases.append(Case("user, cold, granian", fast_cold, asked, {}))
        cases += _shop_cases(stack, server, quiet)
        yield cases, server


def _shop_cases(stack: ExitStack, server: Server, quiet: Mapping[str, str]) -> list[Case]:
    """Filters and rules, over 100,000 items; who is near gets a filter without a round trip."""
    with redis.Redis.from_url(server.url) as client:
        for name in RULES:
            publish_shop(client, name)
    near = stack.enter_context(Api(server.url, "shop", **quiet))
    far = {
        name: stack.enter_context(Api(server.url, name, near_cache_users="0", **quiet))
        for name in RULES
    }
    _until_ready(near, *far.values())
    paths = [f"/recommendations/u{number}" for number in range(USERS)]
    return [
        *(
            Case(
                f"filter, {share} % of 100,000",
                near,
                [f"{path}?filter=share:..{share}" for path in paths],
                {},
            )
            for share in SHARES
        ),
        *(Case(f"user, cold, {name}", api, paths, {}) for name, api in far.items()),
    ]


def _until_ready(*servers: Gunicorn) -> None:
    wait_until(lambda: all(get(each.url, "/health/ready").status == 200 for each in servers))


@contextmanager
def _click_stack() -> Iterator[tuple[list[Case], Server]]:
    """Candidates of 39 columns, scored by 300 trees, beside Flask; each request has other ones."""
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        with redis.Redis.from_url(server.url) as client:
            publish_clicker(client, "clicker")
        quiet = {"log_level": "error", "workers": str(WORKERS)}
        flask = stack.enter_context(Gunicorn("tests.bench.floors:constant", **quiet))
        settings = {"clicks": "only", **quiet}
        api = stack.enter_context(Api(server.url, "clicker", **settings))
        fast = stack.enter_context(Api(server.url, "clicker", server="granian", **settings))
        _until_ready(api, fast)
        kind, paths = {"Content-Type": "application/json"}, ["/rank/click"]
        asked = {f"{count}": bodies(count) for count in CANDIDATES}
        asked[f"{EXPLAINED}, explained"] = bodies(EXPLAINED, explain=True)
        rows = [Case(f"rank {name}", api, paths, kind, each) for name, each in asked.items()]
        ten = f"{EXPLAINED}"
        rows.append(Case(f"rank {ten}, granian", fast, paths, kind, asked[ten]))
        yield [Case(FLASK, flask, ["/recommendations/u1"], {}), *rows], server


def _key(server: Server) -> str:
    """A key that lists may be asked for with."""
    done = run("key", "add", "--scope", "read", "--cache-url", server.url)
    if done.returncode:
        sys.exit(f"there is no key: {done.stderr}")
    return done.stdout.strip()


def _cases(
    bare: Gunicorn, flask: Gunicorn, warm: Api, cold: Api, others: Mapping[str, Gunicorn]
) -> list[Case]:
    with urllib.request.urlopen(f"{warm.url}/users/sample") as response:
        users: list[str] = json.load(response)["users"]
    with urllib.request.urlopen(f"{warm.url}/generation") as response:
        etag: str = response.headers["ETag"]
    paths = [f"/recommendations/{user}" for user in users]
    strangers = [f"/recommendations/stranger-{number}" for number in range(1000)]
    batch = json.dumps({"users": users[:BATCH]})
    kind = {"Content-Type": "application/json"}
    return [
        Case("bare WSGI, constant", bare, paths, {}),
        Case(FLASK, flask, paths, {}),
        Case(WARM, warm, paths, {}),
        Case("user, cold (one round trip)", cold, paths, {}),
        Case("user, 304", warm, paths, {"If-None-Match": etag}),
        Case("stranger", warm, strangers, {}),
        Case(f"batch of {BATCH}, warm", warm, ["/recommendations"], kind, [batch], BATCH),
        Case(f"batch of {BATCH}, cold", cold, ["/recommendations"], kind, [batch], BATCH),
        *(Case(f"user, warm, {name}", server, paths, {}) for name, server in others.items()),
    ]


def shared(case: Case, connections: int, seconds: int, folder: Path) -> Measured:
    """What wrk sees when no worker has taken all of its connections, as those of others may."""
    for _ in range(TRIES):
        measured = _wrk(case, connections, seconds, folder)
        if measured.least_share > 0.2:
            break
    return measured


def _wrk(case: Case, connections: int, seconds: int, folder: Path) -> Measured:
    script = folder / "case.lua"
    headers = "".join(f"headers[{name!r}] = {value!r}\n" for name, value in case.headers.items())
    paths = ",".join(json.dumps(path) for path in case.paths)
    sent, method = ",".join(map(json.dumps, case.bodies)), "POST" if case.bodies else "GET"
    script.write_text(
        f"local paths = {{{paths}}}\nlocal headers = {{}}\n{headers}local at = 0\n"
        f"local bodies = {{{sent}}}\n"
        "function request()\n  at = at + 1\n"
        "  local path, body = paths[at % #paths + 1], bodies[at % #bodies + 1]\n"
        f"  return wrk.format({method!r}, path, headers, body)\nend\n"
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    before = case.server.cpu_seconds()
    done = subprocess.run(
        [*command, "-s", str(script), case.server.url], capture_output=True, text=True, check=True
    )
    after = case.server.cpu_seconds()
    return _read(done.stdout, [now - then for now, then in zip(after, before, strict=True)])


def _bursts(case: Case, connections: int, folder: Path) -> list[str]:
    """One row: wrk opens its connections in one burst, again and again."""
    tries = [_wrk(case, connections, 1, folder) for _ in range(BURST_TRIES)]
    rates = sorted(each.requests_per_second for each in tries)
    good = sum(rate >= SLACK * rates[-1] for rate in rates)
    shares = [each.least_share for each in tries]
    # While the busier of two workers is busy all the time, the other adds its share of that.
    even = sum(1 / WORKERS / (1 - share) >= SLACK for share in shares)
    figures = (f"{rates[-1]:,.0f}", f"{rates[len(rates) // 2]:,.0f}", f"{rates[0]:,.0f}")
    of = f"of {BURST_TRIES}"
    return [f"{connections}", *figures, f"{good} {of}", f"{even} {of}", f"{min(shares):.2f}"]


def _read(text: str, busy: Sequence[float]) -> Measured:
    def figure(pattern: str) -> str:
        found = re.search(pattern, text)
        return found.group(1) if found else "0"

    refused = int(figure(r"Non-2xx or 3xx responses: (\d+)"))
    broken = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    return Measured(
        float(figure(r"Requests/sec:\s+([\d.]+)")),
        _milliseconds(figure(r"50%\s+([\d.]+\w+)")),
        _milliseconds(figure(r"99%\s+([\d.]+\w+)")),
        refused + broken,
        sum(busy) * 1e6 / max(int(figure(r"(\d+) requests in")), 1),
        min(busy) / max(sum(busy), 1e-9),
    )


def _milliseconds(text: str) -> float:
    number = text.rstrip("mus")
    factors = {"us": 0.001, "ms": 1.0, "s": 1000.0, "": 1.0}
    return float(number) * factors[text[len(number) :]]


def _print(cases: Sequence[Case], seen: Mapping[str, Sequence[Measured]]) -> None:
    def median(name: str, figure: str) -> float:
        return float(statistics.median(getattr(each, figure) for each in seen[name]))

    flask = median(FLASK, "requests_per_second")
    single = median(WARM, "requests_per_second") if WARM in seen else 0.0
    rows = []
    for case in cases:
        rate = median(case.name, "requests_per_second")
        share = f"{rate / flask:.2f}" if case.users == 1 else f"{rate * case.users / single:.0f}x"
        rows.append(
            [
                case.name,
                f"{rate:,.0f}",
                f"{rate * case.users:,.0f}",
                share,
                f"{median(case.name, 'cpu_us'):,.0f}",
                f"{median(case.name, 'p50_ms'):.1f}",
                f"{median(case.name, 'p99_ms'):.1f}",
                f"{sum(each.failed for each in seen[case.name])}",
            ]
        )
    head = ["", "requests/s", "users/s", "of Flask", "CPU us", "p50 ms", "p99 ms", "errors"]
    print(table(head, rows))
    print("(a batch's share is its users/s over those of warm single requests; CPU us is the")
    print("processor time of the API for one request, without load generator and cache)")


def _round_trip_us(server: Server) -> float:
    with redis.Redis.from_url(server.url) as client:
        client.hset("bench", "user", b"x" * 60)
        started = time.perf_counter()
        for _ in range(5000):
            client.hget("bench", "user")
        return (time.perf_counter() - started) / 5000 * 1e6


if __name__ == "__main__":
    main()
