"""The subcommands about click models that are published: they train nothing."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from app.contracts.clicks import Clicks, Manifest
from app.contracts.refreshes import MODEL_ROLLBACK
from batch.clicks.terms import told_of
from batch.command import published
from batch.command.options import CacheOptions
from batch.command.output.table import table
from batch.generations.connect import connect

NOUN = "click model"
NAMES = {
    "auc": "AUC",
    "log_loss": "log loss",
    "ne": "normalised entropy",
    "ece": "calibration error",
    "ratio": "mean prediction / CTR",
    "lift1": "lift at 1 %",
    "lift5": "lift at 5 %",
}
"""What metrics are called on a terminal."""


def tell(cache: CacheOptions, as_json: bool) -> None:
    """List the models."""
    published.tell_of(cache, space_of(cache), _told, listing, as_json)


def space_of(cache: CacheOptions) -> Clicks:
    """The click models of a namespace."""
    return Clicks(cache.namespace.name)


def _told(manifest: Manifest) -> dict[str, Any]:
    names = ("generation", "state", "rows", "clicks", "label", "trees", "members", "users")
    told = {name: getattr(manifest, name) for name in names}
    told |= {name: manifest.measured(name) for name in ("auc", "ne", "ratio")}
    ends = ("forced", "lightgbm", "started_at", "published_at")
    return {**told, "columns": len(manifest.columns)} | {n: getattr(manifest, n) for n in ends}


def listing(manifests: Iterable[Manifest], live: str | None) -> str:
    """The models of a namespace, the newest first."""
    rows = []
    for each in published.newest_first(manifests):
        measured = (each.measured(name) for name in ("auc", "ne", "ratio"))
        rows.append(
            [
                each.generation,
                "live" if each.generation == live else each.state,
                *(f"{each.rows:,}", f"{len(each.columns)}", f"{each.trees:,}"),
                *("-" if value is None else f"{value:.4f}" for value in measured),
                "imported" if "imported" in each.settings else "yes" if each.forced else "no",
            ]
        )
    head = ["model", "state", "rows", "columns", "trees", "AUC", "NE", "mean/CTR", "forced"]
    return table(head, rows)


def roll_back(generation: str | None, cache: CacheOptions) -> None:
    """Point at that model, or at the one before the live one."""
    space = space_of(cache)
    if generation is None:  # says what to do where none is live
        published.manifest_of(connect(cache.url), space, NOUN, None)
    published.roll_back_of(cache, space, generation, MODEL_ROLLBACK)


def show(name: str | None, cache: CacheOptions, as_json: bool) -> None:
    """Say what is known of a model."""
    published.show_of(cache, space_of(cache), NOUN, name, described, as_json)


def described(manifest: Manifest) -> str:
    """All that people want to know of a model."""
    forced = ", forced" * manifest.forced
    lines = [
        f"{manifest.generation} ({manifest.state}{forced}), published {manifest.published_at}",
        f"{manifest.clicks:,} clicks of {manifest.rows:,} rows by {manifest.label!r}, of rows "
        f"without a click {manifest.negatives_kept:.2%} were there; {manifest.users:,} users",
        f"{manifest.trees:,} trees of LightGBM {manifest.lightgbm}, members: "
        f"{', '.join(manifest.members)}; {manifest.body_bytes / 1e6:,.1f} MB",
        "",
        _metrics(manifest.metrics),
        "",
        table(["column", "kind", "importance"], _columns(manifest)),
        "",
        ", ".join(f"{name} {value}" for name, value in told_of(manifest.settings).items()),
    ]
    return "\n".join(lines)


def _metrics(metrics: dict[str, Any]) -> str:
    if not metrics.get("model"):
        return "it was not judged"
    model, beside = metrics["model"], metrics.get("beside_live")
    found = {"model": model, "live then": metrics.get("live")}
    found["model on its rows"] = beside if beside != model else None
    known = {name: each for name, each in found.items() if each}
    rows = [
        [said, *(f"{each[name]:.6g}" for each in known.values())]
        for name, said in (NAMES | {"rows": "rows", "clicks": "clicks"}).items()
        if name in model
    ]
    return table(["", *known], rows)


def _columns(manifest: Manifest) -> Iterable[list[str]]:
    importance = manifest.metrics.get("importance", {})
    columns = sorted(manifest.typed_columns, key=lambda each: -importance.get(each.name, 0.0))
    return [[each.name, each.kind, f"{importance.get(each.name, 0.0):.2%}"] for each in columns]


def export(folder: Path, name: str | None, cache: CacheOptions) -> None:
    """Write a model into plain files."""
    from batch.clicks import export
    from batch.clicks.contents import read_model, read_users

    client, space = connect(cache.url), space_of(cache)
    manifest = published.manifest_of(client, space, NOUN, name)
    users = dict(read_users(client, space, manifest))
    found = export.Exported(manifest, read_model(client, space, manifest), users)
    for path in export.write(folder, found):
        click.echo(f"wrote {path}")


def import_(folder: Path, keep: int, cache: CacheOptions) -> None:
    """Publish a model from plain files, which no gate has judged here."""
    from batch.clicks.contents import Contents
    from batch.clicks.export import read
    from batch.clicks.pipeline import manifest_of
    from batch.generations.publish import turn

    found, space = read(folder), space_of(cache)
    with turn(connect(cache.url), space, keep) as ours:
        contents = Contents(space, found.model.sections(), found.users)
        settings = {**found.manifest.settings, "imported": found.manifest.generation}
        name = ours.generations.next_name(ours.started)
        made = manifest_of(name, ours.started, found.model, len(found.users), settings)
        told = ("rows", "clicks", "label", "metrics", "fingerprint", "lightgbm")
        manifest = replace(made, **{name: getattr(found.manifest, name) for name in told})
        done = ours.publish(replace(manifest, forced=True), contents, lambda done: None)
    click.echo(
        f"published click model {done.generation}, imported from {folder}; nothing judged it"
    )
