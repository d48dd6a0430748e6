"""The application of decisions, put together: beside the lists, or alone.

Nothing imports this module, or what it needs, while LARDER_DECISIONS is off.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask

from app.api.decisions import Wire, container, envelope
from app.api.decisions.application import ROOT, create
from app.api.decisions.direct import DirectCalls
from app.cache.link import Link
from app.cache.watched import Watched
from app.contracts import keys
from app.contracts.decisions import Decisions
from app.decisions.decider import Decider
from app.decisions.desk import Desk
from app.http.keys.guard import Guard
from app.http.keys.known import KnownKeys
from app.http.keys.limits import Limits
from app.http.keys.scopes import scope_of_decisions
from app.http.servers.workers import Worker, all_have_loaded
from app.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from app.http.metrics import Metrics


class Listener:
    """Whom a decider tells how it fares: the metrics, if there are any, and the other workers."""

    def __init__(
        self,
        metrics: "Metrics | None",
        worker: Worker | None = None,
        known: KnownKeys | None = None,
        link: Link | None = None,
    ) -> None:
        self._metrics, self._worker, self._known = metrics, worker, known
        self._link = link

    def decided(self, logged: bool) -> None:
        """One more decision was answered."""
        if self._metrics:
            self._metrics.decided(logged)

    def rewarded(self) -> None:
        """One more reward was taken."""
        if self._metrics:
            self._metrics.rewarded()

    def followed(self, published_at: str | None) -> None:
        """The desk was seen; the model that decides, if there is one, was published then."""
        if self._metrics:
            self._metrics.decides_by(published_at)
        if self._metrics and self._link:
            self._metrics.reached(self._link.reachable)
        if self._worker and (self._known is None or self._known.are_known):
            self._worker.has_loaded()


def alone(
    settings: Settings, worker: Worker | None, metrics: "Metrics | None", link: Link | None
) -> Flask:
    """An API that has nothing but decisions.

    link: to the cache, which somebody else keeps; then nothing here has a thread either.
    """
    known = KnownKeys(settings.namespace) if settings.auth == keys.ON else None
    is_started = link is None
    link = link or _started(settings, known)
    if known and not is_started:
        known.poll(link)
    listener = Listener(metrics, worker, known, link)
    have_loaded = partial(all_have_loaded, worker, known)
    wire = wired(settings, link, listener, have_loaded, is_started=is_started)
    if worker:
        worker.serves()
    app = create(settings, wire, container.bp)
    app.add_url_rule("/metrics", "metrics", build_only=metrics is None)
    guarded = _guarded(app, wire, settings, known, Limits.of(settings))
    app.wsgi_app = guarded  # type: ignore[method-assign]
    if metrics:
        metrics.register(app, wire=wire)
    return app


class Beside:
    """WSGI middleware: decisions below ``/personalizer``, and the application."""

    def __init__(
        self,
        application: "WSGIApplication",
        wire: Wire,
        settings: Settings,
        known: KnownKeys | None,
        limits: Limits | None,
    ) -> None:
        self._application = application
        self._decisions = _guarded(create(settings, wire), wire, settings, known, limits)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(f"{ROOT}/"):
            return self._decisions(environ, start_response)
        return self._application(environ, start_response)


def wired(
    settings: Settings,
    link: Link,
    listener: Listener,
    all_have_loaded: Callable[[], bool],
    *,
    is_started: bool,
) -> Wire:
    """What the blueprints answer from; whoever looks by hand also follows models by hand."""
    decider = Decider(settings, link, listener)
    (decider.start if is_started else decider.poll)()
    return Wire(decider, Desk(link, Decisions(settings.namespace)), all_have_loaded)


def _started(settings: Settings, known: KnownKeys | None) -> Link:
    link = Watched(settings)
    link.start()
    if known:
        known.start(link, settings.watch_interval_ms / 1000)
    return link


def _guarded(
    app: Flask, wire: Wire, settings: Settings, known: KnownKeys | None, limits: Limits | None
) -> Guard | DirectCalls:
    direct = DirectCalls(app.wsgi_app, wire.decider, settings.max_body_bytes)
    if known is None:
        return direct
    return Guard(direct, known, limits, settings.max_body_bytes, scope_of_decisions, envelope.plain)
