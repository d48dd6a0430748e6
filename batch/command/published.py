"""The subcommands about what is published: they need the cache, and no model library."""

from collections.abc import Iterable

import click

from app.contracts.recommendations import Manifest
from batch.command.options import CacheOptions
from batch.command.table import table
from batch.generations.connect import connect
from batch.generations.lock import hold
from batch.generations.registry import Generations


def tell(cache: CacheOptions) -> None:
    """List the generations."""
    known = Generations(connect(cache.url), cache.namespace)
    if manifests := known.all():
        click.echo(listing(manifests, known.live()))
    else:
        click.echo(f"nothing is published in namespace {cache.namespace.name!r}")


def listing(manifests: Iterable[Manifest], live: str | None) -> str:
    """The generations of a namespace, the newest first."""
    rows = []
    for each in sorted(manifests, key=lambda manifest: manifest.generation, reverse=True):
        ndcg = each.measured("ndcg")
        rows.append(
            [
                each.generation,
                "live" if each.generation == live else each.state,
                f"{each.users:,}",
                f"{each.items:,}",
                str(each.k),
                f"{ndcg:.4f}" if ndcg is not None else "-",
                "yes" if each.forced else "no",
            ]
        )
    return table(["generation", "state", "users", "items", "k", "nDCG", "forced"], rows)


def roll_back(generation: str | None, cache: CacheOptions) -> None:
    """Point at that generation, or at the one before the live one."""
    manifest = Generations(connect(cache.url), cache.namespace).roll_back(generation)
    click.echo(f"live is {manifest.generation}; the API follows within two seconds")


def prune(cache: CacheOptions, keep: int) -> None:
    """Delete what is old or unfinished."""
    client = connect(cache.url)
    with hold(client, cache.namespace):
        deleted = Generations(client, cache.namespace).prune(keep)
    click.echo(f"deleted {', '.join(deleted) or 'nothing'}")
