"""The subcommands of ``larder clicks``; what each needs is imported when it runs."""

from pathlib import Path
from typing import Literal

import click

from batch.clicks.layout import Reading
from batch.command.clicks.options import examples_argument, reading_options
from batch.command.options import PATH, Grouped, json_option, option, seed_option


@click.group()
def clicks() -> None:
    """How likely is it that this user clicks this item? Train, publish and score such models."""


@clicks.command(cls=Grouped)
@examples_argument
@reading_options
@json_option
def check(examples: tuple[str, ...], reading: Reading, json: bool) -> None:
    """Say what EXAMPLES are: their columns, the share of clicks, what a model does not see.

    EXAMPLES are files or folders of CSV, TSV (.gz too) or Parquet: a row for each time that an item
    was shown, with a label, and whatever is known of user, item and moment.

    \b
    larder clicks check impressions/ --label clicked --time-column shown_at --ignore dwell_time
    """
    from batch.command.clicks import check

    check.check(examples, reading, json)


@clicks.command()
@click.argument("out", type=PATH)
@option("--rows", type=click.IntRange(1), default=100_000, help="How many.")
@seed_option
@option(
    "--format",
    type=click.Choice(["csv", "parquet", "criteo"]),
    help="criteo: tabs, no header.  [default: parquet where OUT ends with it, else csv]",
)
@option("--time/--no-time", default=False, help="Add a column time, with which the rate drifts.")
def generate(
    out: Path,
    rows: int,
    seed: int,
    format: Literal["csv", "parquet", "criteo"] | None,
    time: bool,
) -> None:
    """Write examples of our own making into the file OUT, and say how well they can be predicted.

    13 numbers and 26 categories like Criteo's, with a truth that is known. The rows of another seed
    are a test set to these.

    \b
    larder clicks generate train.parquet --rows 1000000 --seed 1
    """
    from batch.clicks.generate import generate

    form = format or ("parquet" if out.suffix == ".parquet" else "csv")
    found = generate(out, rows, seed, form, time)
    click.echo(
        f"wrote {found.rows:,} rows to {out}: {found.clicks / found.rows:.4f} are clicks; "
        f"best possible AUC {found.auc:.4f}, log loss {found.log_loss:.4f}"
    )
