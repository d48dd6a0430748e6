"""``larder decisions up``: cache, trainer and API in one command, by the documented arguments."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests import servers
from tests.app.wire import get, send
from tests.decisions import body
from tests.servers import environment, free_port, wait_until

KEY = "0123456789abcdef0123456789abcdef"
DOCUMENTED = ("Eula=accept", "Billing=https://westus2.example.com/", f"ApiKey={KEY}")
BASE = "/personalizer/v1.0"
THEIRS = {"Ocp-Apim-Subscription-Key": KEY}


@contextmanager
def started(folder: Path, url: str, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """The command, once it says that it answers."""
    where = ["--folder", str(folder), "--bind", url.removeprefix("http://"), "--workers", "1"]
    cache = ["--cache-url", f"redis://127.0.0.1:{free_port()}/0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "batch", "decisions", *words, *where, *cache],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert any("until you press Ctrl-C" in line for line in process.stdout), process.stderr
        yield process
    finally:
        process.terminate()
        process.communicate()


def test_the_documented_arguments_start_all_of_it_and_it_remembers(tmp_path: Path) -> None:
    folder, url = tmp_path / "data", f"http://127.0.0.1:{free_port()}"
    with started(folder, url, *DOCUMENTED) as process:
        assert send(url, "POST", f"{BASE}/rank", body(eventId="e")).status == 401
        assert send(url, "POST", f"{BASE}/rank", body(eventId="e"), THEIRS).status == 201
        assert send(url, "POST", f"{BASE}/events/e/reward", b'{"value":1}', THEIRS).status == 204
        children = psutil.Process(process.pid).children(recursive=True)
        lines = [" ".join(each.cmdline()) for each in children]
        assert sum("decisions train" in line for line in lines) == 1
        assert not [line for line in lines if KEY in line], "another process shows the key"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=servers.PATIENCE_SECONDS)
        assert process.returncode == 0, said
        assert "nothing here needs these settings: Billing" in said and KEY not in said
        assert "error" not in said and f"logs and model stay in {folder}" in said
        wait_until(lambda: not any(child.is_running() for child in children))
    with started(folder, url, "up", "--auth", "on"):
        assert get(url, f"{BASE}/configurations/service", **THEIRS).status == 200


def test_a_trainer_that_dies_ends_the_rest(tmp_path: Path) -> None:
    with started(tmp_path / "data", f"http://127.0.0.1:{free_port()}", "up") as process:
        children = psutil.Process(process.pid).children(recursive=True)
        (trainer,) = [each for each in children if "train" in each.cmdline()]
        trainer.kill()
        _, said = process.communicate(timeout=servers.PATIENCE_SECONDS)
        assert process.returncode == 75
        assert "the trainer ended by itself; its messages are above" in said
        wait_until(lambda: not any(child.is_running() for child in children))


def test_where_others_come_from_it_asks_for_keys(tmp_path: Path) -> None:
    done = servers.run_here("decisions", "up", "--bind", "0.0.0.0:5000", "--folder", str(tmp_path))
    assert done.returncode == 2 and "lets in everybody" in done.stderr
