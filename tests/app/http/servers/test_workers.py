"""Workers find each other, and a number is free again when its process has ended."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.http.servers.workers import VARIABLE, Folder, Worker


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(VARIABLE, "")  # put back afterwards
    made = Folder.make(str(tmp_path))
    yield made.path
    made.remove()


@contextmanager
def another_process(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A worker that says its number, then has loaded when it is told so."""
    code = (
        "import sys; from pathlib import Path; from app.http.servers.workers import Worker\n"
        "worker = Worker.claim(Path(sys.argv[1]))\n"
        "worker.serves(); print(worker.number, flush=True)\n"
        "sys.stdin.readline(); worker.has_loaded(); print('loaded', flush=True)\n"
        "sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_each_worker_has_the_lowest_free_number(folder: Path) -> None:
    own = Worker.claim(folder)
    assert own.number == 0
    with another_process(folder) as one, another_process(folder) as other:
        assert {said(one), said(other)} == {"1", "2"}
        assert own.living() == [0, 1, 2]
    assert own.living() == [0]
    with another_process(folder) as successor:
        assert said(successor) == "1"
    os.close(own.file)


def test_all_have_loaded_when_the_last_one_has(folder: Path) -> None:
    own = Worker.claim(folder)
    assert own.all_have_loaded(), "nobody asks a worker that does not serve yet"
    own.serves()
    assert not own.all_have_loaded()
    own.has_loaded()
    own.serves()
    assert own.all_have_loaded()
    with another_process(folder) as other:
        said(other)
        assert not own.all_have_loaded()
        assert other.stdin is not None
        print(file=other.stdin, flush=True)
        assert said(other) == "loaded"
        assert own.all_have_loaded()
    with another_process(folder) as successor:
        said(successor)
        assert not own.all_have_loaded(), "what the dead one said must not count"
    assert own.all_have_loaded(), "the dead are not waited for"
    os.close(own.file)


def test_folders_of_the_killed_go_and_those_of_the_living_stay(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "larder-workers-left"
    left.mkdir()
    other = Folder.make(str(tmp_path))
    assert not left.exists()
    assert folder.exists()
    assert os.environ[VARIABLE] == str(other.path)
    other.remove()
    assert not other.path.exists()
