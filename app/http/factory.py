"""The only place that picks the concrete parts of the API and puts them together."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask

from app.api import Sources, events, generation, health, index, openapi, tracker
from app.api.direct import Direct
from app.api.lists import decided, items, recommendations, rules, users
from app.api.parameters import IdConverter
from app.api.scoring import clicks
from app.clicks.follower import Follower
from app.clicks.ranker import Ranker
from app.contracts import keys
from app.events.stream import Stream
from app.http import problems
from app.http.cross_origin import CrossOrigin
from app.http.keys.guard import Guard
from app.http.keys.known import KnownKeys
from app.http.keys.limits import Limits
from app.http.servers.workers import Worker, all_have_loaded, this_worker
from app.recommendations.answer import Answers, LiveAnswers
from app.recommendations.live.lookup import LiveLookup
from app.recommendations.live.tail import Tail
from app.recommendations.lookup import Lookup
from app.recommendations.memory.factors import can_lay_out
from app.recommendations.watcher import Watcher
from app.settings import Settings

if TYPE_CHECKING:
    from app.api.decisions import Wire
    from app.http.metrics import Metrics

LOG_FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s"
"""Like gunicorn's own lines, which stand between these."""


log = logging.getLogger("larder.workers")


class Listeners:
    """Whom a worker tells how it fares: its metrics, if there are any, and the other workers."""

    def __init__(
        self,
        worker: Worker | None,
        metrics: "Metrics | None",
        known: KnownKeys | None = None,
        needs_lists: bool = True,
    ) -> None:
        self._worker = worker
        self._metrics = metrics
        self._known = known
        self._needs_lists = needs_lists

    def looked(self, reachable: bool, published_at: str | None) -> None:
        has_lists = published_at is not None
        if self._metrics and (has_lists or self._needs_lists):
            self._metrics.looked(reachable, published_at)
        elif self._metrics:
            self._metrics.reached(reachable)
        if self._needs_lists and has_lists:
            self._has_loaded()

    def followed(self, published_at: str | None) -> None:
        if self._metrics:
            self._metrics.followed(published_at)
        if not self._needs_lists and published_at is not None:
            self._has_loaded()

    def degraded(self) -> None:
        if self._metrics:
            self._metrics.degraded()

    def scored(self, rows: int, unknown: int) -> None:
        if self._metrics:
            self._metrics.scored(rows, unknown)

    def passed_over(self, columns: int) -> None:
        if self._metrics:
            self._metrics.passed_over(columns)

    def _has_loaded(self) -> None:
        knows_callers = self._known is None or self._known.are_known
        if self._worker and knows_callers:
            self._worker.has_loaded()


def create_app(
    settings: Settings | None = None, watcher: Watcher | None = None, tail: Tail | None = None
) -> Flask:
    """Make the API: settings from the environment and a started watcher unless they are given.

    tail: follows the events; with a watcher that is given it is not started either.

    Call it in the process that will answer: it starts a thread and opens connections, and neither
    survives a fork.
    """
    if settings is None:
        settings = Settings.from_environment()
    if watcher is None:
        logging.basicConfig(level=settings.log_level.upper(), format=LOG_FORMAT)
    worker = this_worker()
    metrics = _metrics(worker) if settings.metrics else None
    if settings.decisions == "only":
        from app.http.decisions import alone  # here, so that its libraries are loaded only when on

        return alone(settings, worker, metrics, watcher)
    known = KnownKeys(settings.namespace) if settings.auth == keys.ON else None
    listeners = Listeners(worker, metrics, known, settings.clicks != "only")
    if is_started := watcher is None:
        watcher = Watcher(settings, listeners)
        watcher.start()
        tail = _started_tail(settings, watcher)
        if known:
            known.start(watcher, settings.watch_interval_ms / 1000)
            listeners.looked(watcher.reachable, watcher.published_at())
    elif known:
        known.poll(watcher)
    ranker = _ranker(settings, watcher, listeners, is_started)
    if worker:
        worker.serves()
    have_loaded = partial(all_have_loaded, worker, known)
    wire = _wire(settings, watcher, metrics, have_loaded, is_started)
    sources = _sources(settings, watcher, tail, listeners, have_loaded)
    decider = wire.decider if wire else None
    sources = replace(sources, workers=partial(_living, worker), ranker=ranker, decider=decider)
    app = _flask(settings, sources)
    app.add_url_rule("/metrics", "metrics", build_only=metrics is None)  # else 404, as any path
    _wrap(app, settings, sources, wire, known)
    if metrics:
        metrics.register(app, sources.stream, ranker.follower if ranker else None, wire)
    return app


def _wrap(
    app: Flask, settings: Settings, sources: Sources, wire: "Wire | None", known: KnownKeys | None
) -> None:
    """Put around it what sees a request first, the outermost last."""
    direct = Direct(app.wsgi_app, sources, settings)
    app.wsgi_app = direct  # type: ignore[method-assign]
    limits = Limits.of(settings)
    if known:
        guard = Guard(app.wsgi_app, known, limits, settings.max_body_bytes)
        app.wsgi_app = guard  # type: ignore[method-assign]
    if wire:
        from app.http.decisions import Beside

        both = Beside(app.wsgi_app, wire, settings, known, limits)
        app.wsgi_app = both  # type: ignore[method-assign]
    if settings.origins:
        pages = CrossOrigin(app.wsgi_app, settings.origins)
        app.wsgi_app = pages  # type: ignore[method-assign]


def _started_tail(settings: Settings, watcher: Watcher) -> Tail | None:
    if not settings.events:
        return None
    tail = Tail(settings, watcher)
    tail.start()
    if not can_lay_out():
        log.warning(
            "numpy is missing: lists follow events without the factors of a generation; for them, "
            "pip install '.[live]' in Larder's folder"
        )
    if settings.max_age_seconds:
        log.warning("LARDER_MAX_AGE_SECONDS lets clients keep lists that events have changed")
    if settings.auth == keys.ON and settings.url_of_events == settings.cache_url:
        log.warning(
            "events share the cache's server, and who has a key of a web page can fill it with "
            "events of made-up users: name another server as LARDER_EVENTS_URL"
        )
    return tail


def _ranker(
    settings: Settings, watcher: Watcher, listeners: Listeners, is_started: bool
) -> Ranker | None:
    """Whoever looks by hand also follows the models by hand, after the first."""
    if settings.clicks == "off":
        return None
    follower = Follower(settings, watcher, listeners)
    (follower.start if is_started else follower.poll)()
    return Ranker(follower, watcher, listeners, settings.clicks_unknown)


def _wire(
    settings: Settings,
    watcher: Watcher,
    metrics: "Metrics | None",
    all_have_loaded: Callable[[], bool],
    is_started: bool,
) -> "Wire | None":
    if settings.decisions == "off":
        return None
    from app.http.decisions import Listener, wired

    return wired(settings, watcher, Listener(metrics), all_have_loaded, is_started=is_started)


def _sources(
    settings: Settings,
    watcher: Watcher,
    tail: Tail | None,
    listeners: Listeners,
    all_have_loaded: Callable[[], bool],
) -> Sources:
    if not settings.events:
        lookup = Lookup(watcher)
        return Sources(watcher, lookup, Answers(lookup, listeners), all_have_loaded)
    tail = tail or Tail(settings, watcher)
    live, stream = LiveLookup(watcher, tail, settings.excluding), Stream(settings, tail)
    return Sources(watcher, live, LiveAnswers(live, listeners), all_have_loaded, tail, stream)


def _living(worker: Worker | None) -> int:
    return len(worker.living()) if worker else 1


def _flask(settings: Settings, sources: Sources) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["LARDER"] = settings
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.extensions["larder"] = sources
    app.url_map.converters["id"] = IdConverter
    app.url_map.merge_slashes = False
    for module in (
        index,
        recommendations,
        items,
        users,
        generation,
        health,
        events,
        rules,
        tracker,
        clicks,
        decided,
    ):
        app.register_blueprint(module.bp)
    app.register_blueprint(openapi.bp)
    if settings.explorer:
        from app.pages import explorer  # here, so that templates are loaded only when on

        app.register_blueprint(explorer.bp)
    problems.register(app)
    return app


def _metrics(worker: Worker | None) -> "Metrics | None":
    from app.http.metrics import of_this_worker  # here, so that the library is loaded only when on

    return of_this_worker(worker)
