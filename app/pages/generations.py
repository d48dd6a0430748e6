"""Generations: how good each was, what differs between two, and one made live again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, request
from werkzeug.wrappers import Response as Answer

from app.api import sources
from app.api.parameters import number
from app.contracts.generations import PUBLISHED
from app.contracts.recommendations import SAMPLE_SIZE, Manifest, Namespace
from app.errors import UnknownGeneration
from app.pages.shell import asked, asking, bp, changed, page
from app.recommendations import published

BESIDE = 4
"""The settings of so many stand side by side."""

COMPARED_USERS = 200
_EXAMPLES, _MOVED = 5, 10


@bp.get("/generations")
def generations() -> Response:
    """All generations that are kept: how good they were judged, and of which settings."""
    namespace = sources().watcher.namespace
    with asking() as client:
        found, live = published.manifests(client, namespace), published.live_name(client, namespace)
    rows = [_row(each) for each in found if each.state in PUBLISHED]
    settings = [each.settings for each in found if each.state in PUBLISHED][:BESIDE]
    told = {"live": live, "generations": rows, "settings": side_by_side(settings)}
    return page("generations.html", told)


def _row(manifest: Manifest) -> dict[str, Any]:
    model = manifest.metrics.get("model") or {}
    return {
        "generation": manifest.generation,
        "state": manifest.state,
        "users": manifest.users,
        "items": manifest.items,
        "interactions": manifest.interactions,
        "k": manifest.k,
        "forced": manifest.forced,
        "published_at": manifest.published_at,
        "ndcg": manifest.measured("ndcg"),
        "interval": model.get("intervals", {}).get("ndcg"),
        "popular": (manifest.metrics.get("popular") or {}).get("ndcg"),
        "coverage": model.get("coverage"),
        "novelty": model.get("novelty"),
        "diversity": model.get("diversity"),
        "tail": model.get("items", {}).get("tail", {}).get("share"),
    }


def side_by_side(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each name, with its values and whether they differ."""
    rows = []
    for name in sorted({name for each in settings for name in each}):
        values = [each.get(name) for each in settings]
        rows.append({"name": name, "values": values, "differ": any(v != values[0] for v in values)})
    return rows


@bp.post("/rollback")
def rollback() -> Answer:
    """Make an older generation live again."""
    name = asked("generation")
    with asking() as client:
        by = f"the explorer, from {request.remote_addr or 'a socket'}"
        found = published.roll_back(client, sources().watcher.namespace, name, by)
    return changed({"live": found.generation}, "generations", "rolled-back")


@bp.get("/compare")
def compare() -> Response:
    """Two generations over users of the sample: what entered lists, and what left them."""
    names = [asked("a"), asked("b")]
    count = number("users", request.args.get("users"), COMPARED_USERS, 1, SAMPLE_SIZE)
    namespace = sources().watcher.namespace
    with asking() as client:
        kept = {each.generation: each for each in published.manifests(client, namespace)}
        for name in names:
            if name not in kept or kept[name].state not in PUBLISHED:
                raise UnknownGeneration(f"generation {name[:70]!r} is not kept")
        sample = published.sample(client, namespace, kept[names[1]])[:count]
        sides = [_side(client, namespace, kept[name], sample) for name in names]
    return page("compare.html", {"a": names[0], "b": names[1], **differences(*sides)})


@dataclass(frozen=True, slots=True)
class Side:
    """The lists of one of two generations: items by user, and the documents of those."""

    lists: dict[str, list[str]]
    documents: dict[str, dict[str, Any]]


def _side(client: Any, namespace: Namespace, manifest: Manifest, users: Sequence[str]) -> Side:
    lists = published.lists(client, namespace, manifest, users)
    indices = {index for entries in lists.values() for index, _ in entries}
    found = published.documents(client, namespace, manifest, indices)
    named = {user: [found[index]["item"] for index, _ in each] for user, each in lists.items()}
    return Side(named, {each["item"]: each for each in found.values()})


def differences(a: Side, b: Side) -> dict[str, Any]:
    """Over the users whom both know. overlap: the mean share of a list that stayed, 0 to 1."""
    both = [user for user in b.lists if user in a.lists]
    stayed = {user: set(a.lists[user]) & set(b.lists[user]) for user in both}
    shares = {
        user: len(stayed[user]) / max(1, len(a.lists[user]), len(b.lists[user])) for user in both
    }
    entered = Counter(item for user in both for item in b.lists[user] if item not in stayed[user])
    left = Counter(item for user in both for item in a.lists[user] if item not in stayed[user])
    least = sorted(both, key=lambda user: (shares[user], user))[:_EXAMPLES]
    return {
        "users": len(both),
        "overlap": sum(shares.values()) / len(both) if both else None,
        "unchanged": sum(a.lists[user] == b.lists[user] for user in both),
        "spread": [
            sum(int(share * 10) == tenth for share in shares.values()) for tenth in range(11)
        ],
        "entered": _most(entered, b.documents),
        "left": _most(left, a.documents),
        "examples": [
            {
                "user": user,
                "overlap": shares[user],
                "entered": [b.documents[i] for i in b.lists[user] if i not in stayed[user]],
                "left": [a.documents[i] for i in a.lists[user] if i not in stayed[user]],
            }
            for user in least
        ],
    }


def _most(counted: "Counter[str]", documents: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**documents[item], "lists": count} for item, count in counted.most_common(_MOVED)]
