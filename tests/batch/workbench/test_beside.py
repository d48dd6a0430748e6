"""What goes on beside a notebook and is no server: it works, and ends with its kernel."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis

from app.contracts.decisions import Decisions
from batch.generations.registry import Generations
from batch.workbench import start
from tests.servers import Server, wait_until

TRAIN = ("decisions", "train", "logs", "--follow")
KERNEL = f"from batch.workbench import start; print(start(*{TRAIN}).pid, flush=True); input()"


@pytest.fixture
def published(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], bool]:
    """Whether a trainer has published anything; it works in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LARDER_CACHE_URL", server.url)
    monkeypatch.setenv("LARDER_NAMESPACE", "beside")

    def found() -> bool:
        with redis.Redis.from_url(server.url) as client:
            return bool(Generations(client, Decisions("beside")).published())

    return found


def test_it_works_until_it_is_stopped(published: Callable[[], bool]) -> None:
    trainer = start(*TRAIN)
    wait_until(published)
    assert repr(trainer).startswith("<larder decisions train logs --follow: runs, see ")
    assert "training the decisions of namespace 'beside'" in trainer.log.read_text()
    trainer.stop()
    assert ": ended with exit code 143, see " in repr(trainer)


@pytest.mark.skipif(not shutil.which("setpriv"), reason="nothing ends it with its parent here")
def test_it_ends_with_a_kernel_that_is_killed(published: Callable[[], bool]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as kernel:
        assert kernel.stdout is not None
        trainer = psutil.Process(int(kernel.stdout.readline()))
        wait_until(published)
        kernel.kill()
    wait_until(lambda: not trainer.is_running() or trainer.status() == psutil.STATUS_ZOMBIE)
