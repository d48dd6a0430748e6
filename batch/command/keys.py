"""``larder key``: make, list and revoke the keys that the API asks its callers for."""

import json
import re
import secrets
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from app.contracts.generations import BrokenRecord
from app.contracts.keys import (
    MARK,
    MAX_NOTE,
    SCOPES,
    Key,
    digest,
    foreign_id,
    id_of,
    is_id,
    keys_key,
    new_key,
)
from batch.command.options import CacheOptions
from batch.command.output.table import table
from batch.errors import BadSettings, UnknownKey
from batch.generations.connect import cache_errors, connect

_SECONDS = {"d": 86_400, "h": 3600, "m": 60}


def add(scope: str, expires: str | None, note: str, cache: CacheOptions) -> None:
    """Make a key and print it, and nothing else, on stdout."""
    text = new_key(secrets.token_bytes)
    what = _keep(str(id_of(text)), text, scope, expires, note, cache)
    click.echo(f"{what}. It is shown this once:", err=True)
    click.echo(text)


def add_foreign(
    path: Path, scope: str, expires: str | None, note: str, cache: CacheOptions
) -> None:
    """Let in who has the key of a file, and print its id, and nothing else, on stdout."""
    try:
        text = (sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")).strip()
    except UnicodeDecodeError:
        text = ""
    name, what = adopt(text, scope, expires, note, cache)
    click.echo(what, err=True)
    click.echo(name)


def adopt(
    text: str, scope: str, expires: str | None, note: str, cache: CacheOptions
) -> tuple[str, str]:
    """Make any text a key; returns its id and a sentence. Raises BadSettings, without the text."""
    name = foreign_id(text)
    if name is None:
        raise BadSettings(
            "a key from elsewhere must be 16 to 256 ASCII characters without spaces, and nobody "
            "may be able to guess it"
        )
    return name, _keep(name, text, scope, expires, note, cache)


def supersede(text: str, scope: str, note: str, cache: CacheOptions) -> list[str]:
    """Make any text the one key of a note; returns the ids of those that it replaces.

    Raises BadSettings, without the text.
    """
    name, _ = adopt(text, scope, None, note, cache)
    others = [each for each, key in _all(cache).items() if key.note == note and each != name]
    if others:
        client = connect(cache.url)
        with cache_errors():
            client.hdel(keys_key(cache.namespace.name), *others)
    return others


def _keep(
    name: str, text: str, scope: str, expires: str | None, note: str, cache: CacheOptions
) -> str:
    """Write the record of a key, and say what it may do."""
    now = int(time.time())
    scopes = _scopes(scope)
    if len(note) > MAX_NOTE or not note.isprintable():
        raise BadSettings(f"--note must be one line of at most {MAX_NOTE} characters")
    until = now + _duration_seconds(expires) if expires else 0
    client = connect(cache.url)
    with cache_errors():
        record = Key(digest(text), scopes, until, note, now).encode()
        client.hset(keys_key(cache.namespace.name), mapping={MARK: "", name: record})
    holds = f"until {_moment(until)}" if until else "until it is revoked"
    return f"key {name} of {cache.namespace.name!r} has scope {', '.join(scopes)}, {holds}"


def tell(cache: CacheOptions, as_json: bool) -> None:
    """List the keys, the newest first, without what would let anybody in."""
    now, known = time.time(), _all(cache)
    if as_json:
        told = [_told(name, known[name], now) for name in known]
        click.echo(json.dumps({"namespace": cache.namespace.name, "keys": told}))
    elif known:
        head = ["id", "scopes", "created", "expires", "note"]
        click.echo(table(head, [_row(name, known[name], now) for name in known]))
    else:
        click.echo(f"there is no key in namespace {cache.namespace.name!r}")


def revoke(name: str, cache: CacheOptions) -> None:
    """Let nobody in with that key any more. Raises UnknownKey."""
    name = id_of(name) or name
    if not is_id(name):
        raise BadSettings("ID must be the eight characters that larder key list shows of a key")
    client = connect(cache.url)
    with cache_errors():
        revoked = client.hdel(keys_key(cache.namespace.name), name)
    if not revoked:
        raise UnknownKey(f"namespace {cache.namespace.name!r} holds no key {name}")
    click.echo(f"revoked {name}; the API follows within its LARDER_WATCH_INTERVAL_MS")


def _all(cache: CacheOptions) -> Mapping[str, Key]:
    """By id, the newest first. Raises BrokenRecord."""
    client = connect(cache.url)
    with cache_errors():
        records = client.hgetall(keys_key(cache.namespace.name))
    found = []
    for name, record in records.items():
        if name == MARK:
            continue
        try:
            found.append((name.decode(), Key.decode(record)))
        except (BrokenRecord, UnicodeDecodeError) as error:
            raise BrokenRecord(f"{error}; 'larder key revoke' removes it: {name!r}") from error
    return dict(sorted(found, key=lambda each: -each[1].created))


def _scopes(text: str) -> tuple[str, ...]:
    given = {each.strip() for each in text.split(",")}
    if not given <= set(SCOPES):
        raise BadSettings(f"--scope must be one or more of {','.join(SCOPES)}, not {text!r}")
    return tuple(each for each in SCOPES if each in given)


def _duration_seconds(text: str) -> int:
    found = re.fullmatch("([1-9][0-9]{0,4})([dhm])", text, re.ASCII)
    if not found:
        raise BadSettings(f"--expires must be a time such as 90d, 12h or 30m, not {text!r}")
    return int(found[1]) * _SECONDS[found[2]]


def _row(name: str, key: Key, now: float) -> list[str]:
    until = _moment(key.expires) if key.expires else "never"
    past = " (over)" * key.has_expired(now)
    return [name, ",".join(key.scopes), _moment(key.created), until + past, key.note]


def _told(name: str, key: Key, now: float) -> dict[str, object]:
    return {
        "id": name,
        "scopes": key.scopes,
        "created": _moment(key.created),
        "expires": _moment(key.expires) if key.expires else None,
        "expired": key.has_expired(now),
        "note": key.note,
    }


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
