"""The subcommands that read whole generations: export, compare."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from batch.command.bars import for_this_terminal
from batch.command.options import CacheOptions
from batch.command.table import table
from batch.generations.connect import connect
from batch.interactions.reading import Reading
from batch.recommendations.published import compare as comparing
from batch.recommendations.published import export as exporting
from batch.recommendations.published.compare import Change, Comparison
from batch.recommendations.published.export import Exported
from batch.recommendations.published.read import manifest_before, manifest_of
from batch.recommendations.published.wish import Wish

log = logging.getLogger("larder.export")


def export(folder: Path, wish: Wish, reading: Reading, cache: CacheOptions, as_json: bool) -> None:
    """Write lists into files, and say what is in them and what is not."""
    client = connect(cache.url)
    manifest = manifest_of(client, cache.namespace, wish.generation)
    with for_this_terminal().step("export", manifest.users, "users") as advance:
        done = exporting.export(client, cache.namespace, manifest, folder, wish, reading, advance)
    if done.unnamed:
        log.warning("left out %s users: no file of --users has their ids", f"{done.unnamed:,}")
    click.echo(json.dumps(asdict(done), ensure_ascii=False) if as_json else _exported(done))


def _exported(done: Exported) -> str:
    similar = f", and similar items of {done.similar:,} items" if done.similar else ""
    lines = [
        f"exported the lists of {done.users:,} users from generation {done.generation}{similar}",
        f"{done.popular:,} of the users get what is popular, {done.exhausted:,} more have had all",
        *done.files,
    ]
    return "\n".join(lines)


def compare(before: str | None, after: str | None, cache: CacheOptions, as_json: bool) -> None:
    """Say what changed from one generation to another."""
    client, space = connect(cache.url), cache.namespace
    new = manifest_of(client, space, after)
    old = manifest_of(client, space, before) if before else manifest_before(client, space, new)
    with for_this_terminal().step("compare", old.users + new.users, "lists") as advance:
        found = comparing.compare(client, space, old, new, advance)
    click.echo(_as_json(found) if as_json else "\n".join(_compared(found)))


def _as_json(found: Comparison) -> str:
    told = asdict(found)
    for name in ("top_entered", "top_left"):
        told[name] = [{"item": item, "lists": lists} for item, lists in told[name]]
    return json.dumps(told, ensure_ascii=False)


def _compared(found: Comparison) -> Iterator[str]:
    yield f"from generation {found.before} to {found.after}, the first {found.k} of each list"
    yield _changes({"users": found.users, "items": found.items, "items in lists": found.listed})
    if found.overlap is not None:
        yield (
            f"users in both: {found.overlap:.1%} of a list is the same on average; "
            f"{found.changed:.1%} of lists, {found.first_changed:.1%} of first items changed"
        )
    yield from _top("entered", found.top_entered)
    yield from _top("left", found.top_left)
    pairs = {name: [f"{was:.4f}", f"{now:.4f}"] for name, (was, now) in found.metrics.items()}
    pairs |= {name: list(map(json.dumps, both)) for name, both in found.settings.items()}
    if pairs:
        yield table(["", "before", "after"], ([name, *both] for name, both in pairs.items()))


def _changes(changes: dict[str, Change]) -> str:
    rows = ((name, each.both, each.entered, each.left) for name, each in changes.items())
    return table(
        ["", "in both", "entered", "left"],
        ([name, *(f"{count:,}" for count in counts)] for name, *counts in rows),
    )


def _top(what: str, items: Sequence[tuple[str, int]]) -> Iterable[str]:
    if items:
        told = ", ".join(f"{item!r} ({lists:,})" for item, lists in items)
        yield f"items that {what} the lists, by how many they are in: {told}"
