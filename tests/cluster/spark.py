"""Production, its cache elsewhere, and the refresh on Spark under its Role."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.kubectl import Cluster, Failed
from tests.cluster.looks import (
    REFRESH,
    exit_codes,
    expect,
    kill_9,
    last_job,
    log_of,
    names,
    personal_list,
)
from tests.cluster.wire import Wire

EXECUTOR = "-l=app.kubernetes.io/component=executor"


def production_is_accepted(cluster: Cluster) -> str:
    cluster.shell("kubectl create namespace outside; kubectl apply -k k8s/overlays/outside")
    for number, node in enumerate(cluster.get("nodes")["items"]):
        if "topology.kubernetes.io/zone" not in node["metadata"]["labels"]:
            named = {"NODE": node["metadata"]["name"], "=a": f"={'abc'[number % 3]}"}
            cluster.inline("kubectl label node NODE topology.kubernetes.io/zone=a", **named)
    cluster.block("Apply", 3)
    return "its cache is in another namespace, without TLS"


def spark_publishes_although_an_executor_dies(cluster: Cluster) -> str:
    cluster("create", "configmap", "larder-films", "--from-file=ratings.csv.gz")
    cluster.block("The refresh on Spark", 1)
    began = time.monotonic()
    with _listening(cluster) as heard:
        job, executors = _spark_works(cluster)
        _nobody_sees(cluster, job)
        kill_9(cluster, executors[0])
        cluster("wait", "--for=condition=complete", f"job/{job}", "--timeout=14m", seconds=900)
    seconds = time.monotonic() - began
    cluster("rollout", "status", "deployment/larder-api")
    return f"films in {seconds:.0f} s; {heard()}{personal_list(cluster, '15')}"


def _spark_works(cluster: Cluster) -> tuple[str, list[str]]:
    """Start a refresh; its Job and its executors, when they have read the interactions."""
    cluster.inline(REFRESH)
    job = last_job(cluster)

    def reads() -> bool:
        if exit_codes(cluster, job):
            raise Failed(f"the driver ended: {cluster('logs', f'job/{job}')[-1500:]}")
        return "read:" in log_of(cluster, job)

    cluster.wait(reads, "the executors read", 600)
    executors = names(cluster, EXECUTOR)
    expect(len(executors) == 2, f"not two executors: {executors}")
    return job, executors


def _nobody_sees(cluster: Cluster, job: str) -> None:
    """No password in what Kubernetes tells of pods, nor on a command line; there no key either."""
    executors = cluster.get("pods", EXECUTOR)["items"]
    driver = cluster.get("pods", f"-l=job-name={job}")["items"]
    variables = executors[0]["spec"]["containers"][0]["env"]
    (key,) = {each["value"] for each in variables if each["name"] == "_SPARK_AUTH_SECRET"}
    expect("larder-demo-batch" not in json.dumps([*executors, *driver]), "a pod has a password")
    for each in [*executors, *driver]:
        lines = cluster(
            *("exec", each["metadata"]["name"], "--", "sh", "-c", "cat /proc/[0-9]*/cmdline")
        )
        expect("java" in lines, f"no Java: {lines}")
        expect("larder-demo-batch" not in lines and key not in lines, "a command line tells it")


@contextmanager
def _listening(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """What goes from node to node, on a cluster of ours: no password is in it."""
    if not cluster.own:
        yield lambda: ""
        return

    def heard() -> str:
        expect(wire.bytes > 0 and not wire.betrayed, f"{wire.betrayed} of {wire.bytes} bytes")
        return f"{wire.bytes / 1e6:.0f} MB between the nodes without a password; "

    with Wire({7078, 7079}, b"larder-demo-batch") as wire:
        yield heard


def the_role_is_what_spark_uses(cluster: Cluster) -> str:
    """Each right of it and no other, as the API server wrote down what the driver asked."""
    if not cluster.own:
        return "not looked at: what this API server writes down is not ours to read"
    lines = Path(os.environ["RUN"], "audit.log").read_text().splitlines()
    asked = [json.loads(line) for line in lines]
    refused = [each for each in asked if each["responseStatus"].get("code") == 403]
    expect(not refused, f"refused: {refused[:1]}")
    used = {(each["objectRef"]["resource"], each["verb"]) for each in asked}
    rules = cluster.get("role/larder-refresh")["rules"]
    given = {(kind, verb) for rule in rules for kind in rule["resources"] for verb in rule["verbs"]}
    expect(used == given, f"used {sorted(used)}, given {sorted(given)}")
    return ", ".join(f"{verb} {kind}" for kind, verb in sorted(used))


def an_upgrade_is_rolled_out(cluster: Cluster) -> str:
    cluster.block("Upgrade, roll back", 1)
    return personal_list(cluster, "15")


def executors_end_with_their_driver(cluster: Cluster) -> str:
    cluster.shell("kubectl apply -k k8s/overlays/spark")
    job, executors = _spark_works(cluster)
    kill_9(cluster, names(cluster, f"-l=job-name={job}")[0])
    cluster.wait(lambda: not _running(cluster, EXECUTOR), "the executors have ended")
    cluster("delete", f"job/{job}")
    cluster.wait(lambda: not names(cluster, EXECUTOR), "the executors are gone")
    return f"{len(executors)} executors ended, and went with their driver"


def _running(cluster: Cluster, labels: str) -> list[str]:
    pods = cluster.get("pods", labels, "--field-selector=status.phase=Running")["items"]
    return [each["metadata"]["name"] for each in pods]


def a_driver_without_its_rights_says_so(cluster: Cluster) -> str:
    rules = cluster.get("role/larder-refresh")["rules"]
    fewer = [{**each, "verbs": [verb for verb in each["verbs"] if verb != "get"]} for each in rules]
    cluster("patch", "role/larder-refresh", "-p", json.dumps({"rules": fewer}))
    cluster.inline(REFRESH)
    job = last_job(cluster)
    path = '.status.conditions[?(@.type=="Failed")].reason'
    cluster.wait(lambda: cluster.value(f"job/{job}", path), f"{job} has failed")
    log = cluster("logs", f"-l=job-name={job}", "--tail=-1")
    expect("cannot get" in log, log[-1500:])
    *earlier, last = exit_codes(cluster, job)
    # 75 while the lock of the driver that was killed lasts.
    expect(set(earlier) <= {75} and last == 2, f"exit codes {earlier}, then {last}")
    return f"exit code 2, {cluster.value(f'job/{job}', path)}"


STEPS: list[Callable[[Cluster], str]] = [
    production_is_accepted,
    spark_publishes_although_an_executor_dies,
    the_role_is_what_spark_uses,
    an_upgrade_is_rolled_out,
    executors_end_with_their_driver,
    a_driver_without_its_rights_says_so,
]
