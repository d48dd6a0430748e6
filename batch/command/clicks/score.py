"""``larder clicks score``: a table in bulk, by the live model."""

from collections.abc import Sequence
from pathlib import Path

import click

from app.contracts.clicks import Clicks
from app.contracts.generations import BrokenRecord
from batch.clicks import bulk
from batch.clicks.contents import read_model
from batch.clicks.layout import Reading
from batch.clicks.model import Model
from batch.clicks.read import read_for
from batch.clicks.terms import Cluster
from batch.command.bars import for_this_terminal
from batch.command.options import CacheOptions
from batch.errors import UnknownGeneration
from batch.generations.connect import connect
from batch.generations.registry import Generations
from batch.interactions.files import keep as keep_inputs
from batch.spark import java


def score(
    rows: Path, out: Path, reading: Reading, keep: Sequence[str], cache: CacheOptions
) -> None:
    """Read the model and the rows, and write what it says of them."""
    bulk.check(out, keep)
    rejects = reading.texts.rejects_file
    keep_inputs([rows], [("--rejects", rejects), ("OUT", out)])
    name, model = _live(cache)
    with read_for([rows], reading, model.columns, rejects, keep) as found:
        with for_this_terminal().step("score", found.count, "rows") as advance:
            bulk.score(found.connection, found.columns, model, advance)
        bulk.write(found.connection, out, keep)
        rejected = sum(found.report.rejected.values())
        click.echo(f"wrote {found.count:,} scores by {name} to {out}; {rejected:,} rows rejected")


def on_cluster(
    uri: str,
    out: str,
    reading: Reading,
    keep: Sequence[str],
    cluster: Cluster,
    cache: CacheOptions,
) -> None:
    """Let Spark read the rows, and write a folder of what the model says of them."""
    name, model = _live(cache)
    java.require()
    from batch.clicks.cluster import platform

    report = platform.score(uri, out, reading, keep, model, cluster)
    rejected = sum(report.rejected.values())
    good = report.rows - rejected
    click.echo(f"wrote {good:,} scores by {name} to {out}; {rejected:,} rows rejected")


def _live(cache: CacheOptions) -> tuple[str, Model]:
    client, space = connect(cache.url), Clicks(cache.namespace.name)
    manifest = Generations(client, space).live_manifest()
    if manifest is None:
        raise UnknownGeneration(
            f"no click model is live in namespace {space.name!r}: train one (larder clicks train)"
        )
    try:
        return manifest.generation, read_model(client, space, manifest)
    except BrokenRecord as error:
        raise UnknownGeneration(f"{manifest.generation} cannot be read: {error}") from error
