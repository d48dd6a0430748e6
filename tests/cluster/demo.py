"""The demo: it serves, and loses no request while pods come, go and are killed."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable

from tests.cluster.kubectl import Cluster, Failed
from tests.cluster.load import nothing_lost, told, under_load
from tests.cluster.looks import expect, kill_9, names

API = "-l=app.kubernetes.io/component=api"
SIMILAR = "status 503 in place of 200"
DEGRADED = "degraded answer"


def the_demo_serves(cluster: Cluster) -> str:
    began = time.monotonic()
    answer = cluster.block("Apply", 2)
    expect('"source":"personal"' in answer, answer)
    return f"the first list {time.monotonic() - began:.0f} s after `kubectl apply`"


def the_autoscaler_has_figures(cluster: Cluster) -> str:
    path = ".status.currentMetrics[0].resource.current.averageUtilization"
    cluster.wait(lambda: cluster.value("hpa/larder-api", path), "the autoscaler has figures")
    cluster.block("Watch", 1)
    return f"CPU at {cluster.value('hpa/larder-api', path)} % of the request"


def a_pod_has_the_rights_of_its_manifest(cluster: Cluster) -> str:
    status = cluster("exec", "deployment/larder-api", "--", "cat", "/proc/1/status")
    for line in (r"Uid:(\s10001){4}", r"CapEff:\s0{16}", r"NoNewPrivs:\s1", r"Seccomp:\s2"):
        expect(re.search(line, status), f"not {line}: {status}")
    try:
        cluster("exec", "deployment/larder-api", "--", "touch", "/opt/new")
    except Failed as refused:
        expect("Read-only file system" in str(refused), str(refused))
        return "user 10001, no capability, seccomp, a read-only root"
    raise Failed("its root can be written to")


def the_load_test_is_green(cluster: Cluster) -> str:
    said = cluster.block("Run the load test", 1)
    expect("verdict: GREEN" in said, said[-1500:])
    return str(nothing_lost(said))


def what_was_bought_does_not_come_back(cluster: Cluster) -> str:
    said = cluster.block("Run the load test", 2)
    expect("verdict: GREEN" in said, said[-1500:])
    nothing_lost(said)
    return _line(said, "lists that their users asked for afterwards")


def _line(said: str, words: str) -> str:
    """The line that holds them. Raises Failed."""
    found = [line.strip(" -") for line in said.splitlines() if words in line]
    expect(found, f"nothing is said of {words}: {said[-1500:]}")
    return found[0]


def a_rolling_restart_loses_nothing(cluster: Cluster) -> str:
    def restart() -> None:
        cluster("rollout", "restart", "deployment/larder-api")
        cluster("rollout", "status", "deployment/larder-api")

    return str(nothing_lost(under_load(cluster, "restart", restart)))


def a_deleted_pod_loses_nothing(cluster: Cluster) -> str:
    def delete() -> None:
        cluster("delete", names(cluster, API)[0])
        cluster("rollout", "status", "deployment/larder-api")

    return str(nothing_lost(under_load(cluster, "sigterm", delete)))


def a_killed_pod_costs_its_connections(cluster: Cluster) -> str:
    found = told(under_load(cluster, "kill", lambda: kill_9(cluster, names(cluster, API)[0])))
    expect(found.lost.total() <= 25, f"{found}: {dict(found.lost)}")  # half of its callers
    return str(found)


def a_scale_up_loses_nothing(cluster: Cluster) -> str:
    def raise_bounds() -> None:
        patch = {"spec": {"minReplicas": 3}}
        cluster("patch", "hpa/larder-api", "-p", json.dumps(patch))
        cluster.wait(lambda: _ready(cluster) == 3, "three pods are ready")

    return f"2 to 3 pods; {nothing_lost(under_load(cluster, 'scale', raise_bounds))}"


def _ready(cluster: Cluster) -> int:
    return int(cluster.value("deployment/larder-api", ".status.readyReplicas") or 0)


def a_drain_loses_nothing(cluster: Cluster) -> str:
    """All pods of the API are on one node, which is drained: the budget lets one go at a time."""
    cache = cluster.value("pod/larder-cache-0", ".spec.nodeName")
    nodes = [each["metadata"]["name"] for each in cluster.get("nodes")["items"]]
    if len(nodes) < 2:
        return "not run: there is one node, and nowhere to go"
    drained = next(each for each in nodes if each != cache)
    others = [each for each in nodes if each != drained]
    try:
        cluster("cordon", *others)
        cluster("rollout", "restart", "deployment/larder-api")
        cluster("rollout", "status", "deployment/larder-api")
        cluster.wait(lambda: _places(cluster) == {drained}, "all pods are on the node")
        cluster("uncordon", *others)
        cluster("cordon", drained)  # the load test goes elsewhere
        said = _drained_under_load(cluster, drained)
    finally:
        cluster("uncordon", *nodes)
    expect(drained not in _places(cluster), "a pod is still on the drained node")
    return said


def _drained_under_load(cluster: Cluster, node: str) -> str:
    said: list[str] = []

    def drain() -> None:
        words = ("--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={API[3:]}")
        said.append(cluster.shell(f"kubectl drain {node} {' '.join(words)} 2>&1"))
        cluster("rollout", "status", "deployment/larder-api")

    found = nothing_lost(under_load(cluster, "drain", drain, seconds=90))
    refused = said[0].count("would violate the pod's disruption budget")
    expect(refused, f"the budget refused nothing: {said[0]}")
    return f"{said[0].count('evicted')} pods evicted, {refused} evictions put off; {found}"


def _places(cluster: Cluster) -> set[str]:
    return {each["spec"].get("nodeName", "") for each in cluster.get("pods", API)["items"]}


def a_killed_cache_loses_no_list(cluster: Cluster) -> str:
    def kill() -> None:
        kill_9(cluster, "pod/larder-cache-0")
        cluster.wait(lambda: not cluster.asked("/health/ready")["degraded"], "the cache is back")

    found = told(under_load(cluster, "cache", kill))
    others = Counter(found.lost)
    degraded, similar = others.pop(DEGRADED, 0), others.pop(SIMILAR, 0)
    expect(not others and degraded >= similar, f"{found}: {dict(found.lost)}")
    return f"of {found.requests:,} requests {degraded} degraded, {similar} of similar items 503"


def an_undo_brings_the_code_of_before(cluster: Cluster) -> str:
    before = cluster.value("deployment/larder-api", ".metadata.generation")
    cluster.block("Upgrade, roll back", 2)
    cluster("rollout", "status", "deployment/larder-api")
    expect(cluster.value("deployment/larder-api", ".metadata.generation") != before, "as before")
    return "rolled out"


STEPS: list[Callable[[Cluster], str]] = [
    the_demo_serves,
    the_autoscaler_has_figures,
    a_pod_has_the_rights_of_its_manifest,
    the_load_test_is_green,
    a_rolling_restart_loses_nothing,
    a_deleted_pod_loses_nothing,
    a_killed_pod_costs_its_connections,
    a_scale_up_loses_nothing,
    a_drain_loses_nothing,
    a_killed_cache_loses_no_list,
    what_was_bought_does_not_come_back,
    an_undo_brings_the_code_of_before,
]
