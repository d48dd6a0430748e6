"""Who selects whom: Services, budgets and scalers hit the pods that they mean, and nothing else."""

from collections.abc import Iterator
from functools import cache

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from app.http.factory import create_app
from app.recommendations.watcher import Watcher
from app.settings import Settings
from tests.k8s.manifests import COMPONENT, NAME, Object, Overlay, Workload, dig, title

PUBLIC = ("/recommendations", "/items/")


def selectors_are_the_labels_of_their_pods(overlay: Overlay) -> Iterator[str]:
    """A Deployment or StatefulSet selects by the two labels, and its pods carry them."""
    for each in overlay.workloads():
        asked = dig(each.owner, "spec.selector.matchLabels") or {}
        own = {NAME: each.labels.get(NAME, ""), COMPONENT: each.component}
        if not all(own.values()):
            yield f"{each.name}: its pods lack the labels {NAME} and {COMPONENT}"
        elif each.owner["kind"] in ("Deployment", "StatefulSet") and asked != own:
            yield f"{each.name}: its selector is {asked}, the labels of its pods are {own}"


def services_and_budgets_hit_the_pods_they_mean(overlay: Overlay) -> Iterator[str]:
    """Their own component label says whom they mean."""
    for each in overlay.of("Service", "PodDisruptionBudget"):
        meant = dig(each, "metadata.labels") or {}
        labels = _asked(each)
        hit = {workload.component for workload in overlay.selected(labels)}
        if not labels or hit != {meant.get(COMPONENT)}:
            yield f"{title(each)}: means {meant.get(COMPONENT)!r}, selects {sorted(hit)}"


def selectors_use_both_labels(overlay: Overlay) -> Iterator[str]:
    """One alone would hit other parts of Larder, or other programs in the namespace."""
    for owner, selector in _selectors(overlay):
        labels = selector.get("matchLabels", selector)
        if labels and labels.keys() != {NAME, COMPONENT}:
            yield f"{owner}: selects by {sorted(labels)}, must be {NAME} and {COMPONENT}"


def _selectors(overlay: Overlay) -> Iterator[tuple[str, Object]]:
    for each in overlay.of("Service", "PodDisruptionBudget"):
        yield title(each), dig(each, "spec.selector") or {}
    for each in overlay.of("NetworkPolicy"):
        yield title(each), dig(each, "spec.podSelector") or {}
        for peer in peers(each):
            if "namespaceSelector" not in peer:
                yield title(each), peer.get("podSelector") or {}
    for workload in overlay.workloads():
        for constraint in workload.spec.get("topologySpreadConstraints", []):
            yield workload.name, constraint.get("labelSelector") or {}


def peers(policy: Object) -> list[Object]:
    """All whom a NetworkPolicy names, in and out."""
    rules = [*(policy["spec"].get("ingress") or []), *(policy["spec"].get("egress") or [])]
    return [peer for rule in rules for peer in [*rule.get("from", []), *rule.get("to", [])]]


def _asked(selecting: Object) -> dict[str, str]:
    by = "spec.selector" if selecting["kind"] == "Service" else "spec.selector.matchLabels"
    return dig(selecting, by) or {}


def service_ports_are_ports_of_their_pods(overlay: Overlay) -> Iterator[str]:
    """A port that a Service sends to is one that the container opens."""
    for each in overlay.of("Service"):
        for workload in overlay.selected(dig(each, "spec.selector") or {}):
            for port in each["spec"].get("ports", []):
                target = port.get("targetPort", port["port"])
                if not _opens(workload, target):
                    yield f"{title(each)}: port {target!r} is none of {workload.name}"


def _opens(workload: Workload, port: str | int) -> bool:
    ports = workload.ports()
    return port in ports or port in ports.values()


def stateful_sets_have_their_service(overlay: Overlay) -> Iterator[str]:
    """Its pods have names of their own by a Service without an address."""
    for each in overlay.of("StatefulSet"):
        name = dig(each, "spec.serviceName")
        if dig(overlay.get("Service", name), "spec.clusterIP") != "None":
            yield f"{title(each)}: there is no headless Service {name!r}"


def ingress_backends_exist(overlay: Overlay) -> Iterator[str]:
    """An Ingress sends to a Service and a port that are there."""
    for ingress, path in _paths(overlay):
        name, port = dig(path, "backend.service.name"), dig(path, "backend.service.port") or {}
        service = overlay.get("Service", name)
        ports = dig(service, "spec.ports") or []
        if not port or not any(
            port.items() <= {**each, "number": each["port"]}.items() for each in ports
        ):
            yield f"{title(ingress)}: there is no Service {name!r} with the port {port}"


def ingresses_are_encrypted(overlay: Overlay) -> Iterator[str]:
    """Every host has a certificate, and the controller that is meant is named."""
    for each in overlay.of("Ingress"):
        hosts = {host for tls in each["spec"].get("tls", []) for host in tls.get("hosts", [])}
        for rule in each["spec"].get("rules", []):
            if rule.get("host") not in hosts:
                yield f"{title(each)}: there is no TLS for the host {rule.get('host')}"
        if not each["spec"].get("ingressClassName"):
            yield f"{title(each)}: names no ingressClassName"


def ingress_routes_what_is_public_and_nothing_else(overlay: Overlay) -> Iterator[str]:
    """Health, metrics, the manifest and the sample of user ids are for the inside."""
    for ingress in overlay.of("Ingress"):
        paths = [path for found, path in _paths(overlay) if found is ingress]
        for path in sorted(served()):
            routed = any(_routes(each, path) for each in paths)
            if routed and not path.startswith(PUBLIC):
                yield f"{title(ingress)}: routes {path}, which is not for the public"
            elif not routed and path.startswith(PUBLIC):
                yield f"{title(ingress)}: does not route {path}"
        for each in paths:
            if not any(_routes(each, path) for path in served()):
                yield f"{title(ingress)}: {each.get('path')} is no path of the API"


def _paths(overlay: Overlay) -> Iterator[tuple[Object, Object]]:
    """Every path of every Ingress."""
    for ingress in overlay.of("Ingress"):
        for rule in ingress["spec"].get("rules", []):
            for path in dig(rule, "http.paths") or []:
                yield ingress, path


def _routes(asked: Object, path: str) -> bool:
    whole: str = asked.get("path", "/")
    if asked.get("pathType") == "Exact":
        return path == whole
    return f"{path}/".startswith(f"{whole.rstrip('/')}/")


@cache
def served() -> frozenset[str]:
    """The paths that the API answers, an id in them as ``<id:user>``."""
    return frozenset(rule.rule for rule in _urls().iter_rules())


@cache
def _urls() -> Map:
    settings = Settings()
    return create_app(settings, Watcher(settings)).url_map


def probes_ask_what_exists(overlay: Overlay) -> Iterator[str]:
    """A probe's port is opened, and its path is answered by GET."""
    for workload, container in overlay.containers():
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(kind)
            where = f"{workload.name}: {kind} of {container['name']}"
            if probe and not probe.keys() & {"httpGet", "tcpSocket", "exec"}:
                yield f"{where}: asks nothing"
            asked = dig(probe, "httpGet")
            if asked and not _opens(workload, asked["port"]):
                yield f"{where}: port {asked['port']!r} is not opened"
            if asked and not _answers(asked.get("path", "/")):
                yield f"{where}: nothing answers GET {asked.get('path', '/')}"


def _answers(path: str) -> bool:
    try:
        _urls().bind("").match(path, "GET")
    except HTTPException:
        return False
    return True
