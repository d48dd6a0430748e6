"""What Prometheus is told is so: over workers that die, and when the cache or a disk fails."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from app.api.routes import ROUTES, route_of
from app.contracts.decisions import Decisions
from app.contracts.events import Streams, ms_of
from app.contracts.recommendations import Namespace
from app.http.factory import create_app
from app.http.metrics import METHODS
from app.recommendations.watcher import Watcher
from app.settings import Settings
from batch.events.export import export
from batch.generations.registry import Generations
from tests.app.wire import get, send
from tests.decisions import body as decision
from tests.generations import publish_by_hand
from tests.servers import SERVERS, Api, Server, environment, wait_until

EVERY_ROUTE = {*ROUTES.values(), "recommendations", "decide", "similar", "user", "other"}
SPACE = Namespace("metrics")


@pytest.fixture(scope="module", params=SERVERS)
def counting(server: Server, request: pytest.FixtureRequest) -> Iterator[Api]:
    """An API with two workers, for the tests that only ask."""
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SPACE)
    with Api(server.url, SPACE.name, metrics="true", server=request.param) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        yield api


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def master(api: Api) -> psutil.Process:
    assert api._process is not None
    return psutil.Process(api._process.pid)


def workers(api: Api) -> list[psutil.Process]:
    wait_until(lambda: len(master(api).children()) == 2)
    return master(api).children()


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def wait_until_each(api: Api, true: Callable[[], bool]) -> None:
    """Return when it is true of whatever worker is asked."""
    for other in workers(api):
        with frozen(other):
            wait_until(true)


def wait_until_started(api: Api) -> None:
    """A worker that is told to end before it has loaded the application takes its time."""
    wait_until_each(api, lambda: get(api.url, "/health/live").status == 200)


def ready(api: Api) -> Any:
    return get(api.url, "/health/ready").json()


def folder(api: Api) -> Path:
    """Where the workers count: the master holds it open."""
    opened = [os.readlink(each) for each in Path(f"/proc/{master(api).pid}/fd").iterdir()]
    (found,) = [each for each in opened if "/larder-workers-" in each]
    return Path(found)


def told(api: Api, name: str, **labels: str) -> float:
    """The sum of the samples of that name that carry the labels."""
    families = plain_text(get(api.url, "/metrics").body.decode())
    samples = [each for family in families for each in family.samples if each.name == name]
    return sum(each.value for each in samples if labels.items() <= each.labels.items())


def counted(api: Api, **labels: str) -> float:
    return told(api, "larder_requests_total", **labels)


def gained(api: Api, ask: Callable[[], Any], **labels: str) -> float:
    before = counted(api, **labels)
    ask()
    return counted(api, **labels) - before


@pytest.mark.parametrize("counting", ["gunicorn"], indirect=True)
def test_counts_of_all_workers_add_up(counting: Api) -> None:
    one, other = workers(counting)
    before = counted(counting)
    for turn, idle in enumerate((one, other, one, other), start=1):
        with frozen(idle):  # so that the other one answers
            for _ in range(5):
                get(counting.url, "/recommendations/u1")
            assert counted(counting) == before + 5 * turn


@pytest.mark.parametrize("counting", ["granian"], indirect=True)
def test_counts_add_up_where_the_kernel_shares_out_connections(counting: Api) -> None:
    """A worker of granian has a queue of its own, so none can be frozen while it is asked."""
    before = counted(counting)
    for asked in range(1, 41):
        get(counting.url, "/recommendations/u1")
        assert counted(counting) == before + asked
    used = [each.read_bytes()[:4] for each in folder(counting).glob("counter_*.db")]
    assert len(used) == 2 and all(int.from_bytes(each, "little") > 8 for each in used)


def test_counts_survive_workers_that_are_killed_and_replaced(server: Server) -> None:
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SPACE)
    with Api(server.url, SPACE.name, metrics="true") as api:
        for round_ in (1, 2, 3):
            dying, idle = workers(api)
            with frozen(idle):
                get(api.url, "/recommendations/u1")
                dying.kill()
                wait_until(lambda dying=dying: not dying.is_running())  # type: ignore[misc]
                get(api.url, "/recommendations/u1")  # its successor's first
            assert counted(api, route="recommendations") == 2 * round_
        assert len(list(folder(api).glob("*.db"))) == 6, "files of the dead pile up"
        old = workers(api)
        master(api).send_signal(signal.SIGHUP)
        wait_until(lambda: not any(each.is_running() for each in old))
        get(api.url, "/recommendations/u1")
        assert counted(api, route="recommendations") == 7
        wait_until_started(api)


def test_every_endpoint_has_a_route_of_its_own() -> None:
    app = create_app(Settings(), Watcher(Settings()))
    rules = {rule.rule for rule in app.url_map.iter_rules()} - {"/metrics"}
    for rule in rules:
        assert route_of(rule) in EVERY_ROUTE - {"other"}, rule
    assert {route_of(rule) for rule in rules} == EVERY_ROUTE - {"other"}


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/recommendations/u1", "recommendations", "200"),
        ("GET", "/recommendations/u1?n=0", "recommendations", "400"),
        ("HEAD", "/recommendations/u1", "recommendations", "200"),
        ("POST", "/recommendations", "recommendations_batch", "415"),
        ("GET", "/recommendations", "recommendations_batch", "404"),
        ("GET", "/items/a/b/similar", "similar", "404"),
        ("GET", "/users/sample", "sample", "404"),
        ("DELETE", "/users/u1", "user", "403"),
        ("GET", "/generation", "generation", "200"),
        ("GET", "/health/ready", "health", "200"),
        ("GET", "/nowhere", "other", "404"),
        ("OPTIONS", "/generation", "generation", "200"),
    ],
)
def test_each_request_is_counted_as_what_it_was(
    counting: Api, method: str, path: str, route: str, status: str
) -> None:
    def ask() -> None:
        assert send(counting.url, method, path).status == int(status)

    assert gained(counting, ask, route=route, method=method, status=status) == 1
    assert gained(counting, ask) == 1
    times = "larder_request_duration_seconds"
    assert told(counting, f"{times}_count", route=route) == counted(counting, route=route)
    assert told(counting, f"{times}_bucket", route=route, le="+Inf") == counted(
        counting, route=route
    )
    assert 0 < told(counting, f"{times}_sum", route=route) < 60


def test_nothing_that_a_client_sends_becomes_a_label(counting: Api) -> None:
    for method in ("SECRET", "PUT", "PATCH", "get"):
        for path in ("/recommendations/SECRET", "/SECRET", "/items/SECRET/similar", "/health/live"):
            send(counting.url, method, path, headers={"SECRET": "SECRET"})
    text = get(counting.url, "/metrics", SECRET="SECRET").body.decode()
    assert "SECRET" not in text
    labels = [each.labels for family in plain_text(text) for each in family.samples]
    assert {each["method"] for each in labels if "method" in each} <= {*METHODS, "other"}
    assert {each["route"] for each in labels if "route" in each} <= EVERY_ROUTE
    assert counted(counting, method="other", status="405") >= 8


def test_the_page_itself_is_not_counted(counting: Api) -> None:
    assert gained(counting, lambda: get(counting.url, "/metrics")) == 0
    assert gained(counting, lambda: send(counting.url, "POST", "/metrics")) == 0
    assert send(counting.url, "POST", "/metrics").status == 405


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=banana", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_the_page_has_the_format_that_is_asked_for(
    counting: Api, accept: str, content_type: str
) -> None:
    get(counting.url, "/recommendations/u1")
    answer = get(counting.url, "/metrics", Accept=accept)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(content_type)
    parse = open_metrics if "openmetrics" in content_type else plain_text
    names = {each.name for family in parse(answer.body.decode()) for each in family.samples}
    assert names == {
        "larder_requests_total",
        "larder_request_duration_seconds_bucket",
        "larder_request_duration_seconds_count",
        "larder_request_duration_seconds_sum",
        "larder_degraded_answers_total",
        "larder_cache_reachable",
        "larder_generation_created_timestamp_seconds",
        "larder_build_info",
    }


def test_the_release_is_told(counting: Api) -> None:
    text = get(counting.url, "/metrics").body.decode()
    assert 'larder_build_info{version="0.1.0"} 1.0' in text


def test_the_gauges_tell_what_the_worst_worker_sees(own_server: Server) -> None:
    def publish(number: int) -> float:
        """Publish, and return a time until which it was, and the next one was not."""
        with redis.Redis.from_url(own_server.url) as client:
            publish_by_hand(client, SPACE, f"20260101T00000{number}Z-0001")
        published = int(time.time())
        wait_until(lambda: time.time() >= published + 1)  # it counts whole seconds
        return published

    def created() -> float:
        return told(api, "larder_generation_created_timestamp_seconds")

    def reachable() -> float:
        return told(api, "larder_cache_reachable")

    with Api(own_server.url, SPACE.name, metrics="true") as api:
        wait_until(lambda: reachable() == 1)
        assert created() == 0
        one, _ = workers(api)
        before = int(time.time())
        first = publish(1)
        wait_until(lambda: before <= created() <= first)
        with frozen(one):
            second = publish(2)
            wait_until(lambda: ready(api)["generation"] == "20260101T000002Z-0001")
            assert before <= created() <= first, "the frozen worker still serves the first"
        wait_until(lambda: first < created() <= second)
        own_server.kill()
        wait_until_each(api, lambda: bool(ready(api)["degraded"]))
        assert reachable() == 0
        assert first < created() <= second
        with frozen(one):
            own_server.start()
            publish(3)
            wait_until(lambda: not ready(api)["degraded"])
            assert reachable() == 0, "the frozen worker has not seen it yet"
        wait_until(lambda: reachable() == 1)
        wait_until(lambda: created() > second)


def test_a_dead_worker_says_nothing_of_the_present(own_server: Server) -> None:
    """Else workers that ended while the cache was away would keep the alarm on for good."""
    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, SPACE)
    with Api(own_server.url, SPACE.name, metrics="true") as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)  # says it of all workers
        own_server.kill()
        wait_until_each(api, lambda: bool(ready(api)["degraded"]))
        old = workers(api)
        master(api).send_signal(signal.SIGHUP)
        wait_until(lambda: not any(each.is_running() for each in old))
        assert told(api, "larder_cache_reachable") == 0
        own_server.start()
        with redis.Redis.from_url(own_server.url) as client:
            publish_by_hand(client, SPACE)
        wait_until(lambda: told(api, "larder_cache_reachable") == 1)
        wait_until(lambda: get(api.url, "/health/ready").status == 200)  # says it of all workers


def break_records(client: Any, *users: str) -> None:
    (manifest,) = Generations(client, SPACE).all()
    for user in users:
        key, name = manifest.user_place(SPACE, user)
        client.hset(key, name, b"secret!")


def test_degraded_answers_are_counted(own_server: Server) -> None:
    def degraded() -> float:
        return told(api, "larder_degraded_answers_total")

    with redis.Redis.from_url(own_server.url) as client:
        publish_by_hand(client, SPACE)
    with Api(own_server.url, SPACE.name, metrics="true", workers="1") as api:
        answer = get(api.url, "/recommendations/u1")
        assert degraded() == 0
        with redis.Redis.from_url(own_server.url) as client:
            break_records(client, "u5", "u6")
        body = '{"users":["u1","u5","u6"]}'
        send(api.url, "POST", "/recommendations", body, {"Content-Type": "application/json"})
        assert degraded() == 1
        own_server.kill()
        wait_until(lambda: told(api, "larder_cache_reachable") == 0)
        before = degraded()
        assert get(api.url, "/recommendations/u2").json()["degraded"]
        assert degraded() == before + 1
        assert get(api.url, "/recommendations/u2?n=1").json()["degraded"]
        body = '{"users":["u3","u4"]}'
        send(api.url, "POST", "/recommendations", body, {"Content-Type": "application/json"})
        assert degraded() == before + 3
        etag = {"If-None-Match": answer.headers["ETag"]}
        assert get(api.url, "/recommendations/u1", **etag).status == 304
        get(api.url, "/health/ready")
        assert degraded() == before + 3


def test_the_stream_of_events_is_told_as_it_is_now(own_server: Server, tmp_path: Path) -> None:
    def events() -> dict[str, float]:
        families = plain_text(get(api.url, "/metrics").body.decode())
        return {each.name: each.samples[0].value for each in families if "_events_" in each.name}

    def click() -> float:
        body = '{"type":"click","user":"u1","item":"i1"}'
        kind = {"Content-Type": "application/json"}
        assert send(api.url, "POST", "/events", body, kind).status == 202
        with redis.Redis.from_url(own_server.url) as client:
            ((stream_id, _),) = client.xrevrange(Streams(SPACE.name).events, count=1)
        return ms_of(stream_id.decode()) / 1000

    def export_all() -> None:
        with redis.Redis.from_url(own_server.url) as client:
            export(client, SPACE.name, tmp_path)

    stored, waiting = "larder_events_stored", "larder_events_waiting_since_timestamp_seconds"
    bound = {"larder_events_max": 1000.0}
    with Api(own_server.url, SPACE.name, metrics="true", events="true", events_max="1000") as api:
        wait_until_started(api)
        assert events() == {stored: 0, **bound}
        first = click()
        click()
        assert events() == {stored: 2, **bound, waiting: first}
        export_all()
        assert events() == {stored: 2, **bound}, "those of the last minute are not trimmed"
        third = click()
        assert events() == {stored: 3, **bound, waiting: third}
        own_server.kill()
        assert events() == {}


def test_decisions_are_told_with_their_log_and_their_trainer(own_server: Server) -> None:
    def decided() -> dict[str, float]:
        families = plain_text(get(api.url, "/metrics").body.decode())
        found = [each for family in families for each in family.samples]
        return {
            each.name.removeprefix("larder_").removeprefix("decisions_"): each.value
            for each in found
            if "decisions" in each.name or "rewards" in each.name
        }

    told = {"at": 1_700_000_000.5, "learned": 7, "pending": 3}
    settings = {"decisions": "only", "metrics": "true", "events_max": "1000", "workers": "1"}
    with Api(own_server.url, SPACE.name, **settings) as api:
        wait_until(lambda: get(api.url, "/ready").status == 200)
        wait_until(lambda: "model_created_timestamp_seconds" in decided())
        nothing = {"trainer_timestamp_seconds": 0.0, "learned": 0.0, "pending": 0.0}
        empty = {"log_entries": 0.0, "log_max": 1000.0, "model_created_timestamp_seconds": 0.0}
        assert decided() == {**nothing, **empty}
        base = "/personalizer/v1.0"
        assert send(api.url, "POST", f"{base}/rank", decision()).status == 201
        assert send(api.url, "POST", f"{base}/events/e/reward", b'{"value": 1}').status == 204
        with redis.Redis.from_url(own_server.url) as client:
            client.hset(Decisions(SPACE.name).desk, "trainer", json.dumps(told))
        found = decided()
        assert (found["total"], found["rewards_total"], found["log_entries"]) == (1, 1, 2)
        assert (found["trainer_timestamp_seconds"], found["learned"]) == (told["at"], 7)
        assert cache_is_there(api)
        own_server.kill()
        wait_until(lambda: not cache_is_there(api))
        assert decided().keys() == {"total", "rewards_total", "model_created_timestamp_seconds"}


def cache_is_there(api: Api) -> bool:
    return told(api, "larder_cache_reachable") == 1


def test_off_the_page_is_like_any_unknown_path_but_names_its_setting(server: Server) -> None:
    with Api(server.url, SPACE.name) as api:
        wait_until_started(api)
        for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS"):
            page, unknown = (send(api.url, method, path) for path in ("/metrics", "/nowhere"))
            assert page.status == unknown.status == 404
            assert page.headers.get("Allow") == unknown.headers.get("Allow")
        assert b"set LARDER_METRICS=true" in get(api.url, "/metrics").body


def test_off_nothing_of_it_is_loaded() -> None:
    program = (
        "import sys, app.http.gunicorn_conf\n"
        "from app.http.factory import create_app\n"
        "from app.recommendations.watcher import Watcher\n"
        "from app.settings import Settings\n"
        "app = create_app(Settings(), Watcher(Settings()))\n"
        "metrics = {'prometheus_client', 'app.http.metrics', 'app.http.metrics_files'}\n"
        "print(sorted(metrics & set(sys.modules)))"
    )
    assert _run(program) == "[]\n"


def test_the_folder_is_new_at_every_start_and_goes_at_the_end(server: Server) -> None:
    with Api(server.url, SPACE.name, metrics="true") as api:
        wait_until_started(api)
        mine = folder(api)
        assert str(mine).startswith("/dev/shm" if os.access("/dev/shm", os.W_OK) else "/")
        assert mine.stat().st_mode & 0o777 == 0o700
        with Api(server.url, SPACE.name, metrics="true") as other:
            assert mine.exists(), "a start took the folder of another that lives"
            everyone = [master(other), *workers(other)]
            left = folder(other)
            assert left != mine
            for each in everyone:
                each.kill()
            wait_until(lambda: all(ended(each) for each in everyone))
        assert left.exists()
        with Api(server.url, SPACE.name, metrics="true") as next_:
            assert not left.exists(), "what a killed one left piles up"
            wait_until_started(next_)
        get(api.url, "/nowhere")
        assert counted(api, route="other") == 1
    assert not mine.exists()


class WithoutSpace(Api):
    """An API that may write no file as large as its counters."""

    def __enter__(self) -> "WithoutSpace":
        program = (
            "import os, resource, sys\n"
            f"resource.setrlimit({resource.RLIMIT_FSIZE}, (100_000, 100_000))\n"
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        )
        self._command = ["-c", program, *self._command]
        super().__enter__()
        return self


def test_without_space_for_metrics_requests_are_answered(server: Server) -> None:
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SPACE)
    with WithoutSpace(server.url, SPACE.name, metrics="true") as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)  # or it freezes who loads
        wait_until_each(api, lambda: get(api.url, "/recommendations/u1").status == 200)
        assert get(api.url, "/metrics").status == 404
        assert list(folder(api).glob("counter_*.db")) == []


FULL = """
import pathlib, resource, sys
from app.api import routes
from app.http import metrics, metrics_files
from app.http.servers.workers import Worker
metrics_files.FILES = dict.fromkeys(metrics_files.FILES, 8192)
counts = metrics.of_this_worker(Worker.claim(pathlib.Path(sys.argv[1])))
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
counting = metrics.Counting(lambda environ, start: [b"answer"], counts)
for path in [*routes.ROUTES, "/recommendations/1", "/items/1/similar", "/nowhere"]:
    print(counting({"PATH_INFO": path, "REQUEST_METHOD": "GET"}, None))
"""


def test_a_failure_of_the_metrics_fails_no_request(tmp_path: Path) -> None:
    lines = _run("import sys; sys.stderr = sys.stdout" + FULL, str(tmp_path)).splitlines()
    assert lines.count("[b'answer']") == len(ROUTES) + 3
    assert "a request was not counted" in lines


ALL = """
import pathlib, sys
from app.api import routes
from app.http import metrics
from app.http.servers.workers import Worker
folder = pathlib.Path(sys.argv[1])
counts = metrics.of_this_worker(Worker(folder, 255, 0))
counts.looked(True, None)
counts.followed(None)
counts.scored(10, 1)
for path in [*routes.ROUTES, "/recommendations/1", "/items/1/similar", "/nowhere"]:
    for method in [*metrics.METHODS, "BREW"]:
        for status in (200, 204, 301, 304, 308, 400, 404, 405, 408, 413, 414, 415, 500, 503):
            counts.count(path, method, str(status), 0.001)
"""


def test_all_that_can_be_counted_fits_what_was_reserved(tmp_path: Path) -> None:
    """A file that grew on a full file system would end the process."""
    _run(ALL, str(tmp_path))
    from app.http.metrics_files import FILES

    sizes = {each.name: each.stat().st_size for each in tmp_path.iterdir()}
    assert sizes == {f"{kind}_255.db": size for kind, size in FILES.items()}
    used = {name: int.from_bytes((tmp_path / name).read_bytes()[:4], "little") for name in sizes}
    assert used["counter_255.db"] > 50_000, "nothing was counted"


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment(),
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
