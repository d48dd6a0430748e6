"""What steps look at: pods, exit codes, lists that are served."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.cluster.kubectl import Cluster, Failed

REFRESH = "kubectl -n larder create job larder-refresh-$(date +%s) --from=cronjob/larder-refresh"


def expect(true: object, said: str) -> None:
    if not true:
        raise Failed(said)


def names(cluster: Cluster, labels: str) -> list[str]:
    """Pods that are not on their way out."""
    pods = cluster.get("pods", labels)["items"]
    return [
        f"pod/{each['metadata']['name']}"
        for each in pods
        if "deletionTimestamp" not in each["metadata"]
    ]


def kill_9(cluster: Cluster, pod: str) -> None:
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


def personal_list(cluster: Cluster, user: str) -> str:
    """Wait until a list of that user is served that is not degraded."""

    def served() -> Any:
        answer = cluster.asked(f"/recommendations/{user}")
        return answer["source"] == "personal" and not answer.get("degraded")

    cluster.wait(served, f"user {user} gets a personal list")
    return f"user {user} gets a personal list"


def last_job(cluster: Cluster) -> str:
    jobs = cluster.get("jobs", "--sort-by=.metadata.creationTimestamp")["items"]
    return str(jobs[-1]["metadata"]["name"])


def exit_codes(cluster: Cluster, job: str) -> list[int]:
    """The exit codes of its pods, in the order of their ends."""
    pods = cluster.get("pods", f"-l=job-name={job}", "--sort-by=.metadata.creationTimestamp")
    statuses = [each["status"].get("containerStatuses", [{}])[0] for each in pods["items"]]
    ended = [each.get("state", {}).get("terminated") for each in statuses]
    return [each["exitCode"] for each in ended if each]


def ended_by_policy(cluster: Cluster, job: str) -> str:
    path = '.status.conditions[?(@.type=="Failed")].reason'
    cluster.wait(lambda: cluster.value(f"job/{job}", path), f"{job} has failed")
    reason, codes = cluster.value(f"job/{job}", path), exit_codes(cluster, job)
    expect(reason == "PodFailurePolicy" and codes == [2], f"{reason}, exit codes {codes}")
    return "exit code 2, one pod, PodFailurePolicy"


def log_of(cluster: Cluster, job: str) -> str:
    try:
        return cluster("logs", f"job/{job}")
    except Failed:  # its container does not run yet
        return ""
