"""The subcommands about one user."""

import json
from pathlib import Path
from typing import Any

import click

from app.contracts.clicks import Clicks
from app.contracts.events import Streams
from batch.clicks.deletion import forget as forget_columns
from batch.command.events import client_of
from batch.command.options import CacheOptions
from batch.errors import BadSettings
from batch.events.deletion import Deleted
from batch.events.export import delete_user
from batch.generations.connect import connect
from batch.generations.lock import hold
from batch.recommendations.published.deletion import forget


def delete(user: str, cache: CacheOptions, url: str, folder: Path | None, as_json: bool) -> None:
    """Delete all that is known of a user, and say what that was and what is left to do."""
    if not user:
        raise BadSettings("USER must be the id of a user, not ''")
    client, server = connect(cache.url), client_of(cache, url)
    with hold(client, cache.namespace):
        generations = forget(client, cache.namespace, user)
    space = Clicks(cache.namespace.name)
    with hold(client, space):
        models = forget_columns(client, space, user)
    done = delete_user(server, Streams(cache.namespace.name), user, folder)
    click.echo(
        json.dumps(_object(user, generations, models, done))
        if as_json
        else _told(generations, models, done)
    )


def _object(user: str, generations: int, models: int, done: Deleted) -> dict[str, Any]:
    counts = {"events": done.events, "recents": done.recents, "files": done.files}
    return {
        "user": user,
        "deleted": {"generations": generations, "models": models, **counts},
        "pending": ["files", "sessions"] if done.pending else [],
    }


def _told(generations: int, models: int, done: Deleted) -> str:
    text = (
        f"deleted the user from {generations:,} generation(s), {models:,} click model(s), "
        f"{done.events:,} event(s), {done.recents:,} recent list(s), {done.files:,} file(s)"
    )
    if done.pending:
        text += (
            "; exported files lose the user at the next larder events export, or refresh, "
            "and so does what sessions did that only the files know to be the user's"
        )
    return text
