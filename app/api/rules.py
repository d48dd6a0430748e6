"""``/rules``: what the owner of the namespace orders of its lists."""

import json
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import UnsupportedMediaType

from app.api import sources
from app.api.parameters import number, only
from app.contracts import keys
from app.contracts.generations import BrokenRecord
from app.contracts.rules import MAX_NOTE, BadRules, Rules, Version, loads, rules_key
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
    version = (
        _latest() if asked is None else _version(number("version", asked, 0, 0, _MOST_VERSIONS))
    )
    return _told(generation, version)


@bp.get("/rules/history")
def history() -> Response:
    """The versions that are kept, the newest first."""
    only(request.args, ())
    with sources().lookup.asking() as client:
        versions = list(store.kept(client, _key()))
    return _answer({"versions": [_head(version) for version in versions]})


@bp.put("/rules")
def put() -> Response:
    """Put rules in force; If-Match with the version that they replace refuses others' changes."""
    _allowed()
    generation = sources().watcher.live()
    only(request.args, ("note",))
    return _publish(generation, _checked(generation), request.args.get("note", ""))


@bp.post("/rules/check")
def check() -> Response:
    """Whose lists of the sample would change under these rules, and how; nothing is kept."""
    generation = sources().watcher.live()
    only(request.args, ())
    version = Version(1, _now(), "", "", _checked(generation))
    lookup, answers = sources().lookup, sources().answers
    known = lookup.sample(generation)
    users = known[:: -(-len(known) // MAX_CHECKED) or 1]
    tried = generation.under(version)
    lists = zip(users, answers.lists(generation, users), answers.lists(tried, users), strict=True)
    changed = [each for each in lists if each[1] != each[2]]
    examples = [_example(generation, *each) for each in changed[:MAX_EXAMPLES]]
    told = {"users": len(users), "changed": len(changed), "examples": examples}
    return _answer({**told, "ignored": tried.rules.ignored if tried.rules else []})


@bp.post("/rules/rollback")
def roll_back() -> Response:
    """Put the rules of an earlier version in force again; 0 is that without any."""
    _allowed()
    generation = sources().watcher.live()
    only(request.args, ())
    asked = _object()
    only(asked, ("version",), "member")
    if asked.get("version") is None:
        raise BadParameter('give the version to go back to, such as {"version":3}')
    version = _version(number("version", asked["version"], 0, 0, _MOST_VERSIONS))
    return _publish(generation, version.rules, f"rolled back to version {version.number}")


def _allowed() -> None:
    """Raises RulesForbidden; with keys on, who comes this far has one of scope rules."""
    if current_app.config["LARDER"].auth == keys.PROXY:
        raise RulesForbidden(
            "a proxy lets callers in here, and nobody can tell who may change rules: use 'larder "
            "rules set', or LARDER_AUTH=on and a key of scope rules"
        )


def _publish(generation: Generation, rules: dict[str, Any], note: str) -> Response:
    if len(note) > MAX_NOTE or not note.isprintable():
        raise BadParameter(f"note must be one line of at most {MAX_NOTE} characters")
    client: Any
    with sources().lookup.asking() as client:
        last = client.hlen(_key())
        has_expected = "HTTP_IF_MATCH" in request.environ
        if has_expected and not request.if_match.contains(str(last)):
            raise RulesChanged(f"version {last} is in force, not that of If-Match: GET /rules")
        name = request.environ.get("larder.key")
        by = f"key {name}" if name else "the API"
        version = Version(last + 1, _now(), by, note, rules)
        if not store.write(client, _key(), version):
            raise (RulesChanged if has_expected else RulesTaken)(
                f"another writer put version {last + 1} in force first: GET /rules, then try again"
            )
    sources().watcher.look()
    return _told(generation, version)


def _checked(generation: Generation) -> dict[str, Any]:
    """The rules of the body, which the live generation can follow. Raises BadParameter."""
    try:
        rules = loads(_body())
        json.dumps(rules, ensure_ascii=False).encode()
        types = {each.name: each.type for each in generation.manifest.filter_columns}
        Rules.of(rules).check(types)
    except UnicodeEncodeError as error:
        raise BadParameter("rules hold a lone surrogate, which no text has") from error
    except (BadRules, RecursionError) as error:
        raise BadParameter(str(error)) from error
    return rules


def _latest() -> Version:
    with sources().lookup.asking() as client:
        return store.latest(client, _key())


def _version(number: int) -> Version:
    """Raises UnknownVersion."""
    with sources().lookup.asking() as client:
        try:
            return store.read(client, _key(), number)
        except BrokenRecord as error:
            raise UnknownVersion(f"version {number} of the rules is not kept") from error


def _told(generation: Generation, version: Version) -> Response:
    followed = generation.under(version).rules
    ignored = followed.ignored if followed else []
    response = _answer({**_head(version), "rules": version.rules, "ignored": ignored})
    response.set_etag(str(version.number))
    return response


def _head(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "at": version.at,
        "by": version.by,
        "note": version.note,
    }


def _example(
    generation: Generation, user: str, before: list[int], after: list[int]
) -> dict[str, Any]:
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


def _object() -> dict[str, Any]:
    try:
        asked = json.loads(_body())
    except (ValueError, RecursionError) as error:
        raise BadParameter(f"the body must be JSON: {error}") from error
    if not isinstance(asked, dict):
        raise BadParameter('the body must be a JSON object such as {"version":3}')
    return asked


def _body() -> bytes:
    if not request.is_json:
        raise UnsupportedMediaType("send a JSON object with Content-Type: application/json")
    body = request.get_data()
    request.stream.read(1)  # a chunked body is cut at the limit, and only this says so: 413
    return body


def _key() -> str:
    return rules_key(sources().watcher.namespace.name)


def _now() -> str:
    return datetime.fromtimestamp(sources().answers.now(), UTC).isoformat(timespec="seconds")


def _answer(told: dict[str, Any]) -> Response:
    response = Response(json.dumps(told), content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
