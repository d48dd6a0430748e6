"""The API: where it listens, how it is spread, and how it ends without losing a request."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache

from tests.k8s.manifests import Overlay, dig
from tests.k8s.rules.configuration import variables
from tests.k8s.rules.pods import quantity
from tests.servers import environment

CHECKS = {"livenessProbe": "/health/live", "readinessProbe": "/health/ready"}


def the_api_is_restarted_by_live_and_fed_by_ready(overlay: Overlay) -> Iterator[str]:
    """The other way round, an empty cache would restart every pod for ever."""
    for workload, container in overlay.containers("api"):
        for kind, path in CHECKS.items():
            if dig(container, f"{kind}.httpGet.path") != path:
                yield f"{workload.name}: {kind} of {container['name']} must ask {path}"
        if "startupProbe" not in container:
            yield f"{workload.name}: {container['name']} gets no time to start (startupProbe)"


def workers_have_their_cores(overlay: Overlay) -> Iterator[str]:
    """A worker of the API is one Python process: more of them than cores only wait."""
    for workload, container in overlay.containers("api"):
        workers = variables(overlay, container).get("LARDER_WORKERS", "0")
        cores = dig(container, "resources.limits.cpu")
        if cores is not None and quantity(workers) > quantity(cores):
            yield f"{workload.name}: LARDER_WORKERS is {workers}, the limit {cores} cores"


def the_api_listens_where_it_is_asked(overlay: Overlay) -> Iterator[str]:
    """On the port that its container opens, and not on the loopback alone."""
    for workload, container in overlay.containers("api"):
        bind = variables(overlay, container).get("LARDER_BIND", "")
        opened = [port["containerPort"] for port in container.get("ports", [])]
        if bind and bind not in [f"0.0.0.0:{port}" for port in opened]:
            yield f"{workload.name}: listens on {bind}, its container opens {opened}"


def the_api_has_time_to_end(overlay: Overlay) -> Iterator[str]:
    """First the Service forgets the pod (preStop), then gunicorn answers what it has begun."""
    for workload, container in overlay.containers("api"):
        before = dig(container, "lifecycle.preStop.sleep.seconds") or 0
        settings = frozenset(variables(overlay, container).items())
        needed = before + _graceful_timeout(settings)
        given = workload.spec.get("terminationGracePeriodSeconds", 30)
        if not before:
            yield f"{workload.name}: no preStop sleep, so the Service still sends to what ends"
        if given <= needed:
            yield f"{workload.name}: terminationGracePeriodSeconds {given} is not over {needed}"


@cache
def _graceful_timeout(settings: frozenset[tuple[str, str]]) -> int:
    """The seconds that gunicorn gives to requests in flight; 0 when the settings are wrong."""
    program = "import app.http.gunicorn_conf; print(app.http.gunicorn_conf.graceful_timeout)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(dict(settings)), capture_output=True
    )
    return int(done.stdout or 0)


def pods_of_the_api_are_spread(overlay: Overlay) -> Iterator[str]:
    """Over nodes and zones, counting its own pods."""
    for each in overlay.workloads("api"):
        constraints = each.spec.get("topologySpreadConstraints", [])
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone"):
            if key not in [constraint["topologyKey"] for constraint in constraints]:
                yield f"{each.name}: is not spread over {key}"
        for constraint in constraints:
            asked = dig(constraint, "labelSelector.matchLabels") or {}
            if not asked or not asked.items() <= each.labels.items():
                yield f"{each.name}: spreads pods with the labels {asked}, which are not its own"
