"""Who may talk to whom, worked out from the NetworkPolicies as a cluster would."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import product

from tests.k8s.manifests import Object, Overlay, dig
from tests.k8s.rules.selection import peers

INSIDE = "kubernetes.io/metadata.name"
"""The label by which Kubernetes itself names a namespace."""
OTHER = 12345
"""Stands for all ports that no policy names."""
DNS = {
    (who, "dns", f"53/{protocol}")
    for who in ("api", "refresh", "loadtest")
    for protocol in ("TCP", "UDP")
}
EVERYWHERE = {("ingress", "api", "8000/TCP"), ("loadtest", "api", "8000/TCP")} | DNS
OUR_CACHE = {("api", "cache", "6379/TCP"), ("refresh", "cache", "6379/TCP")}
THEIR_CACHE = {("api", "their cache", "6380/TCP"), ("refresh", "their cache", "6380/TCP")}
AMONG_NODES = {
    ("cache", "cache", "6379/TCP"),
    ("cache", "cache", "16379/TCP"),
    ("cache-form", "cache", "6379/TCP"),
    ("cache-form", "dns", "53/TCP"),
    ("cache-form", "dns", "53/UDP"),
}
WITH_EXECUTORS = {
    ("refresh", "kubernetes", "6443/TCP"),
    ("refresh", "storage", "443/TCP"),
    ("refresh", "executor", "7079/TCP"),
    ("executor", "refresh", "7078/TCP"),
    ("executor", "refresh", "7079/TCP"),
    ("executor", "executor", "7079/TCP"),
    ("executor", "storage", "443/TCP"),
    ("executor", "their cache", "6380/TCP"),
    ("executor", "dns", "53/TCP"),
    ("executor", "dns", "53/UDP"),
}
PROMISED = {
    "demo": EVERYWHERE | OUR_CACHE,
    "demo-redis-cluster": EVERYWHERE | OUR_CACHE | AMONG_NODES,
    "production": EVERYWHERE | THEIR_CACHE,
    "spark": EVERYWHERE | THEIR_CACHE | WITH_EXECUTORS,
}
ADDED = {"monitoring": {("monitoring", "api", "8000/TCP")}}

Way = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody who may talk: pods of ours, pods of others, or a machine outside."""

    name: str
    address: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)


OTHERS = (
    Place("ingress", "10.1.0.1", "ingress-nginx"),
    Place("monitoring", "10.1.0.2", "monitoring"),
    Place("stranger", "10.1.0.3", "elsewhere", {"k8s-app": "kube-dns"}),
    Place("dns", "10.1.0.4", "kube-system", {"k8s-app": "kube-dns"}),
    Place("control plane", "10.1.0.5", "kube-system"),
    Place("their cache", "192.0.2.10"),
    Place("kubernetes", "203.0.113.1"),
    Place("storage", "203.0.113.200"),
    Place("internet", "198.51.100.10"),
)


def only_the_promised_ways_are_open(overlay: Overlay) -> Iterator[str]:
    """All ways from anybody to anybody, on every port: these and no other.

    Either side must say so, because either side may be forgotten.
    """
    added = overlay.name.split("+")[1:]
    promised = PROMISED.get(overlay.base, set()).union(*(ADDED[each] for each in added))
    ours = {each.component for each in overlay.workloads()}
    for direction, end in (("Egress", 0), ("Ingress", 1)):
        wanted = {way for way in promised if way[end] in ours}
        found = ways(overlay, direction)
        for source, target, port in sorted(found - wanted):
            yield f"{direction} lets {source} reach {target} on {port}"
        for source, target, port in sorted(wanted - found):
            yield f"{direction} does not let {source} reach {target} on {port}"


def nothing_is_open_by_default(overlay: Overlay) -> Iterator[str]:
    """A pod that somebody adds can neither be reached nor reach anything."""
    for each in overlay.of("NetworkPolicy"):
        spec = each["spec"]
        both = {"Ingress", "Egress"} <= set(spec.get("policyTypes", []))
        if both and not spec.get("podSelector") and not ("ingress" in spec or "egress" in spec):
            return
    yield "there is no NetworkPolicy that denies every pod everything"


def policies_name_pods_that_exist(overlay: Overlay) -> Iterator[str]:
    """A policy for pods that nobody makes protects nothing."""
    for each in overlay.of("NetworkPolicy"):
        for labels in _named(each):
            if not overlay.selected(labels):
                yield f"NetworkPolicy {each['metadata']['name']}: no pod has the labels {labels}"


def _named(policy: Object) -> Iterator[dict[str, str]]:
    yield dig(policy, "spec.podSelector.matchLabels") or {}
    for peer in peers(policy):
        if "namespaceSelector" not in peer:
            yield dig(peer, "podSelector.matchLabels") or {}


def ways(overlay: Overlay, direction: str) -> set[Way]:
    """Source, target and port of all that the policies of one side let out of our pods, or in."""
    policies = overlay.of("NetworkPolicy")
    ours = {
        each.component: Place(each.component, "10.2.0.1", _namespace(overlay), each.labels)
        for each in overlay.workloads()
    }
    doors = list(product(_ports(overlay), ("TCP", "UDP")))
    others = [*ours.values(), *OTHERS, *(_double(each) for each in ours.values())]
    found = (
        (own.name, other.name, f"{port}/{protocol}")
        for own, other in product(ours.values(), others)
        for port, protocol in doors
        if _lets(policies, direction, own, other, port, protocol)
    )
    return {way if direction == "Egress" else (way[1], way[0], way[2]) for way in found}


def _double(place: Place) -> Place:
    """Somebody else's pod, in another namespace, with the labels of one of ours."""
    return Place(f"another {place.name}", "10.1.0.9", "elsewhere", place.labels)


def _namespace(overlay: Overlay) -> str:
    return str(overlay.workloads()[0].owner["metadata"].get("namespace", ""))


def _ports(overlay: Overlay) -> list[int]:
    opened = {port for each in overlay.workloads() for port in each.ports().values()}
    named = {
        end
        for each in overlay.of("NetworkPolicy")
        for rule in [*each["spec"].get("ingress", []), *each["spec"].get("egress", [])]
        for port in rule.get("ports", [])
        for end in (port.get("port"), port.get("endPort"))
        if isinstance(end, int)
    }
    return sorted(opened | named | {OTHER})


def _lets(
    policies: list[Object], direction: str, own: Place, other: Place, port: int, protocol: str
) -> bool:
    """Whether the policies for ``own`` let it; where none is for it, everything is."""
    about = [each for each in policies if _is_for(each, direction, own)]
    side, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    rules = [(each, rule) for each in about for rule in each["spec"].get(side) or []]
    return not about or any(
        _fits_port(rule.get("ports"), port, protocol)
        and (not rule.get(peers) or any(_fits(peer, policy, other) for peer in rule[peers]))
        for policy, rule in rules
    )


def _is_for(policy: Object, direction: str, place: Place) -> bool:
    spec = policy["spec"]
    kinds = spec.get("policyTypes", ["Ingress", *(["Egress"] if "egress" in spec else [])])
    inside = policy["metadata"].get("namespace", "") == place.namespace
    return direction in kinds and inside and _has(place.labels, spec.get("podSelector") or {})


def _fits(peer: Object, policy: Object, place: Place) -> bool:
    if block := peer.get("ipBlock"):
        address = ip_address(place.address)
        without = any(address in ip_network(each) for each in block.get("except", []))
        return address in ip_network(block["cidr"]) and not without
    if "namespaceSelector" in peer:
        inside = bool(place.namespace) and _has(
            {INSIDE: place.namespace}, peer["namespaceSelector"]
        )
    else:
        inside = policy["metadata"].get("namespace", "") == place.namespace
    return inside and _has(place.labels, peer.get("podSelector") or {})


def _has(labels: dict[str, str], selector: Object) -> bool:
    unknown = selector.keys() - {"matchLabels"}
    assert not unknown, f"the tests do not understand a selector with {unknown}"
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def _fits_port(asked: list[Object] | None, port: int, protocol: str) -> bool:
    return not asked or any(
        each.get("protocol", "TCP") == protocol and _includes(each, port) for each in asked
    )


def _includes(asked: Object, port: int) -> bool:
    first = asked.get("port", port)
    assert isinstance(first, int), f"the tests do not understand a port called {first!r}"
    return bool(first <= port <= asked.get("endPort", first))
