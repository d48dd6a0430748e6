"""What the tests of SDKs need: decisions as anybody starts them, and a table of what worked."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.sdk.table import Table
from tests.servers import environment, free_port, wait_until

KEY = "a-key-that-only-tests-have"
_TABLE = pytest.StashKey[Table]()


class Service(NamedTuple):
    """What an SDK is told: the endpoint and the key."""

    url: str
    key: str


def pytest_configure(config: pytest.Config) -> None:
    """One table for the whole run."""
    config.stash[_TABLE] = Table()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what worked of which SDK."""
    terminalreporter.section("operations of the SDKs")
    terminalreporter.write_line(str(terminalreporter.config.stash[_TABLE]))


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> Table:
    """Which operation of which SDK works."""
    return pytestconfig.stash[_TABLE]


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The cache, the trainer and the API, with the arguments of the service's own container."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "batch", "decisions", "up"]
    container = ["Eula=accept", "Billing=https://127.0.0.1/", f"ApiKey={KEY}"]
    ours = ["--folder", str(tmp_path_factory.mktemp("decisions")), "--namespace", "sdk"]
    ours += ["--bind", url.removeprefix("http://")]
    ours += ["--cache-url", f"redis://127.0.0.1:{free_port()}/0"]
    with subprocess.Popen([*command, *container, *ours], env=environment()) as process:
        try:
            wait_until(lambda: process.poll() is not None or _ready(url))
            assert process.poll() is None, "it ended while starting; its messages are above"
            yield Service(f"{url}/", KEY)
        finally:
            process.terminate()


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=60) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
