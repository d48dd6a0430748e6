"""``larder rules``: put rules in force, try them, look at them, go back."""

import getpass
import json
import socket
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from app.contracts.generations import BrokenRecord
from app.contracts.rules import (
    KEPT_VERSIONS,
    MAX_RULES_BYTES,
    BadRules,
    Version,
    kept_numbers,
    loads,
    readable,
    rules_key,
)
from batch.command.options import CacheOptions
from batch.command.output.table import table
from batch.errors import BadSettings, CacheUnavailable, Overtaken, UnknownVersion
from batch.generations.connect import connect, errors_of_keys
from batch.generations.registry import Generations

_API_SECONDS = 60.0
_OR_WITHOUT = "; set that higher where the API runs, or check without --api"
_FOLLOWS = "the API follows within its LARDER_WATCH_INTERVAL_MS"


def put(path: Path, note: str, cache: CacheOptions) -> None:
    """Put the rules of a file in force."""
    _publish(_checked(path, cache), note, cache)


def check(path: Path, cache: CacheOptions, api: str, api_key: str, as_json: bool) -> None:
    """Say whether the rules of a file can be put in force, and with an API what they change."""
    rules = _checked(path, cache)
    if not api:
        click.echo(f"{path}: these rules can be put in force in {cache.namespace.name!r}")
        return
    told = _tried(api, api_key, json.dumps(rules).encode())
    click.echo(json.dumps(told) if as_json else _changes(told))


def show(number: int | None, cache: CacheOptions, as_json: bool) -> None:
    """Print the rules in force, or those of a version."""
    version = _read(cache, number)
    if as_json:
        click.echo(json.dumps(version.head | {"rules": version.rules}))
        return
    head = f"# version {version.number} of {version.at or 'the beginning'}"
    click.echo(" ".join([head, version.by, version.note]).strip(), err=True)
    click.echo(json.dumps(version.rules, indent=2))


def history(cache: CacheOptions, as_json: bool) -> None:
    """List the versions that are kept, the newest first."""
    client, key = connect(cache.url), rules_key(cache.namespace.name)
    with errors_of_keys("the cache", key):
        texts = client.hgetall(key)
    numbers = kept_numbers(len(texts))
    versions = list(readable(numbers, (texts.get(b"%d" % number) for number in numbers)))
    if as_json:
        told = [each.head for each in versions]
        click.echo(json.dumps({"namespace": cache.namespace.name, "versions": told}))
    elif versions:
        rows = [[str(each.number), each.at, each.by, each.note] for each in versions]
        click.echo(table(["version", "at", "by", "note"], rows))
    else:
        click.echo(f"there are no rules in namespace {cache.namespace.name!r}")


def roll_back(number: int, cache: CacheOptions) -> None:
    """Put the rules of an earlier version in force again; 0 is that without any."""
    version = _read(cache, number)
    _publish(version.rules, f"rolled back to version {number}", cache)


def _checked(path: Path, cache: CacheOptions) -> dict[str, Any]:
    """The rules of a file, which the live generation can follow, if there is one."""
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            text = file.read(MAX_RULES_BYTES + 1)
        manifest = Generations(connect(cache.url), cache.namespace).live_manifest()
        return loads(text, manifest.filter_columns if manifest else None)
    except BadRules as error:
        raise BadSettings(f"{path}: {error}") from error


def _publish(rules: dict[str, Any], note: str, cache: CacheOptions) -> None:
    client, key = connect(cache.url), rules_key(cache.namespace.name)
    with errors_of_keys("the cache", key):
        try:
            version = Version.after(client.hlen(key), datetime.now(UTC), _who(), note, rules)
        except BadRules as error:
            raise BadSettings(f"--{error}") from error
        if not client.hsetnx(key, str(version.number), version.to_json()):
            raise Overtaken(
                f"another writer put version {version.number} in force first: look at it with "
                f"'larder rules show', then try again"
            )
        if (old := version.number - KEPT_VERSIONS) > 0:
            client.hset(key, str(old), "")
    click.echo(f"version {version.number} is in force; {_FOLLOWS}")


def _read(cache: CacheOptions, number: int | None) -> Version:
    """That version, or the one in force. Raises UnknownVersion."""
    client, key = connect(cache.url), rules_key(cache.namespace.name)
    with errors_of_keys("the cache", key):
        wanted = client.hlen(key) if number is None else number
        text = client.hget(key, str(wanted))
    try:
        return Version.from_json(wanted, text)
    except BrokenRecord as error:
        raise UnknownVersion(f"{error}: 'larder rules history' lists those that are") from error


def _who() -> str:
    try:
        return f"{getpass.getuser()} at {socket.gethostname()}"
    except (KeyError, OSError):  # a pod's user may have no name
        return socket.gethostname()


def _tried(api: str, api_key: str, body: bytes) -> dict[str, Any]:
    """What the API says of rules that it does not put in force."""
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": api_key} if api_key else {})
    url = f"{api.rstrip('/')}/rules/check"
    if not url.startswith(("http://", "https://")):
        raise BadSettings(f"--api must be a URL such as http://127.0.0.1:8000, not {api!r}")
    try:
        asked = urllib.request.Request(url, body, headers, method="POST")
        with urllib.request.urlopen(asked, timeout=_API_SECONDS) as response:
            told: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        kind = CacheUnavailable if error.code >= 500 else BadSettings
        more = _OR_WITHOUT if error.code == 413 else ""
        raise kind(f"{url} answered {error.code}: {_detail(error)}{more}") from error
    except (OSError, ValueError) as error:
        raise CacheUnavailable(f"{url} does not answer as the API does: {error}") from error
    return told


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return error.reason


def _changes(told: dict[str, Any]) -> str:
    lines = [f"{told['changed']} of {told['users']} users of the sample get another list"]
    for each in told["examples"]:
        moved = [f"{move['item']} {move['from']}->{move['to']}" for move in each["moved"]]
        parts = ("entered", each["entered"]), ("left", each["left"]), ("moved", moved)
        told_of = "; ".join(f"{name}: {', '.join(items)}" for name, items in parts if items)
        lines.append(f"  {each['user']}: {told_of}")
    return "\n".join([*lines, *(f"left out: {sentence}" for sentence in told["ignored"])])
