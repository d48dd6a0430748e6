"""``larder decisions up``: cache, trainer and API in one command, by the documented arguments."""

import json
import signal
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
from redis import Redis

from app.contracts.decisions import Decisions
from loadtest.api import Api as Asking
from loadtest.load.decisions import put_settings
from tests import servers
from tests.app.wire import Answer, get, send
from tests.decisions import body
from tests.servers import free_port, staying, wait_until

KEY = "0123456789abcdef0123456789abcdef"
DOCUMENTED = ("Eula=accept", "Billing=https://westus2.example.com/", f"ApiKey={KEY}")
BASE = "/personalizer/v1.0"
SETTINGS = f"{BASE}/configurations/service"
THEIRS = {"Ocp-Apim-Subscription-Key": KEY}
NEW = {"Ocp-Apim-Subscription-Key": KEY[::-1]}


def started(
    folder: Path, url: str, *words: str, **variables: str
) -> AbstractContextManager["subprocess.Popen[str]"]:
    """The command, once it says that it answers; variables: more of its environment."""
    where = ["--folder", str(folder), "--bind", url.removeprefix("http://"), "--workers", "1"]
    cache = ["--cache-url", f"redis://127.0.0.1:{free_port()}/0"]
    return staying(["decisions", *words, *where, *cache], variables)


def test_the_documented_arguments_start_all_and_it_remembers_but_a_former_key(
    tmp_path: Path,
) -> None:
    folder, url = tmp_path / "data", f"http://127.0.0.1:{free_port()}"
    with started(folder, url, *DOCUMENTED) as process:
        assert send(url, "POST", f"{BASE}/rank", body(eventId="e")).status == 401
        assert [_read(url, key).status for key in (THEIRS, NEW)] == [200, 401]
        change = b'{"defaultReward":0.5}'
        assert send(url, "PATCH", SETTINGS, change, THEIRS).status == 200
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
    with started(folder, url, *DOCUMENTED[:2], f"ApiKey={KEY[::-1]}"):
        assert [_read(url, key).status for key in (THEIRS, NEW)] == [401, 200]
        assert json.loads(_read(url, NEW).body)["defaultReward"] == 0.5


def _read(url: str, key: dict[str, str]) -> Answer:
    return get(url, SETTINGS, **key)


def test_a_trainer_that_is_killed_is_followed_by_one_that_learns(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with started(tmp_path / "data", url, "up") as process:
        trainer = _trainer_of(process)
        assert trainer
        put_settings(Asking(url))
        assert send(url, "POST", f"{BASE}/rank", body(eventId="e")).status == 201
        assert send(url, "POST", f"{BASE}/events/e/reward", b'{"value":1}').status == 204
        assert trainer is not None
        trainer.kill()
        wait_until(lambda: not trainer.is_running())
        _end_its_lease(process)
        assert send(url, "POST", f"{BASE}/rank", body()).status == 201
        wait_until(lambda: _trainer_of(process) != trainer)
        wait_until(lambda: b'"0001-' not in get(url, f"{BASE}/model/properties").body)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=servers.PATIENCE_SECONDS)
        assert process.returncode == 0
        assert said.count("it ended by signal 9; it is started again in 1 s") == 1


def test_a_trainer_that_cannot_go_on_is_not_started_again(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with started(tmp_path / "data", url, "up", LARDER_KEEP="none") as process:
        wait_until(lambda: _trainer_of(process) is None)
        assert send(url, "POST", f"{BASE}/rank", body()).status == 201
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=servers.PATIENCE_SECONDS)
        assert process.returncode == 0
        assert said.count("no trainer learns: mend what its message above says") == 1


def _trainer_of(process: "subprocess.Popen[str]") -> psutil.Process | None:
    children = psutil.Process(process.pid).children()
    return next((each for each in children if "train" in each.cmdline()), None)


def _end_its_lease(process: "subprocess.Popen[str]") -> None:
    """As ten seconds do."""
    with Redis.from_url(str(list(process.args)[-1])) as client:  # type: ignore[arg-type]
        client.delete(Decisions("default").lock)


def test_where_others_come_from_it_asks_for_keys(tmp_path: Path) -> None:
    done = servers.run_here("decisions", "up", "--bind", "0.0.0.0:5000", "--folder", str(tmp_path))
    assert done.returncode == 2 and "lets in everybody" in done.stderr
