"""The subcommands about what users do: export, tail, status."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path

import click

from app.contracts.events import Entry, Event, Streams
from app.contracts.generations import BrokenRecord
from batch.command.options import CacheOptions
from batch.command.output.bars import for_this_terminal
from batch.events.export import Exported
from batch.events.export import export as run
from batch.events.folder import text
from batch.events.stream import Stream
from batch.generations.connect import Client, connect
from batch.generations.server import warn_of_eviction

_LAST = 10
_EVICTION = "the events' server may throw away events, and what users did"


def client_of(cache: CacheOptions, url: str) -> Client:
    """A client of the server that has the events."""
    return connect(url or cache.url, option="--events-url" if url else "--cache-url")


def export(folder: Path, cache: CacheOptions, url: str, take_over: bool) -> None:
    """Move what is in the stream into files."""
    click.echo(_told(folder, _exported(folder, client_of(cache, url), cache, take_over)))


def export_first(folder: Path, client: Client, cache: CacheOptions, url: str) -> None:
    """The same before a refresh; client: of the cache."""
    server = client_of(cache, url) if url else client
    click.echo(_told(folder, _exported(folder, server, cache, take_over=False)))


def _exported(folder: Path, client: Client, cache: CacheOptions, take_over: bool) -> Exported:
    warn_of_eviction(client, _EVICTION)
    name, progress = cache.namespace.name, for_this_terminal()
    waiting = Stream(client, Streams(name)).state().pending
    with progress.step("export", waiting, "events") as advance:
        return run(client, name, folder, take_over=take_over, advance=advance)


def _told(folder: Path, done: Exported) -> str:
    text = f"exported {done.events:,} events to {folder}"
    if done.files:
        text += f" in {done.files:,} file(s)"
    if done.events:
        text += f", {done.bytes / done.events:.1f} bytes an event"
    if done.rejects:
        text += f"; {done.rejects:,} entries are no events: {folder}/_rejects has them"
    if done.deleted:
        text += f"; took {done.deleted:,} deleted user(s) out of its files"
    return text


def tail(cache: CacheOptions, url: str, count: int | None) -> None:
    """Print entries as they come."""
    for entry in islice(
        _entries(Stream(client_of(cache, url), Streams(cache.namespace.name))), count
    ):
        click.echo(_line(entry))


def _entries(stream: Stream) -> Iterator[Entry]:
    last = stream.newest(_LAST)
    return chain(last, stream.follow(last[-1][0].decode() if last else ""))


def _line(entry: Entry) -> str:
    stream_id, told = entry
    try:
        event = Event.decode(told)
        said = {**event.encode(), **({"items": event.items} if event.items else {})}
    except BrokenRecord:
        said = {text(name): text(value) for name, value in told.items()}
    return json.dumps({"stream_id": stream_id.decode(), **said}, ensure_ascii=False)


def status(cache: CacheOptions, url: str, as_json: bool) -> None:
    """Say how long the stream is and how fast it grows."""
    client = client_of(cache, url)
    warn_of_eviction(client, _EVICTION)
    found = Stream(client, Streams(cache.namespace.name)).state()
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(
        f"{found.length:,} events in the stream of namespace {cache.namespace.name!r}, "
        f"{found.pending:,} of them in no file yet; "
        f"{found.rate:,.1f} a second over the last minute\n"
        f"oldest {found.oldest or '-'}, newest {found.newest or '-'}, "
        f"in files up to {found.until or '-'}"
    )
