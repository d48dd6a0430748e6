"""Servers of Larder beside a notebook, which end with its kernel."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from batch.command.up import check_port, end, wait_until_ready

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

    def stop(self) -> None:
        """End it, and wait until it has; its log goes with it."""
        atexit.unregister(self.stop)
        end(self._process)
        self.log.unlink(missing_ok=True)

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
    descriptor, log = tempfile.mkstemp(prefix="larder-", suffix=".log")
    os.close(descriptor)
    command = [sys.executable, "-m", "batch", *(words or ("serve",)), "--bind", bind]
    process = launch(command, {**QUIET, **given}, Path(log))
    service = Service(f"http://{bind}", Path(log), process)
    try:
        wait_until_ready(process, service.url)
    except BaseException:
        print(Path(log).read_text(errors="replace"), end="")
        service.stop()
        raise
    return service


def launch(
    command: Sequence[str], settings: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    """Start a server that ends with this kernel; what it says goes to the log.

    settings: variables of the environment beside those of the kernel.
    """
    with log.open("wb") as told:
        return subprocess.Popen(
            [*_following(), *command],
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            start_new_session=True,  # to interrupt a cell is not to stop it
        )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _following() -> Sequence[str]:
    """A kernel that is killed takes its servers along, where the system has what that needs."""
    found = shutil.which("setpriv")
    return (found, "--pdeathsig", "TERM", "--") if found else ()
