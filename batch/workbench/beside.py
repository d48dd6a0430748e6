"""What goes on beside a notebook and is no server, such as a trainer; it ends with the kernel."""

import atexit
import os
import sys
import tempfile
from pathlib import Path

from batch.command.up import end
from batch.workbench.service import launch


class Beside:
    """A command that goes on until the kernel ends, or ``stop`` is called."""

    def __init__(self, *words: str) -> None:
        descriptor, log = tempfile.mkstemp(prefix="larder-", suffix=".log")
        os.close(descriptor)
        self.words = words
        self.log = Path(log)
        """What it says."""
        self._process = launch([sys.executable, "-m", "batch", *words], {}, self.log)
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def stop(self) -> None:
        """End it, and wait until it has."""
        atexit.unregister(self.stop)
        end(self._process)

    def __repr__(self) -> str:
        code = self._process.poll()
        state = "runs" if code is None else f"ended with exit code {code}"
        return f"<larder {' '.join(self.words)}: {state}, see {self.log}>"


def start(*words: str) -> Beside:
    """Start a command that goes on, such as ``("decisions", "train", "logs", "--follow")``.

    Returns at once.
    """
    return Beside(*words)
