"""Decisions on one machine for as long as this process runs: a cache, the trainer, the API.

Its folder holds all that stays::

    appendonlydir/  what the cache holds: log, model, configuration, keys
    logs/           decisions with what came of them, as Parquet by day
    lock            who uses the folder; valkey.log beside it
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import click

from batch.command import up
from batch.command.decisions.container import Told
from batch.command.keys import supersede


def run(stack: up.Stack, told: Told) -> None:
    """Start everything, and stay until a signal says to stop. Raises as ``up.run`` does."""
    with running(stack, told) as started:
        _tell(started)
        up.stay(started)
    click.echo(f"stopped; logs and model stay in {stack.folder} for the next time", err=True)


@contextmanager
def running(stack: up.Stack, told: Told) -> Iterator[up.Stack]:
    """Everything, which ends with the block; yields the stack as it was started."""
    port = up.check_port(stack.bind, "--bind")
    stack = replace(stack, bind=f"{stack.bind.rpartition(':')[0]}:{port}")
    if told.ignored:
        click.echo(f"nothing here needs these settings: {', '.join(told.ignored)}", err=True)
    with up.caching(stack.folder, stack.cache) as cache:
        if told.api_key:
            others = supersede(told.api_key, "admin", "ApiKey", stack.cache)
            if others:
                click.echo("the key of the last ApiKey lets nobody in any more", err=True)
        words = ["decisions", "train", str(stack.folder / "logs"), "--follow"]
        with up.beside(stack, words) as trainer, up.serving(stack, "decisions", "serve") as api:
            said = {cache: f"the cache ended by itself: see {stack.folder / 'valkey.log'}"}
            said[api] = "the API ended by itself; its messages are above"
            said[trainer.pid] = "the trainer ended by itself; its messages are above"
            yield replace(stack, started=said)


def _tell(stack: up.Stack) -> None:
    click.echo(
        f"\nPOST {stack.url}/personalizer/v1.0/rank is answered until you press Ctrl-C.\n"
        f"What it answers, to read and to try: {stack.url}/swagger\n"
        f"Other commands of larder find them with {up.where(stack.cache)}"
    )
