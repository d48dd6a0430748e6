"""Items: find one, see what is similar to it, and who gets it."""

import json
from typing import Any

from flask import Response, request

from app.api import sources
from app.api.lists import rules
from app.contracts.recommendations import decode_record
from app.pages.shell import asked, asking, bp, page, words
from app.recommendations import published
from app.recommendations.generation import Generation

SHOWN = 50
_SCANNED = 200_000
"""Documents that a search looks through, in about a quarter of a second."""


@bp.get("/items")
def items() -> Response:
    """Items whose documents hold what is searched for."""
    part, generation = request.args.get("q", "").strip(), sources().watcher.live()
    total = generation.manifest.items
    found = _search(generation, part)
    told = {"q": part, "items": total, "searched": min(total, _SCANNED), "found": found}
    return page("items.html", told)


def _search(generation: Generation, part: str) -> list[dict[str, Any]]:
    """Up to SHOWN, the item of that id first; upper and lower case are one."""
    wanted = json.dumps(part.lower(), ensure_ascii=False)[1:-1].encode()
    exact = generation.find(part) if part else None
    found = [] if exact is None else [generation.document(exact)]
    for index in range(min(generation.manifest.items, _SCANNED)):
        if index == exact or wanted not in generation.opening(index).decode().lower().encode():
            continue
        document = generation.document(index)
        if any(part.lower() in text.lower() for text in words(document)):
            found.append(document)
        if len(found) == SHOWN:
            break
    return found


@bp.get("/item")
def item() -> Response:
    """An item, what is similar to it, and how many of the sample get it."""
    name, generation = asked("id"), sources().watcher.live()
    index = generation.index_of(name)
    told = {
        "item": name,
        "document": generation.document(index),
        "generation": generation.manifest.generation,
        "similar": _similar(generation, name),
        "reach": _reach(generation, index),
        "hidden": name in rules.latest().rules.get("hide", []),
    }
    return page("item.html", told)


def _similar(generation: Generation, name: str) -> list[dict[str, Any]]:
    if not generation.manifest.similar_buckets:
        return []
    found = sources().lookup.similar(generation, name)
    entries = decode_record(found.record) if found else []
    return [{**generation.document(each), "score": score} for each, score in entries]


def _reach(generation: Generation, index: int) -> dict[str, Any]:
    """Who of the sample has it on the published list, and at which place (from 1)."""
    namespace = sources().watcher.namespace
    with asking() as client:
        sample = published.sample(client, namespace, generation.manifest)
        lists = published.lists(client, namespace, generation.manifest, sample)
    places = {
        user: place
        for user, entries in lists.items()
        for place, (each, _) in enumerate(entries, start=1)
        if each == index
    }
    first = sorted(places.items(), key=lambda each: (each[1], each[0]))[:SHOWN]
    users = [{"user": user, "place": place} for user, place in first]
    return {"sample": len(lists), "count": len(places), "users": users}
