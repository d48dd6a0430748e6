"""Prometheus asks what is served, and its alerts are of what is counted."""

import inspect
import re
from collections.abc import Iterator

import app.http.metrics
from tests.k8s.defects import GONE, catches
from tests.k8s.manifests import COMPONENT, Overlay, dig, title
from tests.k8s.rules.api import served

METRICS = frozenset(re.findall(r'"(larder_\w+)"', inspect.getsource(app.http.metrics)))
"""As they are counted; Prometheus reads some of them with a suffix."""
DEMO = "demo+monitoring"
RULE = "spec/groups/0/rules"


@catches("ServiceMonitor larder-api", "spec/endpoints/0/port", "metrics", DEMO)
def monitors_read_what_is_served(overlay: Overlay) -> Iterator[str]:
    """A ServiceMonitor selects one Service, and asks a port and a path that are there."""
    for each in overlay.of("ServiceMonitor"):
        asked = dig(each, "spec.selector.matchLabels")
        found = [one for one in overlay.of("Service") if one["metadata"]["labels"] == asked]
        ports = [port["name"] for one in found for port in one["spec"]["ports"]]
        ends = [
            (end["port"] in ports, end["path"] in served()) for end in each["spec"]["endpoints"]
        ]
        if len(found) != 1 or ends != [(True, True)]:
            yield f"{title(each)}: {len(found)} Services; port and path are there: {ends}"


@catches("ConfigMap larder-api", "data/LARDER_METRICS", "false", DEMO)
def what_is_read_is_counted(overlay: Overlay) -> Iterator[str]:
    """Metrics are off by default."""
    monitors = overlay.of("ServiceMonitor")
    read = {dig(each, "spec.selector.matchLabels")[COMPONENT] for each in monitors}
    for workload, container in overlay.containers():
        if workload.component not in read:
            continue
        if overlay.variables(container).get("LARDER_METRICS") != "true":
            yield f"{workload.name}: LARDER_METRICS is not true"


@catches("PrometheusRule larder", f"{RULE}/1/expr", "larder_generation_age > 1", DEMO)
@catches("PrometheusRule larder", f"{RULE}/0/annotations", GONE, DEMO)
def alerts_say_what_is_wrong(overlay: Overlay) -> Iterator[str]:
    """Each asks for metrics that are counted, and has a severity and a sentence."""
    for each in overlay.of("PrometheusRule"):
        for rule in (rule for group in each["spec"]["groups"] for rule in group["rules"]):
            asked = re.findall(r"\b(larder_\w+?)(?:_total|_bucket|_count|_sum)?\b", rule["expr"])
            unknown = {*asked} - METRICS
            told = dig(rule, "annotations.summary") and dig(rule, "labels.severity")
            if unknown or not told:
                yield f"{title(each)}: {rule['alert']}: no summary or severity, or {unknown}"
