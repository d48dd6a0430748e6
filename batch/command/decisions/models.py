"""The subcommands about models of decisions, published or brought: they learn nothing."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from app.contracts.decisions import Decisions, Manifest, Policy
from app.contracts.refreshes import DECISIONS_ROLLBACK
from batch.command import published
from batch.command.options import CacheOptions
from batch.command.output.table import table
from batch.decisions import imported
from batch.decisions.contents import read_model
from batch.decisions.desk import Desk
from batch.generations.connect import connect

NOUN = "model"


def tell(cache: CacheOptions, as_json: bool) -> None:
    """List the models."""
    published.tell_of(cache, space_of(cache), _told, listing, as_json)


def space_of(cache: CacheOptions) -> Decisions:
    """The decisions of a namespace."""
    return Decisions(cache.namespace.name)


def _told(manifest: Manifest) -> dict[str, Any]:
    names = ("generation", "state", "policy", "arguments", "events", "position", "bytes", "vowpal")
    told = {name: getattr(manifest, name) for name in names}
    return {**told, "reward": manifest.measured("reward"), "published_at": manifest.published_at}


def listing(manifests: Iterable[Manifest], live: str | None) -> str:
    """The models of a namespace, the newest first."""
    rows = []
    for each in published.newest_first(manifests):
        state = "live" if each.generation == live else each.state
        head = [each.generation, state, each.policy, f"{each.events:,}"]
        rows.append([*head, f"{each.measured('events') or 0:,.0f}", _reward(each)])
    return table(["model", "state", "policy", "learned", "new", "reward"], rows)


def _reward(manifest: Manifest) -> str:
    reward = manifest.measured("reward")
    return "-" if reward is None else f"{reward:.4f}"


def roll_back(generation: str | None, cache: CacheOptions) -> None:
    """Point at that model, or at the one before the live one, and put its policy in force."""
    space = space_of(cache)
    found = published.roll_back_of(cache, space, generation, DECISIONS_ROLLBACK)
    if Desk(connect(cache.url), space).use(Policy(found.policy, found.arguments)):
        click.echo(f"its policy, {found.policy!r}, is in force again")


def show(name: str | None, cache: CacheOptions, as_json: bool) -> None:
    """Say what is known of a model."""
    published.show_of(cache, space_of(cache), NOUN, name, described, as_json)
    guard = Desk(connect(cache.url), space_of(cache)).guard()
    if guard and not as_json:
        click.echo(f"the guard, {guard['at']}: {guard['why']}")


def described(manifest: Manifest) -> str:
    """All that people want to know of a model."""
    told = manifest.settings
    lines = [
        f"{manifest.generation} ({manifest.state}), published {manifest.published_at}",
        f"{manifest.policy}: {manifest.arguments}",
        f"learned {manifest.events:,} decisions until {manifest.position or 'nothing'}; rewards "
        f"within {told.get('wait_ms', 0) / 1000:g} s, {told.get('aggregation')}, without any "
        f"{told.get('default_reward', 0):g}",
        f"{manifest.bytes:,} bytes by Vowpal Wabbit {manifest.vowpal}",
    ]
    history = manifest.metrics.get("history", [])
    rows = [
        [e["at"], f"{e['events']:,}", f"{e.get('reward', 0):.4f}"] for e in history if e["events"]
    ]
    if rows:
        lines += ["", table(["published", "learned", "reward"], rows)]
    return "\n".join(lines)


def bring(file: Path, cache: CacheOptions) -> None:
    """Check a model that was made elsewhere, and order the trainer to publish it."""
    found = imported.read(file)
    desk = Desk(connect(cache.url), space_of(cache))
    desk.bring(found.model, f"larder decisions import {file.name}")
    click.echo(
        f"the trainer publishes the model of {file} next ({len(found.model):,} bytes, Vowpal "
        f"Wabbit {found.vowpal}, {found.arguments})"
    )
    if found.signed:
        click.echo("its signature was not looked at: nobody can say any more whose it is")


def export(file: Path, name: str | None, cache: CacheOptions) -> None:
    """Write a model into a file, as it is."""
    client, space = connect(cache.url), space_of(cache)
    manifest = published.manifest_of(client, space, NOUN, name)
    file.write_bytes(read_model(client, space, manifest))
    click.echo(f"wrote {file}: model {manifest.generation} of {manifest.events:,} decisions")
