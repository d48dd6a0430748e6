"""Servers of Larder beside a notebook, which end with its kernel."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from batch.command.up import check_port, end, get, wait_until_ready
from batch.errors import Transient

QUIET = {"LARDER_LOG_LEVEL": "warning", "LARDER_AUTH": "proxy"}
"""No keys are asked for: it listens on loopback, and whoever is there has the cache."""


class Service:
    """A server that answers HTTP at ``url`` until the kernel ends, or ``stop`` is called."""

    def __init__(self, url: str, log: Path, process: "subprocess.Popen[bytes]") -> None:
        self.url = url
        self.log = log
        """What it says."""
        self._process = process
        atexit.register(self.stop)

    def wait_for(self, generation: str, seconds: float = 60) -> None:
        """Return once it answers from that generation: after a rollback, or another refresh.

        Each of its workers follows by itself, so start it with ``workers=1`` to be sure of all.
        Raises Transient when it does not follow within so many seconds.
        """
        deadline = time.monotonic() + seconds
        while (found := get(f"{self.url}/generation")["generation"]) != generation:
            if time.monotonic() > deadline:
                raise Transient(f"the API still answers from {found!r}, not from {generation!r}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it, and wait until it has."""
        atexit.unregister(self.stop)
        end(self._process)

    def __repr__(self) -> str:
        return f"<{self.url}>"


def serve(*words: str, **settings: object) -> Service:
    """Start a server on a free port of loopback; returns once it is ready.

    words: the command, ``("serve",)`` if there are none, or ``("decisions", "serve")`` and the
    like. settings: those of the API in small letters and without LARDER_, as in ``events=True``.
    Raises StepFailed and Transient, after what the server said.
    """
    bind = f"127.0.0.1:{check_port('127.0.0.1:0', 'bind')}"
    given = {f"LARDER_{name.upper()}": _text(value) for name, value in settings.items()}
    command = [*_following(), sys.executable, "-m", "batch", *(words or ("serve",))]
    descriptor, log = tempfile.mkstemp(prefix="larder-", suffix=".log")
    with open(descriptor, "wb") as told:
        process = subprocess.Popen(
            [*command, "--bind", bind],
            env={**os.environ, **QUIET, **given},
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            start_new_session=True,  # to interrupt a cell is not to stop it
        )
    service = Service(f"http://{bind}", Path(log), process)
    try:
        wait_until_ready(process, service.url)
    except BaseException:
        print(Path(log).read_text(errors="replace"), end="")
        service.stop()
        raise
    return service


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _following() -> Sequence[str]:
    """A kernel that is killed takes its servers along, where the system has what that needs."""
    found = shutil.which("setpriv")
    return (found, "--pdeathsig", "TERM", "--") if found else ()
