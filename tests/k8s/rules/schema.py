"""What Kubernetes itself knows of an object: its kind, its version, its fields."""

import json
import re
from collections.abc import Iterator
from functools import cache

from kubernetes_validate import SchemaNotFoundError, ValidationError, validate

import app.http.metrics
from tests.k8s.manifests import COMPONENT, Overlay, dig, title
from tests.k8s.rules.configuration import variables
from tests.k8s.rules.selection import served

MINORS = ("1.31", "1.37")
"""The oldest and the newest that we support."""
METRICS = frozenset(re.findall(r"^    (larder_\w+)", app.http.metrics.__doc__ or "", re.MULTILINE))
CUSTOM = {
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
}
"""Kinds that no Kubernetes knows by itself; the rules below look at them."""


def objects_are_as_kubernetes_knows_them(overlay: Overlay) -> Iterator[str]:
    """Strictly: a field that the schema lacks is a mistake, and so is a kind without a schema."""
    named = [(title(each), each) for each in overlay.objects]
    inside = [each for each in overlay.workloads() if each.template.get("kind") == "Pod"]
    for where, each in [*named, *((pod.name, pod.template) for pod in inside)]:
        for minor in MINORS if (each["apiVersion"], each["kind"]) not in CUSTOM else ():
            if problem := _problem(json.dumps(each), minor):
                yield f"{where}: Kubernetes {minor}: {problem}"


@cache
def _problem(text: str, minor: str) -> str:
    """Kept, because overlays share most objects, and the schemas are large."""
    try:
        known = validate(json.loads(text), minor, strict=True)
    except SchemaNotFoundError as error:
        return str(error.message)
    except ValidationError as error:
        return f"{'.'.join(str(part) for part in error.path)}: {error.message}"
    return "" if known == minor else f"there are only schemas of {known}"


def objects_carry_our_name(overlay: Overlay) -> Iterator[str]:
    """All are in one namespace, called after Larder, and two never have one name."""
    seen = set()
    for each in overlay.objects:
        name = each["metadata"]["name"]
        if title(each) in seen:
            yield f"{title(each)}: is there twice"
        seen.add(title(each))
        if not name.startswith("larder"):
            yield f"{title(each)}: its name must start with larder"
        if each["kind"] != "Namespace" and each["metadata"].get("namespace") != "larder":
            yield f"{title(each)}: is in the namespace {each['metadata'].get('namespace')}"


def the_namespace_lets_no_other_pod_in(overlay: Overlay) -> Iterator[str]:
    """Kubernetes itself refuses a pod that is less restricted than ours."""
    for each in overlay.of("Namespace"):
        labels = each["metadata"].get("labels", {})
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{title(each)}: does not enforce the restricted profile"


def monitors_read_what_is_served(overlay: Overlay) -> Iterator[str]:
    """A ServiceMonitor selects a Service, and asks a port and a path that are there."""
    for each in overlay.of("ServiceMonitor"):
        asked = dig(each, "spec.selector.matchLabels") or {}
        services = [
            service
            for service in overlay.of("Service")
            if asked.items() <= (dig(service, "metadata.labels") or {}).items()
        ]
        ports = [port.get("name") for each in services for port in each["spec"].get("ports", [])]
        endpoints = each["spec"].get("endpoints", [])
        if not asked.get(COMPONENT) or len(services) != 1:
            yield f"{title(each)}: selects {len(services)} Services, must be one"
        if not endpoints:
            yield f"{title(each)}: asks nothing"
        for endpoint in endpoints:
            if endpoint.get("port") not in ports:
                yield f"{title(each)}: port {endpoint.get('port')!r} is none of {ports}"
            if endpoint.get("path") not in served():
                yield f"{title(each)}: nothing answers GET {endpoint.get('path')}"
        for workload in overlay.workloads("api"):
            for container in workload.containers():
                if variables(overlay, container).get("LARDER_METRICS") != "true":
                    yield f"{title(each)}: LARDER_METRICS of {workload.name} is not true"


def alerts_say_what_is_wrong(overlay: Overlay) -> Iterator[str]:
    """Each has a name of its own, an expression, a severity and a sentence."""
    for each in overlay.of("PrometheusRule"):
        names = set()
        for group in dig(each, "spec.groups") or [{}]:
            for rule in group.get("rules") or [{}]:
                name = rule.get("alert", "")
                summary = dig(rule, "annotations.summary")
                if not (name and rule.get("expr") and summary and dig(rule, "labels.severity")):
                    yield f"{title(each)}: {name or rule} lacks its expression, severity or summary"
                for metric in re.findall(r"\blarder_\w+", rule.get("expr", "")):
                    if metric not in METRICS:
                        yield f"{title(each)}: {name} asks for {metric}, which nothing counts"
                if name in names:
                    yield f"{title(each)}: {name} is there twice"
                names.add(name)
