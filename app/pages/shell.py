"""What all pages share: HTML or JSON, their headers, and who may change something by them."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import redis
from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as Answer

from app.api import foreign, freshness, sources
from app.api.parameters import identifier
from app.cache.connect import CACHE_ERRORS, Client, no_answer
from app.contracts.events import Streams
from app.errors import CacheUnavailable, ForeignPage
from app.events.state import state
from app.recommendations.generation import Generation
from app.settings import Settings

SAID = {
    "deleted": "The user is deleted.",
    "in-force": "The rules are in force; all workers follow within half a second.",
    "rolled-back": "It is live again; all workers follow within two seconds.",
}
"""What a page says after a change, by a name in its address."""

KINDS = {
    ".svg": "image/svg+xml",
    ".css": "text/css",
    ".js": "text/javascript",
    ".LICENSE": "text/plain",
}

bp = Blueprint("explorer", __name__, url_prefix="/explorer", template_folder="templates")


@dataclass(frozen=True, slots=True)
class Card:
    """What a page shows of an item's document; picture and link are addresses on the web."""

    item: str
    title: str
    picture: str
    link: str
    more: str


@bp.app_context_processor
def known() -> dict[str, Any]:
    return {"said": SAID.get(request.args.get("said", "")), "namespace": settings().namespace}


def settings() -> Settings:
    found: Settings = current_app.config["LARDER"]
    return found


def page(template: str, told: Mapping[str, Any]) -> Response:
    """A page of what is told, or that as JSON."""
    if _wants_json():
        body = json.dumps(told, ensure_ascii=False)
        return Response(body, content_type="application/json")
    return Response(render_template(template, told=told, **told))


def changed(told: Mapping[str, Any], endpoint: str, said: str, **where: Any) -> Answer:
    """After a POST: what it did as JSON, or the page that shows it."""
    if _wants_json():
        return Response(json.dumps(told, ensure_ascii=False), content_type="application/json")
    return redirect(url_for(f".{endpoint}", said=said, **where), 303)


def _wants_json() -> bool:
    return request.args.get("format") == "json"


def asked(name: str) -> str:
    """An id that the page is asked for. Raises BadParameter."""
    return identifier(name, request.values.get(name, ""))


@contextmanager
def asking() -> Iterator[Client]:
    """Lend the client of the cache. Raises CacheUnavailable."""
    try:
        yield sources().watcher.client()
    except redis.exceptions.NoPermissionError as error:
        raise CacheUnavailable(
            "the cache's user of this API lacks a right that the explorer needs: k8s/README.md "
            "has them"
        ) from error
    except CACHE_ERRORS as error:
        raise CacheUnavailable(no_answer(error)) from error


def events_now() -> dict[str, Any] | None:
    """How events come; None where none are taken. Raises CacheUnavailable."""
    tail, streams = sources().tail, Streams(sources().watcher.namespace.name)
    if tail is None:
        return None
    read_ms = tail.position[0] if tail.position else None
    return state(tail.server.client(), streams, read_ms, time.time() * 1000)


def document_of(generation: Generation, item: str) -> dict[str, Any]:
    """What is known of an item; its id alone where the generation does not hold it."""
    index = generation.find(item)
    return {"item": item} if index is None else generation.document(index)


@bp.app_template_global()
def card(document: Mapping[str, Any]) -> Card:
    title, picture, link = map(str.strip, settings().explorer_cards.split(","))
    item = str(document["item"])
    used = {"item", "score", title, picture, link}
    more = [
        f"{name}: {_text(value)}"
        for name, value in document.items()
        if name not in used and value not in ("", None)
    ]
    return Card(
        item,
        str(document.get(title) or item),
        _on_the_web(document.get(picture)),
        _on_the_web(document.get(link)),
        ", ".join(more)[:200],
    )


def words(document: Mapping[str, Any]) -> list[str]:
    """What a page says of an item, but for the addresses of its picture and link."""
    _, *addresses = map(str.strip, settings().explorer_cards.split(","))
    return [_text(value) for name, value in document.items() if name not in addresses]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _on_the_web(address: object) -> str:
    text = str(address or "")
    return text if text.startswith(("https://", "http://")) else ""


@bp.app_template_filter()
def ago(moment: str) -> str:
    """How long a time (ISO 8601) is past; as it is where it is none."""
    try:
        past = datetime.now(UTC) - datetime.fromisoformat(moment)
    except (ValueError, TypeError):
        return moment
    seconds = max(0, int(past.total_seconds()))
    for unit, size in (("days", 172_800), ("hours", 7200), ("minutes", 120)):
        if seconds >= size:
            return f"{seconds // (size // 2)} {unit} ago"
    return f"{seconds} second{'' if seconds == 1 else 's'} ago"


@bp.before_request
def check_who_changes() -> None:
    """A page of another site must not make who looks at it change something here."""
    if request.method != "POST":
        return
    if request.headers.get("Sec-Fetch-Site") != "same-origin":
        raise ForeignPage(
            "only the explorer's own pages may change something, in a browser that says so "
            "(Sec-Fetch-Site), over https or on this machine"
        )
    if host := foreign.host():
        raise ForeignPage(f"without keys the explorer is at localhost, not at {host!r:.80}")


@bp.after_request
def finish(response: Response) -> Response:
    """The headers of every page; an error becomes a page too."""
    if response.mimetype == "application/problem+json" and not _wants_json():
        problem = json.loads(response.get_data())
        response.set_data(render_template("problem.html", problem=problem))
        response.content_type = "text/html; charset=utf-8"
    pictures = " https: http:" if settings().explorer_cards.split(",")[1] else ""
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        f"img-src 'self'{pictures}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


@bp.get("/assets/<name>")
def asset(name: str) -> Response:
    """A script or a style of the explorer."""
    return freshness.packaged(*_asset(name))


@cache
def _asset(name: str) -> tuple[bytes, str]:
    found = [each for each in files("app.pages").joinpath("assets").iterdir() if each.name == name]
    if not found:
        raise NotFound
    kind = KINDS["." + name.rpartition(".")[2]]
    return found[0].read_bytes(), f"{kind}; charset=utf-8"
