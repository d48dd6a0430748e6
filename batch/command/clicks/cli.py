"""The subcommands of ``larder clicks``; what each needs is imported when it runs."""

import click


@click.group()
def clicks() -> None:
    """How likely is it that this user clicks this item? Train, publish and score such models."""
