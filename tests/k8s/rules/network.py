"""Who may talk to whom: the NetworkPolicies allow what is promised here, word by word."""

from collections.abc import Iterator

from tests.k8s.defects import GONE, TYPO, catches
from tests.k8s.manifests import COMPONENT, NAME, Object, Overlay, dig

INSIDE = "kubernetes.io/metadata.name"
"""The label by which Kubernetes itself names a namespace."""
OTHERS: dict[str, Object] = {
    "ingress": {"namespaceSelector": {"matchLabels": {INSIDE: "ingress-nginx"}}},
    "monitoring": {"namespaceSelector": {"matchLabels": {INSIDE: "monitoring"}}},
    "dns": {
        "namespaceSelector": {"matchLabels": {INSIDE: "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    },
    "their-cache": {"ipBlock": {"cidr": "192.0.2.0/24"}},
    "kubernetes": {"ipBlock": {"cidr": "203.0.113.0/28"}},
    "storage": {"ipBlock": {"cidr": "203.0.113.128/25"}},
}
"""Who is not of Larder, and how a policy must name it."""
EVERYWHERE = """
ingress loadtest > api 8000/TCP
api refresh loadtest > dns 53/UDP 53/TCP
"""
OUR_CACHE = "api refresh clicks clicks-train decisions decisions-train > cache 6379/TCP"
AMONG_NODES = """
cache > cache 6379/TCP 16379/TCP
cache-form > cache 6379/TCP
cache-form > dns 53/UDP 53/TCP
"""
THEIR_CACHE = OUR_CACHE.replace("> cache 6379", "> their-cache 6380")
OUR_EVENTS = "api refresh > events 6379/TCP"
WITH_EXECUTORS = """
refresh > kubernetes 6443/TCP
refresh executor > storage 443/TCP
refresh executor > executor 7079/TCP
executor > refresh 7078/TCP 7079/TCP
executor > their-cache 6380/TCP
executor > dns 53/UDP 53/TCP
"""
PROMISED = {
    "demo": (EVERYWHERE, OUR_CACHE),
    "demo-redis-cluster": (EVERYWHERE, OUR_CACHE, AMONG_NODES),
    "production": (EVERYWHERE, THEIR_CACHE, OUR_EVENTS),
    "spark": (EVERYWHERE, THEIR_CACHE, OUR_EVENTS, WITH_EXECUTORS),
    "monitoring": ("monitoring > api 8000/TCP",),
    "clicks": ("ingress > clicks 8000/TCP", "clicks clicks-train > dns 53/UDP 53/TCP"),
    "clicks-monitoring": ("monitoring > clicks 8000/TCP",),
    "decisions": (
        "ingress > decisions 5000/TCP",
        "decisions decisions-train > dns 53/UDP 53/TCP",
    ),
    "decisions-events": ("decisions decisions-train > events 6379/TCP",),
    "workbench": ("workbench > cache 6379/TCP", "workbench > dns 53/UDP 53/TCP"),
    "decisions-monitoring": ("monitoring > decisions 5000/TCP",),
}
POLICY = "NetworkPolicy larder-api"
DENY = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

Way = tuple[str, str, str]


@catches("NetworkPolicy larder-default-deny", "spec/policyTypes", ["Ingress"])
def nothing_is_open_by_default(overlay: Overlay) -> Iterator[str]:
    """Only then does each policy open what it names, and nothing else is open."""
    if DENY not in [each["spec"] for each in overlay.of("NetworkPolicy")]:
        yield "there is no NetworkPolicy that denies every pod everything"


@catches(POLICY, "spec/ingress", [{}])
@catches(POLICY, "spec/ingress/0/ports", GONE)
@catches(POLICY, "spec/ingress/0/from/0/podSelector", {"matchLabels": TYPO})
@catches(POLICY, "spec/policyTypes", ["Ingress"])
@catches("NetworkPolicy larder-refresh", "spec/egress/0/ports/0/port", 6380)
@catches(POLICY, "spec/egress/0/to/0/ipBlock/cidr", "0.0.0.0/0", "production")
@catches(POLICY, "spec/podSelector", {})
@catches("NetworkPolicy larder-events", "spec/ingress/0/from", [{}], "production")
def only_the_promised_ways_are_open(overlay: Overlay) -> Iterator[str]:
    """These and no other. Either side must say so, because either side may be forgotten."""
    promised = _promised(overlay)
    ours = {each.component for each in overlay.workloads()}
    there = ours | OTHERS.keys()
    for direction, end in (("Egress", 0), ("Ingress", 1)):
        wanted = {way for way in promised if way[end] in ours and there.issuperset(way[:2])}
        found = set(_ways(overlay, direction))
        for source, target, port in sorted(found - wanted):
            yield f"{direction} lets {source} reach {target} on {port}"
        for source, target, port in sorted(wanted - found):
            yield f"{direction} does not let {source} reach {target} on {port}"


def _promised(overlay: Overlay) -> set[Way]:
    found = set()
    for line in "\n".join("\n".join(PROMISED[each]) for each in overlay.name.split("+")).split(
        "\n"
    ):
        sources, _, rest = line.partition(" > ")
        target, *ports = rest.split() or [""]
        found |= {(source, target, port) for source in sources.split() for port in ports}
    return found


def _ways(overlay: Overlay, direction: str) -> Iterator[Way]:
    """Source, target and port of all that the policies of one side name."""
    side, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    for policy in overlay.of("NetworkPolicy"):
        spec = policy["spec"]
        own = _who({"podSelector": spec["podSelector"]})
        for rule in spec.get(side, []) if direction in spec["policyTypes"] else ():
            for other in rule.get(peers) or [{}]:
                ends = (own, _who(other)) if direction == "Egress" else (_who(other), own)
                yield from ((*ends, port) for port in _ports(rule))


def _who(peer: Object) -> str:
    """The name of a peer that is one of ours or of ``OTHERS``; else the peer as it stands."""
    labels = dig(peer, "podSelector.matchLabels") or {}
    ours = {"podSelector": {"matchLabels": {NAME: "larder", COMPONENT: labels.get(COMPONENT)}}}
    if peer == ours:
        return str(labels[COMPONENT])
    return next((name for name, known in OTHERS.items() if known == peer), str(peer))


def _ports(rule: Object) -> list[str]:
    asked = rule.get("ports") or [{}]
    return [
        f"{each['port']}/{each['protocol']}" if {*each} == {"port", "protocol"} else str(each)
        for each in asked
    ]
