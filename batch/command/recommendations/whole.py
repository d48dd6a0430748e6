"""The subcommands that read whole generations: export, compare."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import click

from batch.command.options import CacheOptions
from batch.command.output.bars import for_this_terminal
from batch.command.output.table import table
from batch.generations.connect import connect
from batch.interactions.reading import Reading
from batch.recommendations.published import compare as comparing
from batch.recommendations.published import export as exporting
from batch.recommendations.published.compare import Comparison
from batch.recommendations.published.read import Reader, manifest_before, manifest_of
from batch.recommendations.published.wish import Wish

log = logging.getLogger("larder.export")


def export(folder: Path, wish: Wish, how: Reading, cache: CacheOptions, as_json: bool) -> None:
    """Write lists into files, and say what is in them and what is not."""
    client, space = connect(cache.url), cache.namespace
    manifest = manifest_of(client, space, wish.generation)
    reader = Reader(client, space, manifest, min(wish.k or manifest.k, manifest.k))
    with for_this_terminal().step("export", manifest.users, "users") as advance:
        done = exporting.export(reader, folder, wish, how, advance)
    if done.unnamed:
        log.warning("left out %s users: no file of --users has their ids", f"{done.unnamed:,}")
    if as_json:
        told = {"generation": manifest.generation, "k": reader.k, **asdict(done)}
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    click.echo(
        f"exported lists of {done.users:,} users, {done.popular:,} of which are what is popular, "
        f"and of {done.similar:,} items, from generation {manifest.generation}"
    )
    click.echo("\n".join(done.files))


def compare(before: str | None, after: str | None, cache: CacheOptions, as_json: bool) -> None:
    """Say what changed from one generation to another."""
    client, space = connect(cache.url), cache.namespace
    new = manifest_of(client, space, after)
    old = manifest_of(client, space, before) if before else manifest_before(client, space, new)
    readers = [Reader(client, space, each, min(old.k, new.k)) for each in (old, new)]
    with for_this_terminal().step("compare", old.users + new.users, "lists") as advance:
        found = comparing.compare(readers[0], readers[1], advance)
    told = {
        "namespace": space.name,
        "before": old.generation,
        "after": new.generation,
        "k": readers[0].k,
        **asdict(found),
        "metrics": comparing.metrics(old, new),
        "settings": comparing.settings(old, new),
    }
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else "\n".join(_text(told, found)))


def _text(told: dict[str, Any], found: Comparison) -> Iterator[str]:
    yield f"from generation {told['before']} to {told['after']}, the first {told['k']} of each list"
    changes = {"users": found.users, "items": found.items, "items in lists": found.listed}
    yield table(
        ["", "in both", "entered", "left"],
        ([name, *(f"{count:,}" for count in astuple(each))] for name, each in changes.items()),
    )
    if found.overlap is not None:
        yield (
            f"users in both: {found.overlap:.1%} of a list is the same on average; "
            f"{found.changed:.1%} of lists, {found.first_changed:.1%} of first items changed"
        )
    for what, items in (("entered", found.top_entered), ("left", found.top_left)):
        lists = ", ".join(f"{each.item!r} ({each.lists:,})" for each in items)
        yield f"items that {what} the lists, by how many they are in: {lists or 'none'}"
    pairs = {name: [f"{each:.4f}" for each in both] for name, both in told["metrics"].items()}
    pairs |= {name: list(map(json.dumps, both)) for name, both in told["settings"].items()}
    if pairs:
        yield table(["", "before", "after"], ([name, *both] for name, both in pairs.items()))
