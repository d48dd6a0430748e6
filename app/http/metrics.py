"""What the API counts for Prometheus: ``GET /metrics``, where ``LARDER_METRICS`` is true.

``app/README.md`` says what each metric tells. gunicorn's workers share nothing, so each counts in
files of its own and the one that is asked adds up those of all. ``app.http.metrics_files`` keeps
them. Of the stream the server is asked for each page.

No label comes from a client. Nothing imports this module, or the library, while metrics are off.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.api.routes import route_of
from app.clicks.follower import Follower
from app.contracts.generations import BrokenRecord
from app.errors import CacheUnavailable, EventsUnavailable
from app.events.stream import Stream
from app.http.metrics_files import forget_the_dead, share
from app.http.servers.workers import Worker

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from app.api.decisions import Wire

PATH = "/metrics"
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

log = logging.getLogger("larder.metrics")


def of_this_worker(worker: Worker | None) -> "Metrics | None":
    """The metrics of this process; None when it has no files for them."""
    if worker is None:
        log.error("no metrics: this process has no folder for them")
        return None
    try:
        share(worker)
    except OSError as error:
        log.error("no metrics of this worker: %s", error)
        return None
    return Metrics(worker)


def _least(name: str, text: str) -> "cached_property[Gauge]":
    """A gauge that shows the least of what the living workers say.

    It is made when there is something to tell: it begins with 0, which would be an alarm.
    """
    return cached_property(lambda _: Gauge(name, text, registry=None, multiprocess_mode="livemin"))


def _count(name: str, text: str, *labels: str) -> "cached_property[Counter]":
    """A counter that is made when there is something to count."""
    return cached_property(lambda _: Counter(name, text, labels, registry=None))


class Metrics:
    """What this worker counts, and the page that tells of all workers."""

    _reachable = _least("larder_cache_reachable", "Whether every worker reaches the cache.")
    _created = _least(
        "larder_generation_created_timestamp_seconds",
        "When the oldest generation that a worker serves was published; 0 without one.",
    )
    _model_created = _least(
        "larder_click_model_created_timestamp_seconds",
        "When the oldest click model that a worker answers from was published; 0 without one.",
    )
    _decides_by = _least(
        "larder_decisions_model_created_timestamp_seconds",
        "When the oldest model of decisions that a worker has was published.",
    )
    _scored = _count("larder_click_rows", "Rows that were scored.")
    _unknown = _count(
        "larder_click_unknown_values", "Values of rows that are in no table of the model."
    )
    _unknown_columns = _count(
        "larder_click_unknown_columns",
        "Columns of requests that the model does not have, and that were passed over.",
    )
    _decisions = _count("larder_decisions", "Decisions answered.", "logged")
    _rewards = _count("larder_rewards", "Rewards taken.")

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, str(worker.folder))
        self._registry.register(_Build())
        self._requests = Counter(
            "larder_requests", "Requests answered.", ("route", "method", "status"), registry=None
        )
        self._durations = Histogram(
            "larder_request_duration_seconds",
            "Time that the application took for an answer.",
            ("route",),
            registry=None,
            buckets=BUCKETS,
        )
        self._degraded = Counter(
            "larder_degraded_answers",
            "Answers made without the cache, or by a click model that is not the live one.",
            registry=None,
        )
        self._known: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def register(
        self,
        app: Flask,
        stream: Stream | None = None,
        follower: Follower | None = None,
        wire: "Wire | None" = None,
    ) -> None:
        """Count what the application answers from now on, and answer its ``metrics`` endpoint.

        stream: of the events, where it takes any; follower: of click models, where it has any;
        wire: of decisions, where it makes any.
        """
        if wire:
            self._registry.register(_Decisions(wire))
        if stream:
            self._registry.register(_Stored(stream))
        if follower:
            self._registry.register(_Model(follower))
        app.wsgi_app = Counting(app.wsgi_app, self)  # type: ignore[method-assign]
        app.view_functions["metrics"] = self._page

    def count(self, path: str, method: str, status: str, seconds: float) -> None:
        """One more request. Never raises."""
        try:
            labels = route_of(path), method if method in METHODS else "other", status
            requests, durations = self._known.get(labels) or self._meet(labels)
            requests.inc()
            durations.observe(seconds)
        except Exception:  # whatever it is, the answer is more important
            log.exception("a request was not counted")

    def degraded(self) -> None:
        """One more answer that was made without the cache, or by a model that is not live."""
        self._degraded.inc()

    def looked(self, reachable: bool, published_at: str | None) -> None:
        """Note whether the cache is reachable, and which generation is served."""
        self.reached(reachable)
        self._created.set(_seconds(published_at) if published_at is not None else 0)

    def reached(self, reachable: bool) -> None:
        """Note whether the cache is reachable, of a server that needs no lists and has none."""
        self._reachable.set(reachable)

    def scored(self, rows: int, unknown: int) -> None:
        """So many rows were scored, in which so many values were in no table of the model."""
        self._scored.inc(rows)
        self._unknown.inc(unknown)

    def passed_over(self, columns: int) -> None:
        """A request named so many columns that the model does not have."""
        self._unknown_columns.inc(columns)

    def decided(self, logged: bool) -> None:
        """One more decision was answered; one that nobody could log is learned never."""
        self._decisions.labels("true" if logged else "false").inc()

    def decides_by(self, published_at: str | None) -> None:
        """Note which model of decisions this worker has."""
        self._decides_by.set(_seconds(published_at or ""))

    def rewarded(self) -> None:
        """One more reward was taken."""
        self._rewards.inc()

    def followed(self, published_at: str | None) -> None:
        """Note which click model is answered from."""
        self._model_created.set(_seconds(published_at) if published_at is not None else 0)

    def _meet(self, labels: tuple[str, str, str]) -> tuple[Counter, Histogram]:
        """The library finds a label's numbers slowly, so those that were met are at hand."""
        met = self._requests.labels(*labels), self._durations.labels(labels[0])
        self._known[labels] = met
        return met

    def _page(self) -> Response:
        """Counts and states for Prometheus."""
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        except TypeError:  # the library's, for a version that is no number
            encode, content_type = choose_encoder("")
        forget_the_dead(self._worker)
        response = Response(encode(self._registry), content_type=content_type)
        response.headers["Cache-Control"] = "no-store"
        return response


class Counting:
    """WSGI middleware around all others; it sees every request but those for the metrics."""

    def __init__(self, application: "WSGIApplication", metrics: Metrics) -> None:
        self._application = application
        self._metrics = metrics

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == PATH:
            return self._application(environ, start_response)
        status = "500"

        def start(line: str, *others: Any) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, *others)

        started = perf_counter()
        try:
            return self._application(environ, start)
        finally:
            seconds = perf_counter() - started
            self._metrics.count(path, environ["REQUEST_METHOD"], status, seconds)


class _Stored(Collector):
    """What waits in the stream; nothing while its server is away."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def collect(self) -> Iterable[Metric]:
        try:
            backlog = self._stream.backlog()
        except EventsUnavailable:
            return
        yield GaugeMetricFamily("larder_events_stored", "Entries of the stream.", backlog.entries)
        yield GaugeMetricFamily("larder_events_max", "LARDER_EVENTS_MAX.", backlog.most)
        if backlog.since_ms is not None:
            yield GaugeMetricFamily(
                "larder_events_waiting_since_timestamp_seconds",
                "When the oldest event that is in no file was taken.",
                backlog.since_ms / 1000,
            )


class _Decisions(Collector):
    """What waits in the log, and how the trainer does; nothing of a server that is away."""

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire

    def collect(self) -> Iterable[Metric]:
        with suppress(EventsUnavailable):
            entries, most = self._wire.decider.backlog()
            yield GaugeMetricFamily("larder_decisions_log_entries", "Of the log.", entries)
            yield GaugeMetricFamily("larder_decisions_log_max", "LARDER_EVENTS_MAX.", most)
        with suppress(CacheUnavailable, BrokenRecord):
            told = self._wire.desk.trainer()
            at = "larder_decisions_trainer_timestamp_seconds"
            yield GaugeMetricFamily(at, "When a trainer last said that it runs.", told.get("at", 0))
            learned = told.get("learned", 0)
            yield GaugeMetricFamily("larder_decisions_learned", "By its model.", learned)
            pending = told.get("pending", 0)
            yield GaugeMetricFamily("larder_decisions_pending", "Entries that wait.", pending)


class _Model(Collector):
    """The click model of this worker."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def collect(self) -> Iterable[InfoMetricFamily]:
        if name := self._follower.name:
            yield InfoMetricFamily("larder_click_model", "The live model.", {"version": name})


class _Build(Collector):
    def collect(self) -> Iterable[InfoMetricFamily]:
        yield InfoMetricFamily("larder_build", "The release.", {"version": _version()})


def _version() -> str:
    try:
        return version("larder")
    except PackageNotFoundError:
        return "unknown"


def _seconds(moment: str) -> float:
    """Unix seconds of an ISO 8601 text; 0 for any other, which is as good as unknown."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return 0.0
