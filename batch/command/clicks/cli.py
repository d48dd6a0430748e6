"""The subcommands of ``larder clicks``; what each needs is imported when it runs."""

import click

from batch.command.options import CacheOptions, Serving, cache_options, serving_options


@click.group()
def clicks() -> None:
    """How likely is it that this user clicks this item? Train, publish and score such models."""


@clicks.command()
@cache_options
@serving_options
def serve(cache: CacheOptions, serving: Serving) -> None:
    """Answer POST /rank/click over HTTP until stopped.

    It is larder serve with LARDER_CLICKS=only: ready without lists, though it also answers from
    those of the namespace, if there are any. It needs pip install '.[clicks]' in Larder's folder.
    """
    from batch.command.serve import become

    become(cache, serving, LARDER_CLICKS="only")
