"""Each server that ``LARDER_SERVER`` names: how it starts, what it survives, and how it ends."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
import pytest
import redis

import app
from app.contracts.recommendations import Namespace
from tests.app.wire import get, kept_alive, open_socket
from tests.generations import publish_by_hand
from tests.servers import SERVERS, Api, Server, environment, wait_until

SPACE = Namespace("servers")
CLIENTS = 8


@pytest.fixture(scope="module", autouse=True)
def published(server: Server) -> None:
    with redis.Redis.from_url(server.url) as client:
        publish_by_hand(client, SPACE)


def workers(api: Api) -> list[psutil.Process]:
    assert api._process is not None
    return psutil.Process(api._process.pid).children()


def is_ready(api: Api) -> bool:
    """Whether it is; a connection that was a killed worker's is reset."""
    with suppress(OSError, HTTPException):
        return get(api.url, "/health/ready").status == 200
    return False


def serve(**variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app.http.serve"],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("kind", SERVERS)
def test_a_wrong_setting_is_told_before_anything_starts(kind: str) -> None:
    done = serve(LARDER_SERVER=kind, LARDER_THREADS="0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: LARDER_THREADS must be 1 to 256, not 0\n"


def test_an_unknown_server_is_told() -> None:
    done = serve(LARDER_SERVER="apache")
    assert done.returncode == 2
    assert done.stderr == "error: LARDER_SERVER must be gunicorn or granian, not 'apache'\n"


@pytest.mark.parametrize(
    ("package", "setting", "sentence"),
    [
        ("granian", "LARDER_SERVER=granian", "granian is not installed: run"),
        ("lightgbm", "LARDER_CLICKS=on", "LARDER_CLICKS=on needs LightGBM: run"),
    ],
)
def test_without_a_package_the_command_that_installs_it_is_told(
    tmp_path: Path, package: str, setting: str, sentence: str
) -> None:
    """A finder that knows no such package stands in for an environment without it."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{package!r}] = None\n")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    name, _, value = setting.partition("=")
    done = serve(**{name: value, "PYTHONPATH": paths})
    assert done.returncode == 2
    extra = {"lightgbm": "clicks"}.get(package, package)
    assert done.stderr == f"error: {sentence} pip install '.[{extra}]' in Larder's folder\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the library has another name there")
def test_without_libgomp_what_installs_it_is_told(tmp_path: Path) -> None:
    """A file that is no library stands in for a system without it."""
    (tmp_path / "libgomp.so.1").write_text("nothing")
    done = serve(LARDER_CLICKS="only", LD_LIBRARY_PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: LARDER_CLICKS=only needs what LightGBM needs, and ")
    assert done.stderr.endswith("(Debian and Ubuntu: apt-get install libgomp1)\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", SERVERS)
def test_what_lies_in_the_working_folder_is_no_module_of_ours(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """There a user has notebooks, and modules of their own beside them."""
    for name in ("app", "redis", "secrets", "platform"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py was imported')")
    monkeypatch.setenv("PYTHONPATH", str(Path(app.__path__[0]).parent))
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with Api(server.url, SPACE.name, server=kind) as api:
        wait_until(lambda: is_ready(api))
        assert api.stop() == 0


@pytest.mark.parametrize("kind", SERVERS)
def test_a_port_that_is_taken_is_told_at_once_and_not_shared(server: Server, kind: str) -> None:
    done = serve(LARDER_SERVER=kind, LARDER_BIND=f"127.0.0.1:{server.port}")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: 127.0.0.1:{server.port} cannot be listened on (Address already in use): "
        "name another port with --bind or LARDER_BIND\n"
    )


def test_granian_does_not_warn_of_the_threads_that_we_chose(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    with Api(server.url, SPACE.name, server="granian", workers="1", threads="256") as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        assert api.stop() == 0
    said = capfd.readouterr().err
    assert "Starting granian" in said and "WARNING" not in said


@pytest.mark.parametrize("kind", ["granian"])
def test_a_worker_that_is_killed_is_replaced(server: Server, kind: str) -> None:
    with Api(server.url, SPACE.name, server=kind, metrics="true") as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        for _ in range(10):
            get(api.url, "/recommendations/u1")
        first, second = workers(api)
        first.kill()
        wait_until(
            lambda: len(workers(api)) == 2 and first.pid not in [w.pid for w in workers(api)]
        )
        wait_until(lambda: is_ready(api))
        assert second.is_running()
        page = get(api.url, "/metrics").body.decode()
        assert (
            'larder_requests_total{method="GET",route="recommendations",status="200"} 10.0' in page
        )
        assert api.stop() == 0


@pytest.mark.parametrize("kind", SERVERS)
def test_no_request_is_lost_when_the_api_is_told_to_end(server: Server, kind: str) -> None:
    """Each client goes on asking until its answer says that the connection will close."""

    def ask(connection: HTTPConnection) -> int:
        answered = 0
        while True:
            connection.request("GET", "/recommendations/u1")
            response = connection.getresponse()
            assert (response.status, len(response.read()) > 100) == (200, True)
            answered += 1
            if response.will_close:
                return answered

    with Api(server.url, SPACE.name, server=kind) as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        with ThreadPoolExecutor(CLIENTS) as pool, ExitStack() as stack:
            connections = [stack.enter_context(kept_alive(api.url)) for _ in range(CLIENTS)]
            asking = [pool.submit(ask, each) for each in connections]
            wait_until(lambda: all(each.sock for each in connections))
            assert api.stop() == 0
            assert all(each.result() > 0 for each in asking)


def test_the_workers_of_a_killed_server_end(server: Server) -> None:
    """Else they would go on answering on a port that the next server shares."""
    settings = {"server": "granian", "request_timeout_ms": "400"}
    with Api(server.url, SPACE.name, **settings) as api:
        left = workers(api)
        assert len(left) == 2
        assert api._process is not None
        api._process.kill()
        wait_until(lambda: not any(each.is_running() for each in left))


def test_what_the_environment_holds_is_no_header(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_IF_NONE_MATCH", "*")
    with Api(server.url, SPACE.name, server="granian") as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        assert get(api.url, "/recommendations/u1").status == 200


def test_a_body_that_is_shorter_than_its_length_is_not_answered_as_if_whole(
    server: Server,
) -> None:
    with Api(server.url, SPACE.name, server="granian") as api:
        wait_until(lambda: get(api.url, "/health/ready").status == 200)
        with open_socket(api.url) as half:
            half.sendall(
                b"POST /recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b'Content-Length: 99\r\n\r\n{"users":["u1"]}'
            )
            half.shutdown(1)
            assert b" 200 " not in b"".join(iter(lambda: half.recv(65536), b""))
