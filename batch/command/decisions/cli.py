"""The subcommands of ``larder decisions``; what each needs is imported when it runs."""

from pathlib import Path

import click

from batch.command.options import (
    PATH,
    CacheOptions,
    cache_options,
    events_url_option,
    json_option,
    keep_option,
    option,
)


@click.group()
def decisions() -> None:
    """Choose one of some actions, learn from rewards, and judge policies by the logs.

    It speaks the API of the cloud service that was switched off, and keeps its logs here.
    """


@decisions.command()
@click.argument("logs", type=PATH, required=False)
@cache_options
@events_url_option
@keep_option
@option("--follow/--no-follow", default=False, help="Go on until stopped.")
def train(logs: Path | None, cache: CacheOptions, events_url: str, keep: int, follow: bool) -> None:
    """Learn from decisions and their rewards, and publish models.

    LOGS is a folder that gets all decisions with their rewards, as Parquet by day; without it
    nothing can be learned anew when the policy changes. A decision is learned once its wait for
    rewards is over. Without --follow what is over now is learned, and one model published.

    Run it anywhere, and more than once: one trainer works, the others wait until it dies. A run
    that is killed loses and doubles nothing.

    \b
    larder decisions train logs/ --follow
    """
    from batch.command.decisions import train as work

    work.train(logs, cache, events_url, keep, follow)


MODEL = click.argument("model", required=False)


@decisions.command()
@cache_options
@json_option
def models(cache: CacheOptions, json: bool) -> None:
    """List the models of decisions that are published, the newest first."""
    from batch.command.decisions import models

    models.tell(cache, json)


@decisions.command()
@MODEL
@cache_options
def rollback(model: str | None, cache: CacheOptions) -> None:
    """Decide by MODEL again, or by the one before the live one.

    The trainer goes on from it, with what comes from now on.
    """
    from batch.command.decisions import models

    models.roll_back(model, cache)


@decisions.command()
@MODEL
@cache_options
@json_option
def show(model: str | None, cache: CacheOptions, json: bool) -> None:
    """Say what MODEL, or the live one, has learned, and what its decisions earned."""
    from batch.command.decisions import models

    models.show(model, cache, json)


@decisions.command("export")
@click.argument("file", type=PATH)
@option("--model", help="Which model.  [default: the live one]")
@cache_options
def export_model(file: Path, model: str | None, cache: CacheOptions) -> None:
    """Write a model into FILE, as Vowpal Wabbit reads it: vw -i FILE.

    \b
    larder decisions export model.vw
    """
    from batch.command.decisions import models

    models.export(file, model, cache)
