"""The commands of ``larder`` in a notebook, as one types them in a terminal."""

import json
import shlex
import subprocess
import sys
import tempfile
from typing import Any

from batch.command.up import StepFailed


class CommandFailed(StepFailed):
    """A command ended with another exit code than 0; the notebook shows the sentence alone."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of the frames, which are none of the reader's."""
        return [f"{type(self).__name__}: {self}"]


def larder(line: str) -> Any:
    """Run a command of larder; it says here what it would say in a terminal.

    Where the words have ``--json``, standard output is read as JSON and returned. Raises
    CommandFailed, so that a notebook goes no further than what it needs.
    """
    words = shlex.split(line)
    asks_for_json = "--json" in words and words[0] != "tune"  # whose --json names a file
    with tempfile.TemporaryFile("w+") as found:
        with subprocess.Popen(
            [sys.executable, "-m", "batch", *words],
            stdin=subprocess.DEVNULL,
            stdout=found if asks_for_json else subprocess.PIPE,
            stderr=subprocess.PIPE if asks_for_json else subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                for said in process.stderr or process.stdout or ():
                    print(said, end="", flush=True)
            finally:  # to interrupt the cell interrupts the command, too
                code = process.wait()
        if code:
            raise CommandFailed(" ".join(["command larder", *words[:1]]), code)
        found.seek(0)
        return json.load(found) if asks_for_json else None
