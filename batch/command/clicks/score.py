"""``larder clicks score``: a table in bulk, by the live model or an exported one."""

from collections.abc import Sequence
from pathlib import Path

import click

from app.contracts.generations import BrokenRecord
from batch.clicks import bulk, export
from batch.clicks.contents import read_model
from batch.clicks.examples.layout import Reading
from batch.clicks.examples.read import read_for
from batch.clicks.model import Model
from batch.clicks.terms import Cluster
from batch.command.clicks.models import NOUN, space_of
from batch.command.options import CacheOptions
from batch.command.output.bars import for_this_terminal
from batch.command.published import manifest_of
from batch.errors import UnknownGeneration
from batch.generations.connect import connect
from batch.interactions.sources.files import keep as keep_inputs
from batch.spark import java


def score(
    rows: Path,
    out: Path,
    reading: Reading,
    keep: Sequence[str],
    cache: CacheOptions,
    exported: Path | None = None,
) -> None:
    """Read the live model, or one of files, and the rows; write what it says of them."""
    bulk.check(out, keep)
    rejects = reading.texts.rejects_file
    keep_inputs([rows], [("--rejects", rejects), ("OUT", out)])
    name, model = model_of(exported, cache)
    with read_for([rows], reading, model.columns, rejects, keep) as found:
        with for_this_terminal().step("score", found.rows, "rows") as advance:
            bulk.score(found.connection, found.columns, model, advance)
        bulk.write(found, out, keep)
        rejected = sum(found.report.rejected.values())
        click.echo(f"wrote {found.rows:,} scores by {name} to {out}; {rejected:,} rows rejected")


def on_cluster(
    uri: str,
    out: str,
    reading: Reading,
    keep: Sequence[str],
    cluster: Cluster,
    cache: CacheOptions,
    exported: Path | None = None,
) -> None:
    """Let Spark read the rows, and write a folder of what the model says of them."""
    name, model = model_of(exported, cache)
    java.require()
    from batch.clicks.cluster import platform

    report = platform.score(uri, out, reading, keep, model, cluster)
    rejected = sum(report.rejected.values())
    click.echo(f"wrote {report.good:,} scores by {name} to {out}; {rejected:,} rows rejected")


def model_of(exported: Path | None, cache: CacheOptions) -> tuple[str, Model]:
    """The model that a folder holds, or the live one, and its name."""
    if exported is not None:
        found = export.read(exported)
        return found.manifest.generation, found.model
    client, space = connect(cache.url), space_of(cache)
    manifest = manifest_of(client, space, NOUN, None)
    try:
        return manifest.generation, read_model(client, space, manifest)
    except BrokenRecord as error:
        raise UnknownGeneration(f"{manifest.generation} cannot be read: {error}") from error
