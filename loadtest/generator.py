"""The load generator: Locust in a process group of its own, which surely ends."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadtest import report, scenarios
from loadtest.api import CannotRun
from loadtest.stack import Stack, free_port
from loadtest.verdict import Sample

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
SAMPLE_SECONDS = 1.0
STOP_SECONDS = 15.0


class Generator:
    """Locust in a process group of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def watch(self, local: Stack | None, at_most_seconds: float) -> list[Sample]:
        """Wait for the end; sample the local stack meanwhile. Raises CannotRun when too late."""
        samples = []
        deadline = time.monotonic() + at_most_seconds
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                raise CannotRun("Locust did not come to an end; see locust.log in the report")
            if local:
                with contextlib.suppress(CannotRun):  # the verdict tells it: nothing answers
                    samples.append(local.sample())
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(SAMPLE_SECONDS)
        return samples

    def end(self) -> None:
        """End what still runs: asked first, so that it leaves its report, then killed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def running(asked: argparse.Namespace, url: str, folder: Path) -> Iterator[Generator]:
    """Run Locust as the arguments ask; what it says goes to the folder."""
    with (folder / "locust.log").open("wb") as log:
        locust = Generator(
            subprocess.Popen(
                _command(asked, url, folder),
                env=_environment(),
                cwd=LOCUSTFILE.parents[1],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        )
        try:
            yield locust
        finally:
            locust.end()


def _command(asked: argparse.Namespace, url: str, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"]
    command += ["--only-summary", "--loglevel", "WARNING", "--html", str(folder / "locust.html")]
    command += ["--host", url, "--users", str(asked.users), "--scenario", asked.command]
    command += ["--figures", str(folder / report.FIGURES), "--seed", str(asked.seed)]
    command += ["--zipf", str(asked.zipf)]
    if asked.strict:
        command += ["--strict"]
    if asked.population:
        command += ["--population", str(asked.population.resolve())]
    for name in ("duration", "step_seconds"):
        if name in asked:
            command += [f"--{name.replace('_', '-')}", str(getattr(asked, name))]
    if _is_paced(asked.command):
        command += ["--reset-stats"]
    if asked.processes > 1:
        port = str(free_port())
        command += ["--processes", str(asked.processes), "--master-bind-host", "127.0.0.1"]
        command += ["--master-bind-port", port, "--master-port", port]
    return command


def _is_paced(name: str) -> bool:
    """Whether a scenario is one step, so that Locust's own report too can leave out the start."""
    return name in scenarios.DURATION_SECONDS


def _environment() -> dict[str, str]:
    """Ours without Locust's own variables, which would change what is run."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}


def figures(folder: Path) -> dict[str, Any]:
    """What Locust left. Raises CannotRun when it left nothing."""
    try:
        return report.load(folder)
    except (OSError, ValueError):
        lines = (folder / "locust.log").read_text(encoding="utf-8", errors="replace").splitlines()
        said = lines[-1] if lines else "it said nothing"
        raise CannotRun(f"Locust left no figures; see {folder}/locust.log: {said}") from None
