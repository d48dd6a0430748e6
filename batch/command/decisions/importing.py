"""``larder decisions import``: a model that was made elsewhere."""

from pathlib import Path

import click

from app.contracts.decisions import Decisions
from batch.command.options import CacheOptions
from batch.decisions import imported
from batch.decisions.desk import Desk
from batch.generations.connect import connect


def bring(file: Path, cache: CacheOptions) -> None:
    """Check a model, and order the trainer to publish it."""
    found = imported.read(file)
    desk = Desk(connect(cache.url), Decisions(cache.namespace.name))
    desk.bring(found.model, f"larder decisions import {file.name}")
    click.echo(
        f"the trainer publishes the model of {file} next ({len(found.model):,} bytes, Vowpal "
        f"Wabbit {found.vowpal}, {found.arguments})"
    )
    if found.signed:
        click.echo("its signature was not looked at: nobody can say any more whose it is")
