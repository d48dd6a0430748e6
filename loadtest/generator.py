"""The load generator: Locust as a program of its own, and the figures that it leaves."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loadtest import processes
from loadtest.api import CannotRun
from loadtest.judge import measured
from loadtest.judge.inside import Usage
from loadtest.judge.measured import Measured
from loadtest.load.scenarios import Asked

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
USAGE_EVERY_SECONDS = 1.0
LATE_SECONDS = 60
STOP_SECONDS = 15.0


def run(
    asked: Asked,
    url: str,
    folder: Path,
    expected_seconds: int,
    usage: Callable[[], Usage] | None = None,
) -> list[Usage]:
    """Run Locust to its end; what it says goes to the folder.

    Meanwhile ``usage`` is asked what the API uses. Raises CannotRun when Locust does not end.
    """
    found = []
    deadline = time.monotonic() + expected_seconds + LATE_SECONDS
    with _locust(asked, url, folder) as locust:
        while locust.poll() is None:
            if time.monotonic() > deadline:
                raise CannotRun("Locust did not come to an end; see locust.log in the report")
            if usage:
                with contextlib.suppress(CannotRun):  # the verdict tells it: nothing answers
                    found.append(usage())
            with contextlib.suppress(subprocess.TimeoutExpired):
                locust.wait(USAGE_EVERY_SECONDS)
    return found


@contextlib.contextmanager
def _locust(asked: Asked, url: str, folder: Path) -> Iterator[processes.Process]:
    """SIGINT ends it, so that it leaves its report; its own variables would change what is run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    command = _command(asked, url, folder)
    with (folder / "locust.log").open("wb") as log:
        with processes.running(
            command, kept, log, LOCUSTFILE.parents[1], signal.SIGINT, STOP_SECONDS
        ) as locust:
            yield locust


def _command(asked: Asked, url: str, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"]
    command += ["--only-summary", "--loglevel", "WARNING", "--html", str(folder / "locust.html")]
    command += ["--host", url, "--users", str(asked.users), "--scenario", asked.command]
    command += ["--figures", str(folder / measured.FILE), "--seed", str(asked.seed)]
    command += ["--zipf", str(asked.zipf), "--step-seconds", str(asked.step_seconds)]
    if asked.strict:
        command += ["--strict"]
    if asked.population:
        command += ["--population", str(asked.population.resolve())]
    if asked.duration:  # one step, so that Locust's own report too can leave out the start
        command += ["--duration", str(asked.duration), "--reset-stats"]
    if asked.command == "decisions":  # what was asked is answered, so that all is known of it
        command += ["--stop-timeout", f"{STOP_SECONDS - 5:.0f}"]
    if asked.processes > 1:
        port = str(processes.free_port())
        command += ["--processes", str(asked.processes), "--master-bind-host", "127.0.0.1"]
        command += ["--master-bind-port", port, "--master-port", port]
    return command


def left(folder: Path) -> Measured:
    """What Locust left. Raises CannotRun when it left nothing."""
    try:
        return measured.read(folder)
    except (OSError, ValueError):
        said = processes.last_words(folder / "locust.log")
        raise CannotRun(f"Locust left no figures; see {folder}/locust.log: {said}") from None
