"""Commands on a cluster: by kubectl, and those of k8s/README.md in a shell with a terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMESPACE = "larder"
PATIENCE_SECONDS = 900
PROMPT = b"assword: "
WHERE = b"\x1b[6n"  # valkey-cli asks the terminal where its cursor is
# Functions of one command are there for the next, as for somebody who types them.
PRELUDE = """\
set -eo pipefail
[ ! -e .functions ] || . ./.functions
trap 'declare -f >.functions' EXIT
"""
CURL = "silent\nshow-error\nretry = 30\nretry-delay = 1\nretry-connrefused\n"


class CannotRun(Exception):
    """Nothing was tried; the sentence says why."""


class Failed(Exception):
    """A command failed, or what it said is not what it should; the sentence is what it said."""


@dataclass(slots=True)
class Cluster:
    """What kubectl points at.

    folder: where commands run, with a copy of k8s/; own: we made it; ran: blocks of README by then.
    """

    folder: Path
    readme: "Readme"
    own: bool
    log: Path
    ran: set[tuple[str, int]] = field(default_factory=set)

    def __call__(self, *arguments: str, given: str | None = None, seconds: int = 600) -> str:
        """Run kubectl in the namespace; what it printed. Raises Failed."""
        command = ["kubectl", "-n", NAMESPACE, *arguments]
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=seconds, cwd=self.folder
        )
        if arguments[0] not in ("get", "logs", "exec"):
            self._note(" ".join(command), done.stdout + done.stderr)
        if done.returncode:
            raise Failed(f"{' '.join(command)}: {(done.stderr or done.stdout)[-800:]}")
        return done.stdout.strip()

    def get(self, *arguments: str) -> Any:
        """``kubectl get`` as JSON."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def value(self, what: str, path: str) -> str:
        """One value of one object, by its JSONPath; empty when it is not there."""
        return self("get", what, "-o", f"jsonpath={{{path}}}", "--ignore-not-found")

    def asked(self, path: str) -> Any:
        """What the API answers, through the API server; of a list of bytes its JSON."""
        place = f"/api/v1/namespaces/{NAMESPACE}/services/larder-api:80/proxy{path}"
        return json.loads(self("get", "--raw", place))

    def block(self, section: str, number: int, password: str = "") -> str:
        """Run a block of the README as it stands; what it said. Raises Failed."""
        self.ran.add((section, number))
        return self.shell(self.readme.filled(section, number), password)

    def inline(self, command: str, password: str = "", **named: str) -> str:
        """Run a command that stands in the README's text, with its names in capitals filled in."""
        if command not in self.readme.words:
            raise Failed(f"k8s/README.md does not have this command any more: {command}")
        for name, value in named.items():
            command = command.replace(name, value)
        return self.shell(command, password)

    def shell(self, text: str, password: str = "") -> str:
        """Run commands in a terminal, where a password is typed when one is asked for."""
        code, said = _typed(PRELUDE + text, self.folder, password)
        self._note(text, said)
        if code:
            raise Failed(f"exit code {code}: {said[-1500:]}")
        return said

    def wait(self, true: Callable[[], object], what: str, seconds: int = 300) -> None:
        """Return when it is true. Raises Failed."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise Failed(f"not within {seconds} s: {what}")
            time.sleep(0.5)

    def _note(self, command: str, said: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} $ {command}\n{said}\n")


def _typed(text: str, folder: Path, password: str) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", text],
        cwd=folder,
        env={**os.environ, "CURL_HOME": str(folder)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    answers = {PROMPT: f"{password}\r".encode(), WHERE: b"\x1b[1;80R"}
    said, deadline, answered = b"", time.monotonic() + PATIENCE_SECONDS, 0
    try:
        while (running := process.poll() is None) or select.select([ours], [], [], 0)[0]:
            if time.monotonic() > deadline:
                raise Failed(f"not ended within {PATIENCE_SECONDS} s: {said[-1500:].decode()}")
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    said += os.read(ours, 65536)
                except OSError:  # nobody is left who could write
                    if not running:
                        break
                    process.wait()
            for end, answer in answers.items():
                if said.endswith(end) and len(said) > answered:
                    answered = len(said)
                    os.write(ours, answer)
    finally:
        _end(process)
        os.close(ours)
    return process.returncode, said.decode(errors="replace").replace("\r\n", "\n")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With what it left in the background, as ``port-forward &``."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Readme:
    """The commands of k8s/README.md: blocks by the heading above them and their number there."""

    def __init__(self, text: str, edits: Mapping[str, str]) -> None:
        self._edits = edits
        self.blocks: dict[tuple[str, int], str] = {}
        section, number = "", 0
        for heading, block in re.findall(r"^## ([^\n]*)|^```sh\n(.*?)^```", text, re.M | re.S):
            if heading:
                section, number = heading, 0
            else:
                number += 1
                self.blocks[section, number] = block
        self.words = " ".join(text.split())

    def filled(self, section: str, number: int) -> str:
        """A block with what a team fills in."""
        text = self.blocks[section, number]
        for old, new in self._edits.items():
            text = text.replace(old, new)
        return text
