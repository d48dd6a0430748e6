"""What is tried, in order: five installations, each in a namespace that is made anew."""

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.cluster.kubectl import Cluster, Failed
from tests.cluster.load import nothing_lost, told, under_load

Step = Callable[[Cluster], str]
NOT_RUN = {
    ("Apply", 1): "images are built by podman, and no registry is asked",
}
"""Blocks of the README that are not run, and why."""
EDITS = {
    "docker build": "# docker build",  # as above
    "executor -w": "executor",  # else it never ends
    "YOUR-OVERLAY": "k8s/overlays/own",
    "rediss://": "redis://",  # a cache of ours stands for yours, without TLS
    "api:PASSWORD@cache.example.com:6380": "api:larder-demo-api@larder-cache.outside:6379",
    "batch:PASSWORD@cache.example.com:6380": "batch:larder-demo-batch@larder-cache.outside:6379",
}
"""What a team fills in, in the commands that are run."""
API = "-l=app.kubernetes.io/component=api"
EXECUTOR = "-l=app.kubernetes.io/component=executor"
REFRESH = "kubectl -n larder create job larder-refresh-$(date +%s) --from=cronjob/larder-refresh"
OPERATOR = "larder-demo-operator"
SIMILAR = "status 503 in place of 200"
DEGRADED = "degraded answer"


# The demo.


def the_demo_serves(cluster: Cluster) -> str:
    began = time.monotonic()
    answer = cluster.block("Apply", 2)
    _expect('"source":"personal"' in answer, answer)
    return f"the first list {time.monotonic() - began:.0f} s after `kubectl apply`"


def the_autoscaler_has_figures(cluster: Cluster) -> str:
    path = ".status.currentMetrics[0].resource.current.averageUtilization"
    cluster.wait(lambda: cluster.value("hpa/larder-api", path), "the autoscaler has figures")
    cluster.block("Watch", 1)
    return f"CPU at {cluster.value('hpa/larder-api', path)} % of the request"


def a_pod_has_the_rights_of_its_manifest(cluster: Cluster) -> str:
    status = cluster("exec", "deployment/larder-api", "--", "cat", "/proc/1/status")
    for line in (r"Uid:(\s10001){4}", r"CapEff:\s0{16}", r"NoNewPrivs:\s1", r"Seccomp:\s2"):
        _expect(re.search(line, status), f"not {line}: {status}")
    try:
        cluster("exec", "deployment/larder-api", "--", "touch", "/opt/new")
    except Failed as refused:
        _expect("Read-only file system" in str(refused), str(refused))
        return "user 10001, no capability, seccomp, a read-only root"
    raise Failed("its root can be written to")


def the_load_test_is_green(cluster: Cluster) -> str:
    said = cluster.block("Run the load test", 1)
    _expect("verdict: GREEN" in said, said[-1500:])
    return str(nothing_lost(said))


def a_rolling_restart_loses_nothing(cluster: Cluster) -> str:
    def restart() -> None:
        cluster("rollout", "restart", "deployment/larder-api")
        cluster("rollout", "status", "deployment/larder-api")

    return str(nothing_lost(under_load(cluster, "restart", restart)))


def a_deleted_pod_loses_nothing(cluster: Cluster) -> str:
    def delete() -> None:
        cluster("delete", _names(cluster, API)[0])
        cluster("rollout", "status", "deployment/larder-api")

    return str(nothing_lost(under_load(cluster, "sigterm", delete)))


def a_killed_pod_costs_its_connections(cluster: Cluster) -> str:
    found = told(under_load(cluster, "kill", lambda: _kill(cluster, _names(cluster, API)[0])))
    _expect(found.lost.total() <= 25, f"{found}: {dict(found.lost)}")  # half of its callers
    return str(found)


def a_scale_up_loses_nothing(cluster: Cluster) -> str:
    def raise_bounds() -> None:
        patch = {"spec": {"minReplicas": 3}}
        cluster("patch", "hpa/larder-api", "-p", json.dumps(patch))
        cluster.wait(lambda: _ready(cluster) == 3, "three pods are ready")

    return f"2 to 3 pods; {nothing_lost(under_load(cluster, 'scale', raise_bounds))}"


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
    _expect(drained not in _places(cluster), "a pod is still on the drained node")
    return said


def _drained_under_load(cluster: Cluster, node: str) -> str:
    said: list[str] = []

    def drain() -> None:
        words = ("--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={API[3:]}")
        said.append(cluster.shell(f"kubectl drain {node} {' '.join(words)} 2>&1"))
        cluster("rollout", "status", "deployment/larder-api")

    found = nothing_lost(under_load(cluster, "drain", drain, seconds=90))
    refused = said[0].count("would violate the pod's disruption budget")
    _expect(refused, f"the budget refused nothing: {said[0]}")
    return f"{said[0].count('evicted')} pods evicted, {refused} evictions put off; {found}"


def a_killed_cache_loses_no_list(cluster: Cluster) -> str:
    def kill() -> None:
        _kill(cluster, "pod/larder-cache-0")
        cluster.wait(lambda: not cluster.asked("/health/ready")["degraded"], "the cache is back")

    found = told(under_load(cluster, "cache", kill))
    others = Counter(found.lost)
    degraded, similar = others.pop(DEGRADED, 0), others.pop(SIMILAR, 0)
    _expect(not others and degraded >= similar, f"{found}: {dict(found.lost)}")
    return f"of {found.requests:,} requests {degraded} degraded, {similar} of similar items 503"


def an_undo_brings_the_code_of_before(cluster: Cluster) -> str:
    before = cluster.value("deployment/larder-api", ".metadata.generation")
    cluster.block("Upgrade, roll back", 2)
    cluster("rollout", "status", "deployment/larder-api")
    _expect(cluster.value("deployment/larder-api", ".metadata.generation") != before, "as before")
    return "rolled out"


# A cache of ours with passwords and data of one's own.


def own_passwords_hold(cluster: Cluster) -> str:
    cluster.block("Apply", 4)
    cluster.shell("kubectl apply -k k8s/overlays/own")
    cluster("rollout", "status", "statefulset/larder-cache")
    return "the cache runs"


def own_data_is_served(cluster: Cluster) -> str:
    cluster.block("Your own data", 1)
    cluster("rollout", "status", "deployment/larder-api")
    return _personal(cluster, "4711")


def any_command_runs_as_a_job(cluster: Cluster) -> str:
    said = cluster.block("Your own data", 2)
    _expect("'4711' in generation" in said and "personal" in said, said)
    return "`generations`, `show 4711`"


def the_lists_of_before_come_back(cluster: Cluster) -> str:
    first = _generation(cluster)
    cluster.shell(REFRESH if REFRESH in cluster.readme.words else "exit 1")
    cluster.wait(lambda: _generation(cluster) != first, "another generation is served")
    cluster.block("Upgrade, roll back", 3)
    cluster.wait(lambda: _generation(cluster) == first, "the generation of before is served")
    cluster.inline(
        'kubectl -n larder patch cronjob larder-refresh -p \'{"spec": {"suspend": false}}\''
    )
    return "the first of two generations is served again"


def bad_settings_end_a_job_at_once(cluster: Cluster) -> str:
    said = cluster.shell("larder_job refresh --user-column=nobody || echo exit code $?")
    _expect("exit code 1" in said and "nobody" in said, said)
    return _ended_by_policy(cluster, _last_job(cluster))


def a_cache_that_is_away_is_waited_for(cluster: Cluster) -> str:
    cluster("scale", "statefulset/larder-cache", "--replicas=0")
    cluster("wait", "--for=delete", "pod/larder-cache-0", "--timeout=2m")
    cluster.shell(REFRESH)
    job = _last_job(cluster)
    cluster.wait(lambda: 75 in _codes(cluster, job), "its pod ends with 75", 400)
    cluster("scale", "statefulset/larder-cache", "--replicas=1")
    cluster("wait", "--for=condition=complete", f"job/{job}", "--timeout=8m", seconds=600)
    codes = _codes(cluster, job)
    return f"exit codes {', '.join(map(str, codes))}"


def a_backup_is_restored(cluster: Cluster) -> str:
    before = _generation(cluster)
    cluster.block("Back up and restore the cache", 1, _password(cluster))
    size = (cluster.folder / "dump.rdb").stat().st_size
    cluster.block("Back up and restore the cache", 2)
    _expect(_generation(cluster) == before, "another generation is served")
    said = cluster.shell("larder_job show 4711")
    _expect("personal" in said, said)
    return f"{size / 1e6:.1f} MB; the same generation is served"


def a_password_is_changed(cluster: Cluster) -> str:
    before = cluster.value("secret/larder-cache", ".data.api-url")
    cluster.block("Change a password", 1, _password(cluster))
    _expect(cluster.value("secret/larder-cache", ".data.api-url") != before, "as before")
    cluster.wait(lambda: not cluster.asked("/health/ready")["degraded"], "the API reads the cache")
    return _personal(cluster, "4711")


# A Redis Cluster.


def six_pods_form_a_cluster(cluster: Cluster) -> str:
    cluster.shell("kubectl apply -k k8s/overlays/demo-redis-cluster")
    for job in ("larder-cache-form", "larder-first-refresh"):
        cluster("wait", "--for=condition=complete", f"job/{job}", "--timeout=10m", seconds=660)
    cluster("rollout", "status", "deployment/larder-api")
    _expect(_masters(cluster) == 3, "not three masters")
    return f"three masters, three replicas; {_personal(cluster, '15')}"


def a_lost_pod_costs_no_list(cluster: Cluster) -> str:
    cluster("delete", "pod/larder-cache-0", "--grace-period=0", "--force")
    cluster("rollout", "status", "statefulset/larder-cache")
    cluster.wait(lambda: _masters(cluster) == 3, "there are three masters")
    cluster.wait(lambda: not cluster.asked("/health/ready")["degraded"], "the cache is back")
    return _personal(cluster, "15")


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
    return _personal(cluster, "15")


# Production, and the refresh on Spark.


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
        _kill(cluster, executors[0])
        cluster("wait", "--for=condition=complete", f"job/{job}", "--timeout=14m", seconds=900)
    seconds = time.monotonic() - began
    cluster("rollout", "status", "deployment/larder-api")
    return f"films in {seconds:.0f} s; {heard()}{_personal(cluster, '15')}"


def _spark_works(cluster: Cluster) -> tuple[str, list[str]]:
    """Start a refresh; its Job and its executors, when they have read the interactions."""
    cluster.shell(REFRESH)
    job = _last_job(cluster)

    def reads() -> bool:
        if _codes(cluster, job):
            raise Failed(f"the driver ended: {cluster('logs', f'job/{job}')[-1500:]}")
        return "read:" in _log(cluster, job)

    cluster.wait(reads, "the executors read", 600)
    executors = _names(cluster, EXECUTOR)
    _expect(len(executors) == 2, f"not two executors: {executors}")
    return job, executors


def _nobody_sees(cluster: Cluster, job: str) -> None:
    """No password in what Kubernetes tells of pods, nor on a command line; there no key either."""
    executors = cluster.get("pods", EXECUTOR)["items"]
    driver = cluster.get("pods", f"-l=job-name={job}")["items"]
    variables = executors[0]["spec"]["containers"][0]["env"]
    (key,) = {each["value"] for each in variables if each["name"] == "_SPARK_AUTH_SECRET"}
    _expect("larder-demo-batch" not in json.dumps([*executors, *driver]), "a pod has a password")
    for each in [*executors, *driver]:
        lines = cluster(
            *("exec", each["metadata"]["name"], "--", "sh", "-c", "cat /proc/[0-9]*/cmdline")
        )
        _expect("java" in lines, f"no Java: {lines}")
        _expect("larder-demo-batch" not in lines and key not in lines, "a command line tells it")


@contextmanager
def _listening(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """What goes from node to node, on a cluster of ours: no password is in it."""
    if not cluster.own:
        yield lambda: ""
        return
    from tests.cluster.wire import Wire

    def heard() -> str:
        _expect(wire.bytes > 0 and not wire.betrayed, f"{wire.betrayed} of {wire.bytes} bytes")
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
    _expect(not refused, f"refused: {refused[:1]}")
    used = {(each["objectRef"]["resource"], each["verb"]) for each in asked}
    rules = cluster.get("role/larder-refresh")["rules"]
    given = {(kind, verb) for rule in rules for kind in rule["resources"] for verb in rule["verbs"]}
    _expect(used == given, f"used {sorted(used)}, given {sorted(given)}")
    return ", ".join(f"{verb} {kind}" for kind, verb in sorted(used))


def an_upgrade_is_rolled_out(cluster: Cluster) -> str:
    cluster.block("Upgrade, roll back", 1)
    return _personal(cluster, "15")


def executors_end_with_their_driver(cluster: Cluster) -> str:
    cluster.shell("kubectl apply -k k8s/overlays/spark")
    job, executors = _spark_works(cluster)
    _kill(cluster, _names(cluster, f"-l=job-name={job}")[0])
    cluster.wait(lambda: not _running(cluster, EXECUTOR), "the executors have ended")
    cluster("delete", f"job/{job}")
    cluster.wait(lambda: not _names(cluster, EXECUTOR), "the executors are gone")
    return f"{len(executors)} executors ended, and went with their driver"


def a_driver_without_its_rights_says_so(cluster: Cluster) -> str:
    rules = cluster.get("role/larder-refresh")["rules"]
    fewer = [{**each, "verbs": [verb for verb in each["verbs"] if verb != "get"]} for each in rules]
    cluster("patch", "role/larder-refresh", "-p", json.dumps({"rules": fewer}))
    cluster.shell(REFRESH)
    job = _last_job(cluster)
    cluster.wait(lambda: _codes(cluster, job), "the driver ends")
    log = cluster("logs", f"job/{job}")
    _expect("cannot get" in log, log[-1500:])
    return _ended_by_policy(cluster, job)


# What steps have in common.


def _expect(true: object, said: str) -> None:
    if not true:
        raise Failed(said)


def _names(cluster: Cluster, labels: str) -> list[str]:
    """Pods that are not on their way out."""
    pods = cluster.get("pods", labels)["items"]
    return [
        f"pod/{each['metadata']['name']}"
        for each in pods
        if "deletionTimestamp" not in each["metadata"]
    ]


def _running(cluster: Cluster, labels: str) -> list[str]:
    pods = cluster.get("pods", labels, "--field-selector=status.phase=Running")["items"]
    return [each["metadata"]["name"] for each in pods]


def _kill(cluster: Cluster, pod: str) -> None:
    """Kill -9 all that runs in its container; on a cluster of others, delete it without grace."""
    if not cluster.own:
        cluster("delete", pod, "--grace-period=0", "--force")
        return
    (status,) = cluster.get(pod)["status"]["containerStatuses"]
    container = status["containerID"].removeprefix("containerd://")
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if container in (folder / "cgroup").read_text():
                os.kill(int(folder.name), signal.SIGKILL)


def _ready(cluster: Cluster) -> int:
    return int(cluster.value("deployment/larder-api", ".status.readyReplicas") or 0)


def _places(cluster: Cluster) -> set[str]:
    return {each["spec"].get("nodeName", "") for each in cluster.get("pods", API)["items"]}


def _personal(cluster: Cluster, user: str) -> str:
    """Wait until a list of that user is served that is not degraded."""

    def served() -> Any:
        answer = cluster.asked(f"/recommendations/{user}")
        return answer["source"] == "personal" and not answer.get("degraded")

    cluster.wait(served, f"user {user} gets a personal list")
    return f"user {user} gets a personal list"


def _generation(cluster: Cluster) -> str:
    return str(cluster.asked("/generation")["generation"])


def _last_job(cluster: Cluster) -> str:
    jobs = cluster.get("jobs", "--sort-by=.metadata.creationTimestamp")["items"]
    return str(jobs[-1]["metadata"]["name"])


def _codes(cluster: Cluster, job: str) -> list[int]:
    """The exit codes of its pods, in the order of their ends."""
    pods = cluster.get("pods", f"-l=job-name={job}", "--sort-by=.metadata.creationTimestamp")
    statuses = [each["status"].get("containerStatuses", [{}])[0] for each in pods["items"]]
    ended = [each.get("state", {}).get("terminated") for each in statuses]
    return [each["exitCode"] for each in ended if each]


def _ended_by_policy(cluster: Cluster, job: str) -> str:
    path = '.status.conditions[?(@.type=="Failed")].reason'
    cluster.wait(lambda: cluster.value(f"job/{job}", path), f"{job} has failed")
    reason, codes = cluster.value(f"job/{job}", path), _codes(cluster, job)
    _expect(reason == "PodFailurePolicy" and codes == [2], f"{reason}, exit codes {codes}")
    return "exit code 2, one pod, PodFailurePolicy"


def _log(cluster: Cluster, job: str) -> str:
    try:
        return cluster("logs", f"job/{job}")
    except Failed:  # its container does not run yet
        return ""


def _password(cluster: Cluster) -> str:
    """That of the operator, as the README says where it is."""
    url = cluster.inline(
        "kubectl -n larder get secret larder-cache -o jsonpath='{.data.operator-url}' | base64 -d"
    )
    return url.split("operator:")[1].split("@")[0]


def _masters(cluster: Cluster) -> int:
    """Masters that are there and hold slots, as the first pod sees them."""
    said = cluster.inline(
        "kubectl -n larder exec -it larder-cache-0 -- "
        "valkey-cli --user operator --askpass cluster nodes",
        OPERATOR,
    )
    lines = [line for line in said.splitlines() if re.search(r"\bmaster\b", line)]
    return sum("fail" not in line and line[-1].isdigit() and "-" in line[-12:] for line in lines)


INSTALLATIONS: dict[str, list[Step]] = {
    "demo": [
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
        an_undo_brings_the_code_of_before,
    ],
    "own": [
        own_passwords_hold,
        own_data_is_served,
        any_command_runs_as_a_job,
        the_lists_of_before_come_back,
        bad_settings_end_a_job_at_once,
        a_cache_that_is_away_is_waited_for,
        a_backup_is_restored,
        a_password_is_changed,
    ],
    "redis-cluster": [
        six_pods_form_a_cluster,
        a_lost_pod_costs_no_list,
        all_pods_made_anew_are_formed_again,
    ],
    "spark": [
        production_is_accepted,
        spark_publishes_although_an_executor_dies,
        the_role_is_what_spark_uses,
        an_upgrade_is_rolled_out,
        executors_end_with_their_driver,
        a_driver_without_its_rights_says_so,
    ],
}
