"""``larder decisions logs``: what was decided and what came of it, for other tools and of them."""

from json import dumps
from pathlib import Path

import click

from app.contracts import environment
from batch.command.options import PATH, Finite, json_option, option
from batch.command.output.table import table
from batch.events.inputs import moment_of

LOGS = click.argument("folder", type=PATH, metavar="LOGS")


@click.group()
def logs() -> None:
    """Read, exchange and delete the logs of decisions.

    LOGS is the folder that larder decisions train writes: Parquet by day, which pandas, Polars and
    DuckDB read as it is.
    """


@logs.command()
@LOGS
@click.argument("out", type=PATH)
@click.option(
    "--from",
    "start",
    envvar=f"{environment.PREFIX}FROM",
    show_envvar=True,
    help="Only what was decided on this date (ISO 8601) or later.",
)
@click.option(
    "--to",
    "end",
    envvar=f"{environment.PREFIX}TO",
    show_envvar=True,
    help="Only what was decided before this date (ISO 8601).",
)
def export(folder: Path, out: Path, start: str | None, end: str | None) -> None:
    """Write LOGS into the file OUT as dsjson, a decision a line; gzipped where it ends in .gz.

    Vowpal Wabbit learns from it what the trainer learned.

    \b
    larder decisions logs export logs/ may.dsjson.gz --from 2026-05-01 --to 2026-06-01
    vw --cb_explore_adf --dsjson -q :: -d may.dsjson.gz
    """
    from batch.decisions import exchange
    from batch.decisions.logs import EVER

    first, last = _ms(start, "--from"), _ms(end, "--to")
    count = exchange.export(folder, out, first or 0, EVER if last is None else last)
    click.echo(f"wrote {count:,} decisions to {out}")


@logs.command("import")
@click.argument("file", type=PATH)
@LOGS
@option(
    "--max-rejects",
    type=Finite(0, 1),
    default=0.01,
    help="The share of lines that are no decisions to put up with; more stop the run.",
)
def load(file: Path, folder: Path, max_rejects: float) -> None:
    """Add the decisions of FILE to LOGS: dsjson, .gz too, such as the logs of the cloud service.

    The same file once more changes nothing. What is older than the retention of the logs goes again
    when the trainer next looks.

    \b
    larder decisions logs import 2026-05-01.json.gz logs/
    """
    from batch.decisions import exchange

    found = exchange.load(file, folder, max_rejects)
    click.echo(f"{folder} holds the {found.decisions:,} decisions of {file}")
    if found.rejected:
        reasons = ", ".join(f"{count:,} x {why}" for why, count in found.rejected.most_common())
        click.echo(f"{found.rejected.total():,} lines are no decisions ({reasons})")


@logs.command()
@LOGS
@json_option
def show(folder: Path, json: bool) -> None:
    """Say what LOGS holds of each day: decisions, how many count, their mean reward."""
    from batch.decisions.logs import by_day

    days = by_day(folder)
    if json:
        click.echo(dumps([day._asdict() for day in days]))
        return
    if not days:
        click.echo(f"{folder} holds no decisions")
        return
    head = ("day", "decisions", "that count", "mean reward", "bytes")
    rows = (
        (
            each.day,
            f"{each.decisions:,}",
            f"{each.learned:,}",
            f"{each.reward:.4f}",
            f"{each.bytes:,}",
        )
        for each in days
    )
    click.echo(table(head, rows))


@logs.command()
@LOGS
@option("--before", help="Only days before this date (ISO 8601).  [default: all]")
def delete(folder: Path, before: str | None) -> None:
    """Delete LOGS, or its days before a date. Models keep what they have learned."""
    from batch.decisions.logs import EVER
    from batch.decisions.logs import delete as run

    moment = _ms(before, "--before")
    click.echo(f"deleted {run(folder, EVER if moment is None else moment):,} files of {folder}")


def _ms(text: str | None, option: str) -> int | None:
    moment = moment_of(text, option)
    return None if moment is None else round(moment * 1000)
