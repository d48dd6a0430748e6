"""What runs beside a notebook: it works until it is stopped, and ends with its kernel."""

import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from app.contracts.recommendations import Namespace
from batch.command.stack.up import StepFailed
from batch.workbench import serve, start
from batch.workbench.commands import larder
from tests.batch.command.test_cli import write
from tests.batch.pairs import checkerboard
from tests.servers import Server, wait_until

TRAIN = ("decisions", "train", "logs", "--follow")
KERNEL = (
    f"from batch.workbench import start; trainer = start(*{TRAIN}); "
    "print(trainer.process.pid, trainer.log, flush=True); input()"
)


@pytest.fixture(autouse=True)
def here(
    server: Server, namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """With a cache, in an empty folder; what a trainer says that works there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LARDER_CACHE_URL", server.url)
    monkeypatch.setenv("LARDER_NAMESPACE", namespace.name)
    return f"training the decisions of namespace '{namespace.name}'"


def test_a_server_answers_until_it_is_stopped(tmp_path: Path) -> None:
    """A file of the user's may have the name of a module that its command needs."""
    (tmp_path / "random.py").write_text("raise AssertionError")
    larder(f"refresh {write(tmp_path / 'orders.csv', checkerboard())} --k 3")
    api = serve(docs=True)
    with urllib.request.urlopen(f"{api.url}/docs") as answer:
        assert answer.status == 200
    assert api.log.exists()
    api.stop()
    assert not api.log.exists()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{api.url}/docs")


def test_a_server_that_does_not_start_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailed, match="the API ended with exit code"):
        serve(workers="many")
    assert "LARDER_WORKERS" in capsys.readouterr().out


def test_a_trainer_works_until_it_is_stopped(here: str) -> None:
    trainer = start(*TRAIN)
    wait_until(lambda: here in trainer.log.read_text())
    assert repr(trainer) == "<larder decisions train logs --follow: runs>"
    trainer.stop()
    assert repr(trainer).endswith(": ended with exit code 143>") and not trainer.log.exists()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="nothing ends it with its parent here")
def test_a_trainer_ends_with_a_kernel_that_is_killed(here: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as kernel:
        assert kernel.stdout is not None
        pid, log = kernel.stdout.readline().split()
        trainer = psutil.Process(int(pid))
        wait_until(lambda: here in Path(log).read_text())
        kernel.kill()
    wait_until(lambda: not trainer.is_running() or trainer.status() == psutil.STATUS_ZOMBIE)
