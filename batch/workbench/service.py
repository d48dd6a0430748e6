"""What runs beside a notebook, such as the API or a trainer, and ends with its kernel."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from batch.command.stack.up import check_port, end, wait_until_ready

QUIET = {"LARDER_LOG_LEVEL": "warning", "LARDER_AUTH": "proxy"}
"""No keys are asked for: it listens on loopback, and whoever is there has the cache."""


class Service:
    """A command of larder that goes on until the kernel ends, or ``stop`` is called."""

    def __init__(self, words: Sequence[str], settings: Mapping[str, str], url: str = "") -> None:
        self.url = url
        """Where it answers, if it is a server."""
        self.words = tuple(words)
        descriptor, log = tempfile.mkstemp(prefix="larder-", suffix=".log")
        os.close(descriptor)
        self.log = Path(log)
        """What it says."""
        self.process = launch([sys.executable, "-P", "-m", "batch", *words], settings, self.log)
        atexit.register(self.stop)

    def stop(self) -> None:
        """End it, and wait until it has; its log goes with it."""
        atexit.unregister(self.stop)
        end(self.process)
        self.log.unlink(missing_ok=True)

    def __repr__(self) -> str:
        code = self.process.poll()
        state = self.url or "runs" if code is None else f"ended with exit code {code}"
        return f"<larder {' '.join(self.words)}: {state}>"


def serve(*words: str, **settings: object) -> Service:
    """Start a server on a free port of loopback; returns once it is ready.

    words: the command, ``("serve",)`` if there are none, or ``("decisions", "serve")`` and the
    like. settings: those of the API in small letters and without LARDER_, as in ``events=True``.
    Raises StepFailed and Transient, after what the server said.
    """
    bind = f"127.0.0.1:{check_port('127.0.0.1:0', 'bind')}"
    given = {f"LARDER_{name.upper()}": _text(value) for name, value in settings.items()}
    words = (*(words or ("serve",)), "--bind", bind)
    service = Service(words, {**QUIET, **given}, f"http://{bind}")
    try:
        wait_until_ready(service.process, service.url)
    except BaseException:
        print(service.log.read_text(errors="replace"), end="")
        service.stop()
        raise
    return service


def start(*words: str) -> Service:
    """Start what goes on and is no server, such as ``("decisions", "train", "logs", "--follow")``.

    Returns at once.
    """
    return Service(words, {})


def launch(
    command: Sequence[str], settings: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    """Start a program that ends with this kernel; what it says goes to the log.

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
