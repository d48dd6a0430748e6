"""The load generator: Locust as a program of its own, and the figures that it leaves."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest import measured, processes
from loadtest.api import CannotRun
from loadtest.inside import Usage
from loadtest.measured import Measured
from loadtest.scenarios import Asked

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
USAGE_EVERY_SECONDS = 1.0
LATE_SECONDS = 60
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Asked):
    """What a run was asked for, as the command line names it."""

    url: str | None
    report: Path | None
    processes: int
    population: Path | None
    zipf: float
    seed: int


def run(
    options: Options,
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
    with _locust(options, url, folder) as locust:
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
def _locust(options: Options, url: str, folder: Path) -> Iterator[processes.Process]:
    """SIGINT ends it, so that it leaves its report; its own variables would change what is run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    command = _command(options, url, folder)
    with (folder / "locust.log").open("wb") as log:
        with processes.running(
            command, kept, log, LOCUSTFILE.parents[1], signal.SIGINT, STOP_SECONDS
        ) as locust:
            yield locust


def _command(options: Options, url: str, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"]
    command += ["--only-summary", "--loglevel", "WARNING", "--html", str(folder / "locust.html")]
    command += ["--host", url, "--users", str(options.users), "--scenario", options.command]
    command += ["--figures", str(folder / measured.FILE), "--seed", str(options.seed)]
    command += ["--zipf", str(options.zipf), "--step-seconds", str(options.step_seconds)]
    if options.strict:
        command += ["--strict"]
    if options.population:
        command += ["--population", str(options.population.resolve())]
    if options.duration:  # one step, so that Locust's own report too can leave out the start
        command += ["--duration", str(options.duration), "--reset-stats"]
    if options.processes > 1:
        port = str(processes.free_port())
        command += ["--processes", str(options.processes), "--master-bind-host", "127.0.0.1"]
        command += ["--master-bind-port", port, "--master-port", port]
    return command


def left(folder: Path) -> Measured:
    """What Locust left. Raises CannotRun when it left nothing."""
    try:
        return measured.read(folder)
    except (OSError, ValueError):
        said = processes.last_words(folder / "locust.log")
        raise CannotRun(f"Locust left no figures; see {folder}/locust.log: {said}") from None
