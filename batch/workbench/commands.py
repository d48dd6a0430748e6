"""The commands of ``larder`` in a notebook, as one types them in a terminal."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any

from batch.command.stack.up import StepFailed, end
from batch.errors import BadSettings


def larder(line: str) -> Any:
    """Run a command of larder; it says here what it would say in a terminal.

    Where the words have ``--json``, standard output is read as JSON and returned. Raises
    StepFailed, so that a notebook goes no further than what it needs.
    """
    words = _words(line)
    name = " ".join(["command larder", *words[:1]])
    if "--json" not in words or words[0] == "tune":  # whose --json names a file
        return _run(name, "batch", words)
    with tempfile.TemporaryFile("w+") as found:
        _run(name, "batch", words, found)
        found.seek(0)
        return json.load(found)


def loadtest(line: str) -> None:
    """Run the load test, as ``python -m loadtest`` does; a red verdict ends no cell.

    Raises StepFailed when it could not run.
    """
    _run("load test", "loadtest", _words(line), answers=(0, 1))


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise BadSettings(f"{line}: {error}; write \\' for an apostrophe") from error


def _run(
    name: str,
    module: str,
    words: Sequence[str],
    found: IO[str] | None = None,
    answers: Sequence[int] = (0,),
) -> None:
    """Run a module and print what it says; answers: the exit codes that are no failure."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", module, *words],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},  # errors stand where they came
        stdin=subprocess.DEVNULL,
        stdout=found or subprocess.PIPE,
        stderr=subprocess.PIPE if found else subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for said in process.stderr or process.stdout or ():
                print(said, end="")
            code = process.wait()
        finally:  # to interrupt the cell interrupts the command, too
            end(process)
    if code not in answers:
        raise StepFailed(name, code)
