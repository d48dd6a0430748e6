"""The subcommands of ``larder decisions``; what each needs is imported when it runs."""

import click

from batch.command.options import CacheOptions, Serving, cache_options, deciding_options


@click.group()
def decisions() -> None:
    """Choose one of some actions, learn from rewards, and judge policies by the logs.

    It speaks the API of the cloud service that was switched off, and keeps its logs here.
    """


@decisions.command()
@cache_options
@deciding_options
def serve(cache: CacheOptions, serving: Serving) -> None:
    """Answer rank and reward over HTTP until stopped.

    It is larder serve with LARDER_DECISIONS=only: ready without lists, and it has none. It needs
    pip install '.[decisions]' in Larder's folder.
    """
    from batch.command.serve import become

    become(cache, serving, LARDER_DECISIONS="only")
