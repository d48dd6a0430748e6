"""JupyterLab with notebooks that show all of Larder, and a cache beside it.

The folder holds what the user works on::

    00-serve-films.ipynb ...  the notebooks, copied where they are not there yet
    .larder/                  what the cache keeps, its log, and whom to end should this be killed
"""

import contextlib
import ctypes
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

import batch
from app.contracts.recommendations import Namespace
from batch.command.options import CacheOptions
from batch.command.stack.up import LOCAL, StepFailed, caching, check_port, expect_unused, note
from batch.errors import BadSettings, Transient
from batch.events.folder import replace

if TYPE_CHECKING:
    import psutil

ROOM = Path(batch.__path__[0]) / "workbench"
NOTEBOOKS = ROOM / "notebooks"
FIRST = "00-serve-films.ipynb"
STOP_SECONDS, REST_SECONDS = 2.5, 0.5
"""So long may JupyterLab take to stop, and then what it left; the cache takes no time."""

LOOPBACK = (*LOCAL, "::1")
EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
TOKEN = re.compile("[!-~]{8,}")
_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of Linux' prctl


@dataclass(frozen=True, slots=True)
class Workbench:
    """What to start. token: who has it runs what they like here; None is a new one."""

    folder: Path
    cache_url: str = field(repr=False)  # empty starts a cache beside it
    host: str
    port: int
    token: str | None = field(repr=False)

    @property
    def kept(self) -> Path:
        """Where its cache keeps data."""
        return self.folder / ".larder"

    @property
    def address(self) -> tuple[str, int]:
        """Where it answers on this machine."""
        return EVERYWHERE.get(self.host, self.host), self.port


def check_token(token: str | None, host: str) -> None:
    """Raises BadSettings for one that protects too little where others reach the host."""
    if token == "" and host not in LOOPBACK:
        raise BadSettings(
            f"LARDER_JUPYTER_TOKEN is empty, and notebooks would run for everybody who reaches "
            f"{host!r}: give it a value, unset it for a new one, or listen on 127.0.0.1"
        )
    if token and not TOKEN.fullmatch(token):
        raise BadSettings(
            "LARDER_JUPYTER_TOKEN must have 8 characters or more, of those that ASCII shows, and "
            "no space or line break: give it another value, or unset it for a new one"
        )


def check_folder(bench: Workbench) -> None:
    """Raises BadSettings for one of somebody else's, as those are that a container is given."""
    for each in (bench.folder, bench.kept, bench.kept / "lock"):
        if each.exists() and not os.access(each, os.W_OK):
            owner = each.stat()
            raise BadSettings(
                f"user {os.geteuid()} may not write to {each}, which is of user {owner.st_uid}: "
                "name another folder with --notebooks; where it is mounted into a container, "
                f"start that with --user {owner.st_uid}:{owner.st_gid}"
            )


def run(bench: Workbench, once: bool) -> None:
    """Start it, and stay until a signal says to stop; once: execute the first notebook and end."""
    for package in ("jupyterlab", "papermill"):
        if not find_spec(package):
            raise ModuleNotFoundError(name=package)
    check_token(bench.token, bench.host)
    check_folder(bench)
    expect_unused(bench.kept)
    if not once:
        check_port(f"{bench.host}:{bench.port}", "--jupyter-port")
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))  # the terminal was closed
    with (
        _cache(bench) as (url, cache),
        tempfile.TemporaryDirectory(prefix="larder-", ignore_cleanup_errors=True) as temporary,
    ):
        lay_out(bench.folder)
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        ours = {"LARDER_CACHE_URL": url, "PATH": programs, "TMPDIR": temporary}
        variables = {"JUPYTER_RUNTIME_DIR": temporary, **os.environ, **ours}
        variables.pop("LARDER_JUPYTER_TOKEN", None)
        if bench.host in LOOPBACK:  # Spark's own pages listen everywhere otherwise
            variables.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        if once:
            _execute(bench, variables)
        else:
            _stay(bench, variables, cache)


def lay_out(folder: Path) -> None:
    """Copy the notebooks that are not there yet: what is there is the user's."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not os.path.lexists(folder / each.name):  # a link may lead anywhere
            replace(folder / each.name, partial(shutil.copyfile, each))


@contextlib.contextmanager
def _cache(bench: Workbench) -> Iterator[tuple[str, int]]:
    """The URL of the cache named and 0, or of one that ends with the workbench and its process."""
    if bench.cache_url:
        yield bench.cache_url, 0
        return
    url = f"redis://127.0.0.1:{_cache_port()}/0"
    with caching(bench.kept, CacheOptions(url, Namespace("default"))) as cache:
        yield url, cache


def _cache_port() -> int:
    """The one that commands expect where nothing else is named, or any that is free."""
    try:
        return check_port("127.0.0.1:6379", "--cache-url")
    except BadSettings:
        return check_port("127.0.0.1:0", "--cache-url")


def _execute(bench: Workbench, variables: Mapping[str, str]) -> None:
    """Execute a copy of the first notebook; tell what its commands say, and its figures."""
    executed = bench.folder / f"{Path(FIRST).stem}.executed.ipynb"
    words = ["papermill", "--no-progress-bar", "--log-level=CRITICAL", "--stdout-file=-"]
    words += [f"--cwd={bench.folder}", str(bench.folder / FIRST), str(executed)]
    with _started(bench, words, variables, stderr=subprocess.PIPE) as papermill:
        _, said = papermill.communicate()
    cells = json.loads(executed.read_bytes())["cells"] if executed.exists() else []
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    if papermill.returncode:
        failed = ["\n".join(each["traceback"]) for each in outputs if "traceback" in each]
        click.echo("\n".join(failed) or said.decode(errors="replace"), err=True)
        raise StepFailed(f"notebook {FIRST}", papermill.returncode)
    last = outputs[-1] if outputs else {}  # in a notebook of the user's it may show nothing
    figures = "".join(last.get("data", {}).get("text/plain", ()))
    click.echo(f"\n{figures}\n\nThe whole notebook, with its charts: {executed}")


def _stay(bench: Workbench, variables: Mapping[str, str], cache: int) -> None:
    token = secrets.token_hex(24) if bench.token is None else bench.token
    words = ["jupyterlab", f"--config={ROOM / 'jupyter_server_config.py'}"]
    words += [f"--ServerApp.ip={bench.host}", f"--ServerApp.port={bench.port}"]
    words += [f"--ServerApp.root_dir={bench.folder.resolve()}"]
    with _started(bench, words, {**variables, "JUPYTER_TOKEN": token}) as lab:
        try:
            _wait_until_it_listens(bench, lab)
            opened = {None: f"/lab?token={token}", "": "/lab"}
            way = opened.get(bench.token, "/lab (it asks for LARDER_JUPYTER_TOKEN)")
            host, port = bench.address
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}{way}"
            click.echo(f"\nOpen this in a browser: {url}\nCtrl-C ends it; {bench.folder} stays.")
            code = _wait(bench, lab, cache)
        except (SystemExit, KeyboardInterrupt):
            return
    if code:
        raise StepFailed("JupyterLab", code)


@contextlib.contextmanager
def _started(
    bench: Workbench, words: Sequence[str], variables: Mapping[str, str], stderr: int | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A module of Python, run until the block ends, and all that comes of it with it."""
    import psutil

    if sys.platform == "linux":  # a process whose parent died is a child of this one then
        ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1)
    cache = psutil.Process().children()
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", *words],
            env=variables,
            stderr=stderr,
            start_new_session=True,
        )
        if not bench.cache_url:
            note(bench.kept, process.pid)
        yield process
    finally:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # it ends already
        _end(cache)


def _end(but: "list[psutil.Process]") -> None:
    """End all that came of this process: what it started itself first, which ends the rest well."""
    import psutil

    us = psutil.Process()
    ask, kill, rest = psutil.Process.terminate, psutil.Process.kill, (True, REST_SECONDS)
    steps = ((ask, False, STOP_SECONDS), (ask, *rest), (kill, *rest), (kill, *rest))
    for way, recursive, seconds in steps:
        asked = [each for each in us.children(recursive) if each not in but]
        for each in asked:
            with contextlib.suppress(psutil.Error):  # it has ended, or is root's, as by sudo
                way(each)
        psutil.wait_procs(asked, seconds)


def _wait_until_it_listens(bench: Workbench, lab: "subprocess.Popen[bytes]") -> None:
    while lab.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(bench.address):
            return
        time.sleep(0.1)
    raise StepFailed("JupyterLab", lab.returncode or 1)


def _wait(bench: Workbench, lab: "subprocess.Popen[bytes]", cache: int) -> int:
    """Its exit code, once it has ended; orphans of kernels are buried meanwhile."""
    while True:
        child, status = os.wait()
        if child == lab.pid:
            lab.returncode = os.waitstatus_to_exitcode(status)
            return lab.returncode
        if child == cache:
            raise Transient(f"the cache ended by itself: see {bench.kept / 'valkey.log'}")
