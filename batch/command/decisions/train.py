"""``larder decisions train``: learn from the log, publish."""

from pathlib import Path

import click

from app.contracts.decisions import Decisions
from batch.command.events import client_of
from batch.command.options import CacheOptions
from batch.decisions.judge.guard import Guard
from batch.decisions.judge.jobs import Jobs
from batch.decisions.loop import trainer
from batch.decisions.loop.log import Log
from batch.generations.connect import connect
from batch.generations.server import warn_of_eviction

_EVICTION = "the events' server may throw away decisions and rewards"


def train(
    folder: Path | None,
    cache: CacheOptions,
    events_url: str,
    keep: int,
    follows: bool,
    guards: bool,
) -> None:
    """Do so once, or without end."""
    client, space = connect(cache.url), Decisions(cache.namespace.name)
    server = client_of(cache, events_url)
    warn_of_eviction(server, _EVICTION)
    given = client, Log(server, space), space, folder, keep
    if follows:
        jobs = Jobs(client, space, cache.url, folder) if folder else None
        guard = Guard(client, space, folder) if folder and guards else None
        try:
            return trainer.follow(*given, jobs, guard)
        finally:
            if jobs:
                jobs.close()
    done = trainer.once(*given)
    click.echo(
        f"learned until {done.position or 'nothing'}; {done.events:,} decisions in all, "
        f"{len(done.joiner):,} entries wait for their windows to close"
    )
