"""What goes on beside a notebook and is no server: it works, and ends with its kernel."""

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from batch.workbench import start
from tests.servers import Server, wait_until

TRAIN = ("decisions", "train", "logs", "--follow")
WORKS = "training the decisions of namespace 'beside'"
KERNEL = (
    f"from batch.workbench import start; trainer = start(*{TRAIN}); "
    "print(trainer.process.pid, trainer.log, flush=True); input()"
)


@pytest.fixture(autouse=True)
def here(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cache, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LARDER_CACHE_URL", server.url)
    monkeypatch.setenv("LARDER_NAMESPACE", "beside")


def test_it_works_until_it_is_stopped() -> None:
    trainer = start(*TRAIN)
    wait_until(lambda: WORKS in trainer.log.read_text())
    assert repr(trainer) == "<larder decisions train logs --follow: runs>"
    trainer.stop()
    assert repr(trainer).endswith(": ended with exit code 143>") and not trainer.log.exists()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="nothing ends it with its parent here")
def test_it_ends_with_a_kernel_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as kernel:
        assert kernel.stdout is not None
        pid, log = kernel.stdout.readline().split()
        trainer = psutil.Process(int(pid))
        wait_until(lambda: WORKS in Path(log).read_text())
        kernel.kill()
    wait_until(lambda: not trainer.is_running() or trainer.status() == psutil.STATUS_ZOMBIE)
