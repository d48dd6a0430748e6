"""The demo with a Redis Cluster of six, which loses a pod and all pods."""

import re
from collections.abc import Callable

from tests.cluster.kubectl import Cluster
from tests.cluster.looks import expect, personal_list

OPERATOR = "larder-demo-operator"


def six_pods_form_a_cluster(cluster: Cluster) -> str:
    cluster.shell("kubectl apply -k k8s/overlays/demo-redis-cluster")
    for job in ("larder-cache-form", "larder-first-refresh"):
        cluster("wait", "--for=condition=complete", f"job/{job}", "--timeout=10m", seconds=660)
    cluster("rollout", "status", "deployment/larder-api")
    expect(_masters(cluster) == 3, "not three masters")
    return f"three masters, three replicas; {personal_list(cluster, '15')}"


def _masters(cluster: Cluster) -> int:
    """Masters that are there and hold slots, as the first pod sees them."""
    said = cluster.inline(
        "kubectl -n larder exec -it larder-cache-0 -- "
        "valkey-cli --user operator --askpass cluster nodes",
        OPERATOR,
    )
    lines = [line for line in said.splitlines() if re.search(r"\bmaster\b", line)]
    return sum("fail" not in line and line[-1].isdigit() and "-" in line[-12:] for line in lines)


def a_lost_pod_costs_no_list(cluster: Cluster) -> str:
    cluster("delete", "pod/larder-cache-0", "--grace-period=0", "--force")
    cluster("rollout", "status", "statefulset/larder-cache")
    cluster.wait(lambda: _masters(cluster) == 3, "there are three masters")
    cluster.wait(lambda: not cluster.asked("/health/ready")["degraded"], "the cache is back")
    return personal_list(cluster, "15")


def all_pods_made_anew_are_formed_again(cluster: Cluster) -> str:
    cluster("delete", "pod", "-l=app.kubernetes.io/component=cache", "--wait=true")
    cluster("rollout", "status", "statefulset/larder-cache")
    cluster.inline(
        "kubectl -n larder delete job larder-cache-form --ignore-not-found; kubectl apply -k ...",
        **{"...": "k8s/overlays/demo-redis-cluster"},
    )
    cluster(
        "wait", "--for=condition=complete", "job/larder-cache-form", "--timeout=10m", seconds=660
    )
    cluster.wait(lambda: _masters(cluster) == 3, "there are three masters")
    cluster.wait(lambda: not cluster.asked("/health/ready")["degraded"], "the cache is back")
    return personal_list(cluster, "15")


STEPS: list[Callable[[Cluster], str]] = [
    six_pods_form_a_cluster,
    a_lost_pod_costs_no_list,
    all_pods_made_anew_are_formed_again,
]
