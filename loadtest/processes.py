"""Programs that a run starts on loopback: each in a session of its own, and it surely ends."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

Process = subprocess.Popen[bytes]


@contextlib.contextmanager
def running(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: IO[bytes],
    folder: Path | None = None,
    stop: signal.Signals = signal.SIGTERM,
    stop_seconds: float = 40.0,
) -> Iterator[Process]:
    """Run a command in a session of its own: Ctrl-C reaches only this process, which ends it."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process, stop, stop_seconds)


def _end(process: Process, stop: signal.Signals, seconds: float) -> None:
    """Ask it to end, so that it leaves what it has; then kill what is left of its session."""
    if process.poll() is None:
        process.send_signal(stop)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_words(log: Path) -> str:
    """The last line that a program said."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
