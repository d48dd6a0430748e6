"""The subcommands of ``larder decisions``; what each needs is imported when it runs."""

import os
from pathlib import Path

import click

from app.contracts import keys
from batch.command.decisions.container import OrUp
from batch.command.options import (
    PATH,
    CacheOptions,
    Serving,
    auth_option,
    cache_options,
    deciding_options,
    option,
)
from batch.errors import BadSettings


@click.group(cls=OrUp)
def decisions() -> None:
    """Choose one of some actions, learn from rewards, and judge policies by the logs.

    It speaks the API of the cloud service that was switched off, and keeps its logs here.
    """


@decisions.command()
@cache_options
@deciding_options
def serve(cache: CacheOptions, serving: Serving) -> None:
    """Answer rank and reward over HTTP until stopped.

    It is larder serve with LARDER_DECISIONS=only: ready without lists, and it has none. Bodies may
    have 10 MB, for models that are brought, unless LARDER_MAX_BODY_BYTES says otherwise. It needs
    pip install '.[decisions]' in Larder's folder.
    """
    from batch.command.serve import become

    most = os.environ.get("LARDER_MAX_BODY_BYTES", "10485760")
    become(cache, serving, LARDER_DECISIONS="only", LARDER_MAX_BODY_BYTES=most)


@decisions.command()
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@cache_options
@option("--folder", type=PATH, default="larder-decisions", help="Where all that stays is kept.")
@option("--bind", default="127.0.0.1:5000", help="The address and port of the API.")
@option("--workers", type=click.IntRange(1, 256), default=2, help="Processes that answer.")
@auth_option
def up(
    settings: tuple[str, ...],
    cache: CacheOptions,
    folder: Path,
    bind: str,
    workers: int,
    auth: str,
) -> None:
    """Start a cache, the trainer and the API of decisions, until Ctrl-C.

    NAME=VALUE are the arguments of the container that this takes the place of. Eula, Billing and
    ApiKey belong together; callers then need the key. The others are said to change nothing. It
    needs pip install '.[decisions-up]' in Larder's folder.

    \b
    larder decisions up Eula=accept Billing=any ApiKey=<a text of 16 characters or more>
    """
    from batch.command.decisions import container

    told = container.read(settings)
    auth = keys.ON if told.api_key else auth
    if problem := keys.problem_of(auth, bind):
        raise BadSettings(problem)
    from batch.command.decisions import up as stack
    from batch.command.up import Stack

    given = {
        "LARDER_CACHE_URL": cache.url,
        "LARDER_NAMESPACE": cache.namespace.name,
        "LARDER_AUTH": auth,
        "OPENBLAS_NUM_THREADS": "1",
    }
    stack.run(Stack(folder, cache, bind, workers, {**os.environ, **given}), told)
