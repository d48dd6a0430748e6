"""``/rules``: what the owner of the namespace orders of its lists."""

from collections.abc import Container
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, current_app, request

from app.api import foreign, freshness, sources
from app.api.parameters import body, json_object, number, only
from app.contracts import keys
from app.contracts.generations import BrokenRecord
from app.contracts.rules import NONE, BadRules, Version, loads, rules_key
from app.errors import BadParameter, RulesChanged, RulesForbidden, RulesTaken, UnknownVersion
from app.recommendations.generation import Generation
from app.recommendations.rules import store

MAX_CHECKED = 200
"""Users of the sample whose lists a dry run makes."""
MAX_EXAMPLES = 20

_MOST_VERSIONS = 10**9 - 1

bp = Blueprint("rules", __name__)


@bp.get("/rules")
def in_force() -> Response:
    """The rules in force, or of a version, and what of them the live generation cannot follow."""
    generation = sources().watcher.live()
    only(request.args, ("version",))
    asked = request.args.get("version")
    return _told(generation, latest() if asked is None else version_of(asked))


@bp.get("/rules/history")
def history() -> Response:
    """The versions that are kept, the newest first."""
    only(request.args, ())
    return freshness.told({"versions": [version.head for version in kept()]})


@bp.put("/rules")
def put() -> Response:
    """Put rules in force; If-Match with the version that they replace refuses others' changes."""
    _allowed()
    generation = sources().watcher.live()
    only(request.args, ("note",))
    return _published(generation, checked(generation, body()), request.args.get("note", ""))


@bp.post("/rules/check")
def check() -> Response:
    """Whose lists of the sample would change under these rules, and how; nothing is kept."""
    generation = sources().watcher.live()
    only(request.args, ())
    return freshness.told(tried(generation, checked(generation, body())))


@bp.post("/rules/rollback")
def roll_back() -> Response:
    """Put the rules of an earlier version in force again; 0 is that without any."""
    _allowed()
    generation = sources().watcher.live()
    only(request.args, ())
    asked = json_object('{"version":3}')
    only(asked, ("version",), "member")
    if asked.get("version") is None:
        raise BadParameter('give the version to go back to, such as {"version":3}')
    version = version_of(asked["version"])
    return _published(generation, version.rules, f"rolled back to version {version.number}")


def _allowed() -> None:
    """Raises RulesForbidden; with keys on, who comes this far has one of scope rules."""
    if current_app.config["LARDER"].auth == keys.PROXY:
        raise RulesForbidden(
            "a proxy lets callers in here, and nobody can tell who may change rules: use 'larder "
            "rules set', or LARDER_AUTH=on and a key of scope rules"
        )
    site = request.headers.get("Sec-Fetch-Site")
    is_of_page = site is not None or "Origin" in request.headers  # a browser says so in any change
    if site not in (None, "same-origin") or (is_of_page and foreign.host()):
        raise RulesForbidden(
            "a page of another site may not change rules: use 'larder rules set', or a page at "
            "localhost"
        )


def _published(generation: Generation, rules: dict[str, Any], note: str) -> Response:
    seen = request.if_match if "HTTP_IF_MATCH" in request.environ else None
    return _told(generation, publish(rules, note, "the API", seen))


def publish(rules: dict[str, Any], note: str, by: str, seen: Container[str] | None) -> Version:
    """Put rules that were checked in force; by: who does, where no key says so.

    seen: versions that they may replace; None for any. Raises BadParameter, RulesChanged,
    RulesTaken and CacheUnavailable.
    """
    name = request.environ.get("larder.key")
    now = datetime.fromtimestamp(sources().answers.now(), UTC)
    client: Any
    with sources().watcher.asking() as client:
        last = client.hlen(_key())
        if seen is not None and str(last) not in seen:
            raise RulesChanged(f"version {last} is in force, not that of If-Match: GET /rules")
        try:
            version = Version.after(last, now, f"key {name}" if name else by, note, rules)
        except BadRules as error:
            raise BadParameter(str(error)) from error
        if not store.write(client, _key(), version):
            raise (RulesTaken if seen is None else RulesChanged)(
                f"another writer put version {last + 1} in force first: GET /rules, then try again"
            )
    sources().watcher.look()
    return version


def tried(generation: Generation, rules: dict[str, Any]) -> dict[str, Any]:
    """Whose lists of the sample would change under rules that were checked, and how."""
    lookup, answers = sources().lookup, sources().answers
    known = lookup.sample(generation)
    users = known[:: -(-len(known) // MAX_CHECKED) or 1]
    followed = generation.follow(replace(NONE, rules=rules))
    under = replace(generation, rules=followed)
    lists = zip(users, answers.lists(generation, users), answers.lists(under, users), strict=True)
    changed = [each for each in lists if each[1] != each[2]]
    examples = [difference(generation, *each) for each in changed[:MAX_EXAMPLES]]
    told = {"users": len(users), "changed": len(changed), "examples": examples}
    return {**told, "ignored": followed.ignored}


def checked(generation: Generation, text: str | bytes) -> dict[str, Any]:
    """Rules as JSON text, which the live generation can follow. Raises BadParameter."""
    try:
        return loads(text, generation.manifest.filter_columns)
    except BadRules as error:
        raise BadParameter(str(error)) from error


def latest() -> Version:
    """The version in force. Raises CacheUnavailable."""
    with sources().watcher.asking() as client:
        return store.latest(client, _key())


def kept() -> list[Version]:
    """Those that can be read, the newest first. Raises CacheUnavailable."""
    with sources().watcher.asking() as client:
        return store.kept(client, _key())


def version_of(asked: object) -> Version:
    """The version of that number. Raises BadParameter, UnknownVersion and CacheUnavailable."""
    wanted = number("version", asked, 0, 0, _MOST_VERSIONS)
    with sources().watcher.asking() as client:
        try:
            return store.read(client, _key(), wanted)
        except BrokenRecord as error:
            raise UnknownVersion(str(error)) from error


def _told(generation: Generation, version: Version) -> Response:
    response = freshness.told(told(generation, version))
    response.set_etag(str(version.number))
    return response


def told(generation: Generation, version: Version) -> dict[str, Any]:
    """A version, and what of it the generation cannot follow."""
    known = generation.rules
    followed = known if known.version == version else generation.follow(version)
    return {**version.head, "rules": version.rules, "ignored": followed.ignored}


def difference(
    generation: Generation, user: str, before: list[int], after: list[int]
) -> dict[str, Any]:
    """What entered a user's list, what left it and what moved, from places to places from 1."""
    names = {item: generation.id_of(item) for item in {*before, *after}}
    places = {item: place for place, item in enumerate(before, start=1)}
    return {
        "user": user,
        "entered": [names[item] for item in after if item not in places],
        "left": [names[item] for item in before if item not in after],
        "moved": [
            {"item": names[item], "from": places[item], "to": place}
            for place, item in enumerate(after, start=1)
            if item in places and places[item] != place
        ],
    }


def _key() -> str:
    return rules_key(sources().watcher.namespace.name)
