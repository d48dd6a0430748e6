"""The API: where it listens, what it is asked, how it is spread, and how it ends."""

import os
from collections.abc import Iterator
from functools import cache
from runpy import run_module
from unittest.mock import patch

from app.http.factory import create_app
from app.http.granian_server import graceful_seconds
from app.recommendations.watcher import Watcher
from app.settings import Settings
from tests.k8s.defects import (
    API,
    CLICKS,
    DECISIONS,
    FIRST,
    GONE,
    POD,
    WITH_CLICKS,
    WITH_DECISIONS,
    catches,
)
from tests.k8s.manifests import Object, Overlay, dig, quantity, title
from tests.k8s.rules.images import image_name

LIVE, READY = "/health/live", "/health/ready"
KINDS = ("startupProbe", "livenessProbe", "readinessProbe")
OURS, THEIRS = (LIVE, LIVE, READY), ("/status", "/status", "/ready")
PROBES = {"api": OURS, "clicks": OURS, "decisions": THEIRS}
"""Of what answers requests: startup, liveness, readiness."""
SERVICES = tuple(PROBES)
"""What answers requests."""
PUBLIC = ("/recommendations", "/items/", "/events", "/v1/", "/larder.js")
INGRESS = "Ingress larder-api"


@cache
def served() -> frozenset[str]:
    """The paths that the API answers, an id in them as ``<id:user>``."""
    apps = [create_app(each, Watcher(each)) for each in (Settings(), Settings(decisions="only"))]
    return frozenset(rule.rule for each in apps for rule in each.url_map.iter_rules())


@catches(API, f"{FIRST}/livenessProbe/httpGet/path", "/health/ready")
@catches(API, f"{FIRST}/readinessProbe/httpGet/port", 8080)
@catches(CLICKS, f"{FIRST}/startupProbe/httpGet/path", "/health/ready", WITH_CLICKS)
@catches(DECISIONS, f"{FIRST}/livenessProbe/httpGet/path", "/ready", WITH_DECISIONS)
def the_api_is_restarted_by_live_and_fed_by_ready(overlay: Overlay) -> Iterator[str]:
    """The other way round, an empty cache would restart every pod for ever."""
    for workload, container in overlay.containers(*SERVICES):
        for kind, path in zip(KINDS, PROBES[workload.component], strict=True):
            asked = dig(container, f"{kind}.httpGet") or {}
            if asked.get("path") != path or path not in served():
                yield f"{workload.name}: {kind} must ask {path}"
            elif not workload.opens(asked["port"]):
                yield f"{workload.name}: {kind} asks a port that is not opened"


@catches("ConfigMap larder-api", "data/LARDER_WORKERS", "16")
def workers_have_their_cores(overlay: Overlay) -> Iterator[str]:
    """A worker of the API is one Python process: more of them than cores only wait."""
    for workload, container in overlay.containers(*SERVICES):
        workers = overlay.variables(container).get("LARDER_WORKERS", "0")
        cores = dig(container, "resources.limits.cpu") or workers
        if quantity(workers) > quantity(cores):
            yield f"{workload.name}: LARDER_WORKERS is {workers}, the limit {cores} cores"


@catches("ConfigMap larder-api", "data/LARDER_CLICKS", "on")
@catches("ConfigMap larder-clicks", "data/LARDER_CLICKS", "off", WITH_CLICKS)
@catches("ConfigMap larder-decisions", "data/LARDER_DECISIONS", "on", WITH_DECISIONS)
def who_scores_can(overlay: Overlay) -> Iterator[str]:
    """Only one image has what scores, one what decides; such a pod must not wait for lists."""
    for workload, container in overlay.containers(*SERVICES):
        clicks = overlay.variables(container).get("LARDER_CLICKS")
        wanted = ("on", "only") if image_name(container) == "larder-clicks" else ("off",)
        if clicks not in wanted or (workload.component == "clicks" and clicks != "only"):
            yield f"{workload.name}: LARDER_CLICKS is {clicks} in {container['image']}"
        decides = overlay.variables(container).get("LARDER_DECISIONS")
        if decides != ("only" if image_name(container) == "larder-decisions" else "off"):
            yield f"{workload.name}: LARDER_DECISIONS is {decides} in {container['image']}"


@catches("ConfigMap larder-api", "data/LARDER_BIND", "127.0.0.1:8000")
def the_api_listens_where_it_is_asked(overlay: Overlay) -> Iterator[str]:
    """On the port that its container opens, and not on the loopback alone."""
    for workload, container in overlay.containers(*SERVICES):
        bind = overlay.variables(container).get("LARDER_BIND", "")
        if bind not in [f"0.0.0.0:{port}" for port in workload.ports().values()]:
            yield f"{workload.name}: listens on {bind}, its container opens {workload.ports()}"


@catches(API, f"{POD}/terminationGracePeriodSeconds", 11)
@catches("ConfigMap larder-api", "data/LARDER_CACHE_TIMEOUT_MS", "30000")
@catches(API, f"{FIRST}/lifecycle", GONE)
def the_api_has_time_to_end(overlay: Overlay) -> Iterator[str]:
    """First the Service forgets the pod (preStop), then the server answers what it has begun."""
    for workload, container in overlay.containers(*SERVICES):
        before = dig(container, "lifecycle.preStop.sleep.seconds") or 0
        needed = before + _graceful_timeout(overlay.variables(container))
        given = workload.spec.get("terminationGracePeriodSeconds", 30)
        if not before or given <= needed:
            yield f"{workload.name}: {before} s of preStop, {needed} s in all, {given} s are given"


def _graceful_timeout(settings: dict[str, str]) -> int:
    """The most that a server gives to requests in flight; 0 when the settings are wrong."""
    with patch.dict(os.environ, settings, clear=True):
        try:
            gunicorn = int(run_module("app.http.gunicorn_conf")["graceful_timeout"])
            return max(gunicorn, graceful_seconds(Settings.from_environment(settings)))
        except SystemExit:
            return 0


@catches(API, f"{POD}/topologySpreadConstraints/0", GONE)
def pods_of_the_api_are_spread(overlay: Overlay) -> Iterator[str]:
    """Over nodes and zones."""
    for each in overlay.workloads(*SERVICES):
        keys = {one["topologyKey"] for one in each.spec.get("topologySpreadConstraints", [])}
        if keys != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
            yield f"{each.name}: is spread over {sorted(keys)}"


@catches(INGRESS, "spec/rules/0/http/paths/0/path", "/", "production")
@catches(INGRESS, "spec/rules/0/http/paths/1/pathType", "Exact", "production")
def ingress_routes_what_is_public_and_nothing_else(overlay: Overlay) -> Iterator[str]:
    """Health, metrics, the manifest and the sample of user ids are for the inside."""
    for ingress in overlay.of("Ingress"):
        paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
        for path in sorted(served()):
            routed = any(_routes(each, path) for each in paths)
            if routed is not path.startswith(PUBLIC):
                yield f"{title(ingress)}: {'routes' if routed else 'does not route'} {path}"
        for each in paths:
            if not any(_routes(each, path) for path in served()):
                yield f"{title(ingress)}: {each['path']} is no path of the API"


def _routes(asked: Object, path: str) -> bool:
    whole: str = asked.get("path", "/")
    if asked.get("pathType") == "Exact":
        return path == whole
    return f"{path}/".startswith(f"{whole.rstrip('/')}/")


@catches(INGRESS, "spec/tls/0/hosts/0", "example.com", "production")
@catches(INGRESS, "spec/rules/0/http/paths/0/backend/service/port", {"number": 8000}, "production")
def ingress_is_encrypted_and_sends_to_the_service(overlay: Overlay) -> Iterator[str]:
    """Every host has a certificate, and every path goes to a port that the Service has."""
    for ingress in overlay.of("Ingress"):
        hosts = [host for tls in ingress["spec"].get("tls", []) for host in tls["hosts"]]
        for rule in ingress["spec"]["rules"]:
            if rule.get("host") not in hosts:
                yield f"{title(ingress)}: there is no TLS for the host {rule.get('host')}"
            for service in (path["backend"]["service"] for path in rule["http"]["paths"]):
                ports = dig(overlay.get("Service", service["name"]), "spec.ports") or []
                if service["port"] not in [{"name": each["name"]} for each in ports]:
                    yield f"{title(ingress)}: no Service has the port of {service}"
