"""compose.yaml, by podman-compose: the whole system on a laptop."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import requests

from tests.containers.engine import Engine, EngineFailed, ask
from tests.containers.test_workbench import BY_COMPOSE
from tests.k8s.manifests import HOUSE
from tests.servers import free_port, wait_until

Compose = Callable[..., str]
PROJECT = f"larder-test-{os.getpid()}"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def locust_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def jupyter_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def compose(
    engine: Engine, images: dict[str, float], port: int, locust_port: int, jupyter_port: int
) -> Iterator[Compose]:
    """Runs podman-compose in a project of this run; afterwards nothing of it is left."""
    program = str(Path(sys.executable).with_name("podman-compose"))

    def run(*arguments: str, codes: Sequence[int] = (0,)) -> str:
        done = engine.run(
            program,
            f"--project-name={PROJECT}",
            f"--file={HOUSE / 'compose.yaml'}",
            *arguments,
            variables={
                "PORT": str(port),
                "LOCUST_PORT": str(locust_port),
                "JUPYTER_PORT": str(jupyter_port),
            },
        )
        if done.returncode not in codes:
            raise EngineFailed(f"compose {arguments}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.stdout

    yield run
    profiles = [f"--profile={each}" for each in ("locust", "loadtest", "workbench")]
    run(*profiles, "down", "--volumes", "--timeout=20")


@pytest.fixture(scope="module")
def up(compose: Compose, port: int) -> str:
    """The URL of the system, with its lists published."""
    compose("up", "--detach")
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: all(_is_personal(url) for _ in range(20)))  # all workers
    return url


def test_up_refreshes_and_answers(up: str) -> None:
    answer = ask(f"{up}/recommendations/15?n=3")
    assert answer and all("title" in film for film in answer.json()["recommendations"])
    assert b"swagger-ui-bundle.js" in requests.get(f"{up}/docs", timeout=60).content
    packed = requests.get(f"{up}/docs/swagger-ui-bundle.js", timeout=60)
    assert packed.headers["Content-Encoding"] == "gzip" and b"SwaggerUIBundle" in packed.content


def test_it_listens_on_loopback_only(up: str, engine: Engine, port: int) -> None:
    """The cache's port is not published at all."""
    wait_until(lambda: f"{PROJECT}_refresh_1" not in engine("ps", "--format={{.Names}}"))
    listed = engine("ps", "--filter", f"name={PROJECT}", "--format", "{{.Names}} {{.Ports}}")
    published = dict(line.partition(" ")[::2] for line in listed.splitlines())
    assert published == {
        f"{PROJECT}_cache_1": "",
        f"{PROJECT}_api_1": f"127.0.0.1:{port}->8000/tcp",
    }
    assert _listening()[port] == "127.0.0.1"


def test_the_load_test_passes_through_the_containers(up: str, compose: Compose) -> None:
    """Its verdict on the speed is not ours: this machine may be busy."""
    asked = "slo --url http://api:8000 --duration 10".split()
    said = compose("--profile=loadtest", "run", "--rm", "loadtest", *asked, codes=(0, 1))
    assert re.search(r"failed +0.00%", said), said


def test_locusts_page_is_for_this_machine_only(up: str, compose: Compose, locust_port: int) -> None:
    compose("--profile=locust", "up", "--detach", "locust")
    url = f"http://127.0.0.1:{locust_port}"
    wait_until(lambda: bool(ask(url)))
    assert _listening()[locust_port] == "127.0.0.1"


def test_a_restart_of_the_cache_keeps_the_lists(up: str, compose: Compose, engine: Engine) -> None:
    compose("restart", "cache")
    # On a busy machine podman's restart was seen to leave it stopped, and to say nothing.
    engine("start", f"{PROJECT}_cache_1")
    wait_until(lambda: _is_whole(up))


def test_the_workbench_has_the_same_lists(
    up: str, compose: Compose, engine: Engine, jupyter_port: int
) -> None:
    """By the line of its README, and at the URL that it prints."""
    compose(*BY_COMPOSE.replace("up", "up --detach").split()[2:])
    name = f"{PROJECT}_workbench_1"
    wait_until(lambda: "?token=" in engine("logs", name))
    assert _listening()[jupyter_port] == "127.0.0.1"
    (url,) = re.findall(r"http\S+", engine("logs", name))
    assert ask(url.replace("/lab?", "/api/contents?"))
    wait_until(lambda: _is_whole(up))
    live = requests.get(f"{up}/generation", timeout=60).json()["generation"]
    assert live in engine("exec", name, "larder", "generations")


def _is_personal(url: str) -> bool:
    answer = ask(f"{url}/recommendations/15")
    return answer is not None and answer.ok and answer.json()["source"] == "personal"


def _is_whole(url: str) -> bool:
    answer = ask(f"{url}/health/ready")
    return answer is not None and answer.ok and answer.json()["degraded"] is False


def _listening() -> dict[int, str]:
    """Port -> address of all that listens on this machine."""
    found = [each.laddr for each in psutil.net_connections("tcp") if each.status == "LISTEN"]
    return {each.port: each.ip for each in found if each}
