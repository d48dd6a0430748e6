"""Decisions on one machine for as long as this process runs: a cache, the trainer, the API.

Its folder holds all that stays::

    appendonlydir/  what the cache holds: log, model, configuration, keys
    logs/           decisions with what came of them, as Parquet by day
    lock            who uses the folder; valkey.log beside it
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

import click

from batch.command.decisions.container import Told
from batch.command.keys import supersede
from batch.command.stack import up
from batch.errors import Terminal

PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Before a trainer is started again; twice as long each time, until one has lived that long."""


def run(stack: up.Stack, told: Told) -> None:
    """Start everything, and stay until a signal says to stop. Raises as ``up.run`` does."""
    with running(stack, told) as started:
        _tell(started)
        up.stay(started)
    click.echo(f"stopped; logs and model stay in {stack.folder} for the next time", err=True)


@contextmanager
def running(stack: up.Stack, told: Told) -> Iterator[up.Stack]:
    """Everything, which ends with the block; yields the stack as it was started."""
    stack = up.expect_free(stack)
    if told.ignored:
        click.echo(f"nothing here needs these settings: {', '.join(told.ignored)}", err=True)
    with up.caching(stack.folder, stack.cache) as cache:
        if told.api_key:
            others = supersede(told.api_key, "admin", "ApiKey", stack.cache)
            if others:
                click.echo("the key of the last ApiKey lets nobody in any more", err=True)
        with _training(stack), up.serving(stack, cache, "decisions", "serve") as started:
            yield started


@contextmanager
def _training(stack: up.Stack) -> Iterator[None]:
    """A trainer, and another one whenever it ends by itself, until the block ends."""
    trainer = _Trainer(stack)
    thread = Thread(target=trainer.keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        trainer.end()
        thread.join()


class _Trainer:
    """The process that learns. Without one decisions are answered and logged, so all else stays."""

    def __init__(self, stack: up.Stack) -> None:
        self._stack = stack
        self._over, self._starting = Event(), Lock()
        self._process: "subprocess.Popen[bytes] | None" = None

    def keep(self) -> None:
        """Start it, and start it again, until ``end`` or until that is of no use."""
        pause = PAUSE_SECONDS
        while process := self._start():
            began = time.monotonic()
            code = process.wait()
            if self._over.is_set():
                return
            if code == Terminal.exit_code:
                _warn("mend what its message above says, and start larder decisions up again")
                return
            if time.monotonic() - began > LONGEST_PAUSE_SECONDS:
                pause = PAUSE_SECONDS
            ended = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            _warn(f"it ended {ended}; it is started again in {pause:.0f} s")
            self._over.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def end(self) -> None:
        """Stop it; none is started after that."""
        with self._starting:
            self._over.set()
        if self._process:
            up.end(self._process)

    def _start(self) -> "subprocess.Popen[bytes] | None":
        words = ["decisions", "train", str(self._stack.folder / "logs"), "--follow"]
        with self._starting:
            if self._over.is_set():
                return None
            self._process = up.launch(self._stack, words)
            return self._process


def _warn(what: str) -> None:
    click.echo(f"decisions are answered and logged, but no trainer learns: {what}", err=True)


def _tell(stack: up.Stack) -> None:
    click.echo(
        f"\nPOST {stack.url}/personalizer/v1.0/rank is answered until you press Ctrl-C.\n"
        f"What it answers, to read and to try: {stack.url}/swagger\n"
        f"Other commands of larder find them with {up.where(stack.cache)}"
    )
