"""The commands of ``larder`` in a notebook, as one types them in a terminal."""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any

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
    name = " ".join(["command larder", *words[:1]])
    if "--json" not in words:
        _run(name, "batch", words)
        return None
    with tempfile.TemporaryFile("w+") as found:
        _run(name, "batch", words, found)
        found.seek(0)
        return json.load(found)


def loadtest(line: str) -> None:
    """Run the load test, as ``python -m loadtest`` does; a red verdict ends no cell.

    Raises CommandFailed when it could not run.
    """
    _run("load test", "loadtest", shlex.split(line), answers=(0, 1))


def _run(
    name: str,
    module: str,
    words: Sequence[str],
    found: IO[str] | None = None,
    answers: Sequence[int] = (0,),
) -> None:
    """Run a module and print what it says; answers: the exit codes that are no failure."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *words],
        stdin=subprocess.DEVNULL,
        stdout=found or subprocess.PIPE,
        stderr=subprocess.PIPE if found else subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            for said in process.stderr or process.stdout or ():
                print(said, end="", flush=True)
        finally:  # to interrupt the cell interrupts the command, too
            code = process.wait()
    if code not in answers:
        raise CommandFailed(name, code)
