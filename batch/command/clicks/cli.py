"""The subcommands of ``larder clicks``; what each needs is imported when it runs."""

from pathlib import Path

import click

from batch.clicks.terms import Joining
from batch.command.clicks.joined import events_argument, joining_options, out_option
from batch.command.options import Grouped, json_option


@click.group()
def clicks() -> None:
    """How likely is it that this user clicks this item? Train, publish and score such models."""


@clicks.command(cls=Grouped)
@events_argument
@joining_options
@out_option
@json_option
def examples(events: tuple[Path, ...], joining: Joining, out: Path, json: bool) -> None:
    """Make examples to train on of EVENTS: impressions, joined with the clicks that came of them.

    EVENTS are folders that larder events export has made. An impression of an item is one row:
    whether it was clicked, when, at which position, the columns of its item and user, and how
    often both were shown and had clicked before.

    \b
    larder clicks examples events/ --items items.parquet --users users.csv --out examples/
    """
    from batch.command.clicks import examples as work

    work.examples(events, joining, out, json)
