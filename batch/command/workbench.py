"""JupyterLab with notebooks that show all of Larder, and a cache beside it.

The folder holds what the user works on::

    00-serve-films.ipynb ...  the notebooks, copied where they are not there yet
    .larder/                  what the cache keeps, and its log
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import click

import batch
from app.contracts.recommendations import Namespace
from batch.command.options import CacheOptions
from batch.command.up import LOCAL, StepFailed, caching, check_port
from batch.errors import BadSettings, Terminal

NOTEBOOKS = Path(batch.__path__[0]) / "workbench" / "notebooks"
FIRST = "00-serve-films.ipynb"
STOP_SECONDS = 4.0
"""Docker gives ten, and a cache is ended after that."""

LAB = (
    "--no-browser",
    "--ServerApp.port_retries=0",
    "--ServerApp.log_level=WARN",
    "--ServerApp.password=",
    "--PasswordIdentityProvider.allow_password_change=False",
    "--KernelManager.shutdown_wait_time=1",
    # It asks nobody on the internet for news, releases and extensions.
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)


@dataclass(frozen=True, slots=True)
class Workbench:
    """What to start. token: who has it runs what they like here; empty lets in who reaches it."""

    folder: Path
    cache_url: str = field(repr=False)  # empty starts a cache beside it
    host: str
    port: int
    token: str = field(repr=False)

    @property
    def url(self) -> str:
        """Where it is opened on this machine."""
        host = self.host if self.host in LOCAL else "127.0.0.1"
        return f"http://{host}:{self.port}/lab" + (f"?token={self.token}" if self.token else "")


def token_of(given: str | None, host: str) -> str:
    """The token: the one given, or a new one. Raises BadSettings for none beyond loopback."""
    if given == "" and host not in LOCAL:
        raise BadSettings(
            f"LARDER_JUPYTER_TOKEN is empty, and notebooks would run for everybody who reaches "
            f"{host}: give it a value, unset it for a new one, or listen on 127.0.0.1"
        )
    return secrets.token_hex(24) if given is None else given


def run(bench: Workbench, once: bool) -> None:
    """Start it, and stay until a signal says to stop; once: execute the first notebook and end."""
    if not find_spec("jupyterlab"):
        raise Terminal(
            "the workbench is JupyterLab, which is not installed: pip install '.[workbench]' in "
            "Larder's folder"
        )
    lay_out(bench.folder)
    with _cache(bench) as url:
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        variables = {**os.environ, "LARDER_CACHE_URL": url, "PATH": programs}
        variables.pop("LARDER_JUPYTER_TOKEN", None)
        if once:
            _execute(bench.folder, variables)
        else:
            _stay(bench, {**variables, "JUPYTER_TOKEN": bench.token})


def lay_out(folder: Path) -> None:
    """Copy the notebooks that are not there yet: what is there is the user's."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not (folder / each.name).exists():
            shutil.copyfile(each, folder / each.name)


@contextlib.contextmanager
def _cache(bench: Workbench) -> Iterator[str]:
    """The URL of the cache: the one named, or one that ends with the workbench."""
    if bench.cache_url:
        yield bench.cache_url
        return
    url = f"redis://127.0.0.1:{_cache_port()}/0"
    with caching(bench.folder / ".larder", CacheOptions(url, Namespace("default"))):
        yield url


def _cache_port() -> int:
    """The one that commands expect where nothing else is named, or any that is free."""
    try:
        return check_port("127.0.0.1:6379", "--cache-url")
    except BadSettings:
        return check_port("127.0.0.1:0", "--cache-url")


def _execute(folder: Path, variables: Mapping[str, str]) -> None:
    command = ["papermill", "--no-progress-bar", "--log-output", "--cwd", str(folder)]
    done = subprocess.run([*command, str(folder / FIRST), os.devnull], env=variables)
    if done.returncode:
        raise StepFailed(f"notebook {FIRST}", done.returncode)
    click.echo(f"{folder / FIRST} was executed")


def _stay(bench: Workbench, variables: Mapping[str, str]) -> None:
    check_port(f"{bench.host}:{bench.port}", "--jupyter-port")
    command = [sys.executable, "-m", "jupyterlab", *LAB, f"--ServerApp.ip={bench.host}"]
    command += [f"--ServerApp.port={bench.port}", f"--ServerApp.root_dir={bench.folder.resolve()}"]
    if os.geteuid() == 0:
        command.append("--allow-root")
    lab = subprocess.Popen(command, env=variables, start_new_session=True)
    try:
        click.echo(f"\nOpen this in a browser: {bench.url}\nCtrl-C ends it; {bench.folder} stays.")
        code = lab.wait()
    except (SystemExit, KeyboardInterrupt):
        return
    finally:
        _end(lab)
    raise StepFailed("JupyterLab", code or 1)


def _end(lab: "subprocess.Popen[bytes]") -> None:
    """Have it stop, with its kernels."""
    lab.terminate()
    try:
        lab.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(lab.pid, signal.SIGKILL)
        lab.wait()
