"""Podman by its command: builds the images, runs containers of them, tells what happened.

Its settings come with us, so that it runs where there is no systemd and no unified cgroup.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import requests

from tests.servers import PATIENCE_SECONDS, wait_until

SETTINGS = """\
[containers]
default_ulimits = []
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{run}/libpod"
[network]
network_backend = "netavark"
"""
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{images}"
runroot = "{run}/storage"
"""


class EngineFailed(Exception):
    """A command of podman failed; the sentence is what it said."""


class Engine:
    """Podman with settings, images and secrets of its own: the machine's stay as they are.

    folder: for this run. The images stay in the virtual environment for the next one.
    """

    def __init__(self, folder: Path) -> None:
        places = {"run": "/run/larder-tests", "images": Path(sys.prefix, "containers").resolve()}
        settings, storage = folder / "containers.conf", folder / "storage.conf"
        settings.write_text(SETTINGS.format(**places))
        storage.write_text(STORAGE.format(**places))
        self._folder = folder
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(settings),
            "CONTAINERS_STORAGE_CONF": str(storage),
        }

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        """Run a command; what it printed. Raises EngineFailed."""
        done = self.run("podman", *arguments, given=given)
        if done.returncode:
            raise EngineFailed(f"podman {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout.strip()

    def run(
        self, *command: str, given: str | None = None, variables: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run any program with podman's settings; at most 15 minutes."""
        return subprocess.run(
            command,
            cwd=self._folder,  # podman's monitor leaves a file where a container ran out of memory
            env={**self.environment, **(variables or {})},
            input=given,
            capture_output=True,
            text=True,
            timeout=900,
        )

    def has(self, image: str) -> bool:
        return self.run("podman", "image", "exists", image).returncode == 0

    def inspect(self, image: str) -> dict[str, Any]:
        """What an image is made to do."""
        (found,) = json.loads(self("image", "inspect", image))
        return dict(found)

    def megabytes(self, image: str) -> float:
        return int(self.inspect(image)["Size"]) / 1e6


class Container:
    """A container under the rules of the manifests: read-only root, no capability, a small /tmp.

    options: further ones of ``podman run``; variables: its environment; rules: other ones, as OPEN.
    """

    def __init__(
        self,
        engine: Engine,
        image: str,
        *arguments: str,
        options: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        rules: Sequence[str] | None = None,
    ) -> None:
        self._engine = engine
        named = [f"--env={name}={value}" for name, value in (variables or {}).items()]
        self._command = ["run", "--detach", *(rules or RESTRICTED), *named, *options]
        self._command += [image, *arguments]
        self.id = ""

    def start(self) -> None:
        self.id = self._engine(*self._command).splitlines()[-1]

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        return int(self._engine("wait", self.id))

    def stop(self) -> int:
        """End it as Docker and Kubernetes do: its stop signal, then patience; its exit code."""
        self._engine("stop", "--time", f"{PATIENCE_SECONDS:.0f}", self.id)
        return self.wait()

    def kill(self) -> None:
        """Kill -9."""
        self._engine("kill", self.id)
        self.wait()

    def again(self) -> None:
        """Start it once more."""
        self._engine("start", self.id)

    @property
    def logs(self) -> str:
        done = self._engine.run("podman", "logs", self.id)
        return done.stdout + done.stderr

    @property
    def pid(self) -> int:
        """Its first process, as the machine sees it."""
        return int(self._engine("inspect", "--format", "{{.State.Pid}}", self.id))

    def healthy(self) -> bool:
        """Run the health check of its image once."""
        return self._engine.run("podman", "healthcheck", "run", self.id).returncode == 0

    def execute(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside."""
        return self._engine.run("podman", "exec", self.id, *command)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._engine("rm", "--force", "--time", "0", "--volumes", self.id)


OPEN = ("--passwd=false",)  # Kubernetes and Docker name no user either
RESTRICTED = (
    *OPEN,
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp:rw,size=64m,mode=1777",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--memory=512m",
    "--memory-swap=512m",
)


def ask(url: str) -> requests.Response | None:
    """What is answered, which is true when it is a 200; None where nobody listens yet."""
    with suppress(requests.ConnectionError):
        return requests.get(url, timeout=PATIENCE_SECONDS)
    return None


def wait_healthy(container: Container) -> None:
    """Wait until its health check is green."""
    wait_until(container.healthy)
