"""The commands of ``larder`` in a notebook, as one types them in a terminal."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from typing import Any

from batch.command.up import StepFailed, end
from batch.errors import BadSettings


def larder(line: str) -> Any:
    """Run a command of larder; it says here what it would say in a terminal.

    Where the words have ``--json``, standard output is read as JSON and returned. Raises
    StepFailed, so that a notebook goes no further than what it needs.
    """
    words = _words(line)
    asks_for_json = "--json" in words
    with tempfile.TemporaryFile("w+") as found:
        process = subprocess.Popen(
            [sys.executable, "-m", "batch", *words],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},  # errors stand where they came
            stdin=subprocess.DEVNULL,
            stdout=found if asks_for_json else subprocess.PIPE,
            stderr=subprocess.PIPE if asks_for_json else subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            for said in process.stderr or process.stdout or ():
                print(said, end="")
            code = process.wait()
        finally:  # to interrupt the cell interrupts the command, too
            end(process)
        found.seek(0)
        if code:
            print(found.read(), end="")
            raise StepFailed(" ".join(["command larder", *words[:1]]), code)
        return _json(found.read()) if asks_for_json else None


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise BadSettings(f"%larder {line}: {error}; write \\' for an apostrophe") from error


def _json(text: str) -> Any:
    """What was printed as JSON; tune and the like print what people read, and write a file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        print(text, end="")
        return None
