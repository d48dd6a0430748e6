"""The subcommands of ``larder decisions``; what each needs is imported when it runs."""

import click


@click.group()
def decisions() -> None:
    """Choose one of some actions, learn from rewards, and judge policies by the logs.

    It speaks the API of the cloud service that was switched off, and keeps its logs here.
    """
