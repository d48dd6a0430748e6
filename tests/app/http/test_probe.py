"""The health check of the API's image, against a real API."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from app.contracts.recommendations import Namespace
from tests.generations import publish_by_hand
from tests.servers import SERVERS, Gunicorn, Server, environment, free_port, wait_until

SPACE = Namespace("probe")


@pytest.fixture(scope="module", autouse=True)
def published(server: Server) -> None:
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SPACE)


@pytest.fixture(scope="module")
def api(server: Server, published: None) -> Iterator[Gunicorn]:
    with Gunicorn("app.http.wsgi:app", cache_url=server.url, namespace=SPACE.name) as started:
        yield started


def asked(bind: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app.http.probe"],
        env=environment({"LARDER_BIND": bind, "LARDER_AUTH": "proxy"}),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_an_api_with_lists_is_healthy(api: Gunicorn, address: str) -> None:
    done = asked(f"{address}:{api.url.rpartition(':')[2]}")
    assert done.returncode == 0, done.stdout
    assert '"status":"ready"' in done.stdout


@pytest.mark.parametrize("kind", SERVERS)
def test_an_api_on_a_unix_socket_is_asked_there_and_ends_in_order(
    server: Server, tmp_path: Path, kind: str
) -> None:
    bind = f"unix:{tmp_path / 'api.sock'}"
    settings = {
        "LARDER_BIND": bind,
        "LARDER_CACHE_URL": server.url,
        "LARDER_NAMESPACE": SPACE.name,
        "LARDER_SERVER": kind,
    }
    command = [sys.executable, "-m", "app.http.serve"]
    log = tmp_path / "log"
    with (
        log.open("wb") as said,
        subprocess.Popen(command, env=environment(settings), stderr=said) as process,
    ):
        try:
            wait_until(lambda: asked(bind).returncode == 0)
        finally:
            process.terminate()
    assert process.returncode == 0
    assert "Traceback" not in log.read_text() and "refused to" not in log.read_text()


def test_an_api_without_lists_is_not_healthy(server: Server) -> None:
    with Gunicorn("app.http.wsgi:app", cache_url=server.url, namespace="probe-empty") as empty:
        done = asked(empty.url.removeprefix("http://"))
    assert done.returncode == 1
    assert "holds no generation" in done.stdout


def test_an_api_that_hangs_is_not_healthy(api: Gunicorn) -> None:
    assert api._process is not None
    master = psutil.Process(api._process.pid)
    master.suspend()
    try:
        wait_until(lambda: master.status() == psutil.STATUS_STOPPED)  # it starts no more workers
        for worker in master.children():
            worker.suspend()
        done = asked(api.url.removeprefix("http://"))
    finally:
        for each in [master, *master.children()]:
            each.resume()
    assert done.returncode == 1
    assert "timed out" in done.stdout


def test_a_port_where_nothing_listens_is_not_healthy() -> None:
    done = asked(f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "does not answer" in done.stdout
