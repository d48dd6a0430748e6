"""``larder tune`` as its users run it."""

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.contracts.recommendations import Namespace
from batch.generations.registry import Generations
from tests.batch.command.test_cli import larder, refused, write
from tests.batch.pairs import checkerboard
from tests.servers import Server, environment, wait_until


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return write(tmp_path / "board.csv", checkerboard())


def test_the_command_that_it_prints_publishes_what_it_chose(
    board: Path, tmp_path: Path, server: Server, client: Any, namespace: Namespace
) -> None:
    told = tmp_path / "tuning.json"
    board.write_text(board.read_text().replace("user,item", "userId,movieId"))
    search = ("--trials", "5", "--holdout", ".3", "--seed", "3", "--json", told)
    done = larder("tune", board, "--preset", "ml-latest", *search)
    assert done.returncode == 0, done.stderr
    found = json.loads(told.read_text())
    assert len(found["trials"]) == 5 and found["command"] == done.stdout.splitlines()[-1]
    assert "default is --engine auto" in done.stdout
    words = shlex.split(found["command"])
    cache = ("--cache-url", server.url, "--namespace", namespace.name)
    assert words[0] == "larder" and larder(*words[1:], *cache).returncode == 0
    manifest = Generations(client, namespace).live_manifest()
    assert manifest is not None and manifest.engine == found["engine"]
    shares = found["options"].pop("blend", "")
    assert manifest.settings["holdout_seed"] == found["options"].pop("seed") == 3
    assert all(manifest.settings[name] == value for name, value in found["options"].items())
    assert all(
        f"{each[0]}={each[1]:g}" in shares for each in manifest.settings.get("blend", {}).items()
    )


def test_a_search_that_was_killed_goes_on_until_ctrl_c(board: Path, tmp_path: Path) -> None:
    study, told = tmp_path / "board.study", tmp_path / "tuning.json"
    where = ["--holdout", ".3", "--study", str(study), "--json", str(told)]
    command = [sys.executable, "-m", "batch", "tune", str(board), "--budget", "10h", *where]

    def ended() -> int:
        return study.read_text().count('"ndcg"') if study.exists() else 0

    def stop(after: int, by: signal.Signals) -> "subprocess.CompletedProcess[str]":
        with subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            wait_until(lambda: ended() >= after)
            process.send_signal(by)
            out, err = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    assert stop(1, signal.SIGKILL).returncode == -signal.SIGKILL
    before = ended()
    done = stop(before + 1, signal.SIGINT)
    assert done.returncode == 0 and "the best so far" in done.stderr, done.stderr
    assert "larder refresh" in done.stdout
    assert len(json.loads(told.read_text())["trials"]) >= before + 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--budget", "10"), "--budget must be seconds, minutes or hours"),
        (("--holdout", "0"), "--holdout must lie between 0 and 1"),
        (("--json", "/nowhere/tuning.json"), "/nowhere/tuning.json"),
    ],
)
def test_what_cannot_be_is_told_before_the_search(
    board: Path, given: tuple[str, str], said: str
) -> None:
    refused(larder("tune", board, *given), said)


def test_the_input_is_not_written_over(board: Path) -> None:
    before = board.read_bytes()
    for name in ("--json", "--study"):
        refused(larder("tune", board, name, board), "is the input itself")
    assert board.read_bytes() == before
