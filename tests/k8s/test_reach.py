"""The tests' own reading of a NetworkPolicy is that of the Kubernetes documentation."""

from typing import Any

import pytest

from tests.k8s.manifests import COMPONENT, NAME, Object, Overlay
from tests.k8s.rules.network import ways

LABELS = {NAME: "larder", COMPONENT: "api"}
PODS: Object = {
    "kind": "Deployment",
    "metadata": {"name": "larder-api", "namespace": "larder"},
    "spec": {
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"ports": [{"containerPort": 8000}]}]},
        }
    },
}
ONLY_8000 = [{"protocol": "TCP", "port": 8000}]


def into(*specifications: dict[str, Any]) -> set[str]:
    """Who reaches the API on 8000/TCP and on a port that nobody named, under these policies."""
    policies = [
        {"kind": "NetworkPolicy", "metadata": {"namespace": "larder"}, "spec": each}
        for each in specifications
    ]
    found = ways(Overlay("any", [PODS, *policies]), "Ingress")
    return {f"{source} {port}" for source, _, port in found if port in ("8000/TCP", "12345/TCP")}


EVERYBODY = into()
ON_8000 = {way for way in EVERYBODY if way.endswith("8000/TCP")}


def test_without_a_policy_everybody_may() -> None:
    assert {"internet 12345/TCP", "stranger 8000/TCP", "api 8000/TCP"} <= EVERYBODY


@pytest.mark.parametrize(
    ("policies", "may"),
    [
        ([{"podSelector": {}}], set()),
        ([{"podSelector": {}, "policyTypes": ["Egress"]}], EVERYBODY),
        ([{"podSelector": {}, "egress": [], "policyTypes": ["Egress"]}], EVERYBODY),
        ([{"podSelector": {"matchLabels": {COMPONENT: "cache"}}}], EVERYBODY),
        ([{"podSelector": {}, "ingress": [{}]}], EVERYBODY),
        ([{"podSelector": {}, "ingress": [{"ports": ONLY_8000}]}], ON_8000),
        ([{"podSelector": {}, "ingress": [{"from": [], "ports": ONLY_8000}]}], ON_8000),
        ([{"podSelector": {}}, {"podSelector": {}, "ingress": [{"ports": ONLY_8000}]}], ON_8000),
    ],
)
def test_a_policy_for_a_pod_forbids_what_no_policy_allows(
    policies: list[dict[str, Any]], may: set[str]
) -> None:
    assert into(*policies) == may


@pytest.mark.parametrize(
    ("peer", "who"),
    [
        ({"podSelector": {}}, {"api"}),
        ({"podSelector": {"matchLabels": {COMPONENT: "cache"}}}, set()),
        (
            {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}
                }
            },
            {"ingress"},
        ),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": LABELS}}, {"api", "another api"}),
        ({"ipBlock": {"cidr": "198.51.100.0/24"}}, {"internet"}),
        ({"ipBlock": {"cidr": "192.0.0.0/8", "except": ["192.0.2.0/24"]}}, set()),
    ],
)
def test_a_peer_is_who_its_selectors_mean(peer: dict[str, Any], who: set[str]) -> None:
    found = into({"podSelector": {}, "ingress": [{"from": [peer], "ports": ONLY_8000}]})
    assert found == {f"{each} 8000/TCP" for each in who}


def test_a_range_of_ports_ends_where_it_says() -> None:
    ports = [{"protocol": "TCP", "port": 8000, "endPort": 12344}]
    assert into({"podSelector": {}, "ingress": [{"ports": ports}]}) == ON_8000
    ports = [{"protocol": "TCP", "port": 8000, "endPort": 12345}]
    assert into({"podSelector": {}, "ingress": [{"ports": ports}]}) == EVERYBODY
