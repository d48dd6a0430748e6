"""Is everything well? The cache, what is live, the workers, the events, how the last runs ended."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flask import Response

from app.api import sources
from app.contracts.refreshes import REFRESH, Refresh
from app.errors import CacheUnavailable, NothingPublished
from app.pages.shell import ago, asking, bp, events_now, page, settings
from app.recommendations import published

OLD_HOURS = 36
"""As the alert LarderGenerationTooOld has it."""

_FULL = 0.8

Check = dict[str, Any]


@bp.get("/")
def home() -> Response:
    """The explorer: is everything well?"""
    problem, runs = "", list[Refresh]()
    try:
        with asking() as client:
            runs = published.refreshes(client, sources().watcher.namespace)
    except CacheUnavailable as error:
        problem = str(error)
    checks = [*_of_cache(problem), *_of_runs(runs), *_of_workers(), *_of_events()]
    told = {
        "namespace": settings().namespace,
        "well": all(each["well"] for each in checks),
        "checks": checks,
        "refreshes": [asdict(each) for each in runs],
    }
    return page("home.html", told)


def _check(what: str, well: bool, said: str) -> Check:
    return {"what": what, "well": well, "said": said}


def _of_cache(problem: str) -> Iterator[Check]:
    yield _check("Cache", not problem, problem or "It is reachable.")
    try:
        manifest = sources().watcher.live().manifest
    except (CacheUnavailable, NothingPublished) as error:
        yield _check("Generation", False, str(error))
        return
    published_at = datetime.fromisoformat(manifest.published_at or manifest.started_at)
    hours = (datetime.now(UTC) - published_at).total_seconds() / 3600
    when = ago(published_at.isoformat())
    said = (
        f"{manifest.generation} is live: {manifest.users:,} users, {manifest.items:,} items, top "
        f"{manifest.k}, published {when}"
    )
    yield _check("Generation", hours < OLD_HOURS, said)


def _of_runs(runs: list[Refresh]) -> Iterator[Check]:
    last = next((each for each in runs if each.kind == REFRESH), None)
    if last is None:
        yield _check("Refreshes", True, "No run has been noted down yet.")
        return
    ended = "The last one published." if last.exit == 0 else f"The last one failed: {last.reason}"
    yield _check("Refreshes", last.exit == 0, ended)


def _of_workers() -> Iterator[Check]:
    count, loaded = sources().workers(), sources().all_have_loaded()
    all_of = f"{count} of {settings().workers} live"
    said = f"{all_of}, and each has a generation." if loaded else f"{all_of}; one is not ready yet."
    yield _check("Workers", loaded and count >= settings().workers, said)


def _of_events() -> Iterator[Check]:
    most = settings().events_max
    try:
        found = events_now()
    except CacheUnavailable as error:
        yield _check("Events", False, str(error))
        return
    if found is None:
        yield _check("Events", True, "This deployment takes none (LARDER_EVENTS).")
        return
    said = (
        f"{found['length']:,} of at most {most:,} wait, {found['rate']:.1f} a second, this worker "
        f"is {found['lag_ms'] / 1000:.1f} seconds behind"
    )
    yield _check("Events", found["length"] < _FULL * most and found["lag_ms"] < 5000, said)
