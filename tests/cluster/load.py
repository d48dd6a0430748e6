"""Load while something happens: the README's load test, longer, and what of it was lost."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.kubectl import Cluster, Failed

USERS = 50
SECONDS = 60
PORT, ESTABLISHED = 8000, "01"


@dataclass(frozen=True, slots=True)
class Told:
    """What a load test says: requests of the measured time, failures of the whole run."""

    requests: int
    lost: Counter[str]

    def __str__(self) -> str:
        return f"{self.lost.total()} of {self.requests:,} requests failed"


def told(log: str) -> Told:
    """Read it. Raises Failed when it has no table."""
    found = re.search(r"^requests +([\d,]+)", log, re.M)
    if not found:
        raise Failed(f"the load test has no result: {log[-800:]}")
    failures = re.search(r"^failures of the whole run: (.*)$", log, re.M)
    pairs = [each.rsplit(": ", 1) for each in failures[1].split("; ")] if failures else []
    lost = Counter({name: _number(count) for name, count in pairs})
    return Told(_number(found[1]), lost)


def _number(text: str) -> int:
    return int(text.strip().replace(",", ""))


def nothing_lost(log: str) -> Told:
    """Raises Failed when a request was lost."""
    found = told(log)
    if found.lost:
        raise Failed(f"{found}: {dict(found.lost)}")
    return found


def under_load(
    cluster: Cluster,
    name: str,
    act: Callable[[], object],
    users: int = USERS,
    seconds: int = SECONDS,
) -> str:
    """Do it while the load test runs; its log. Raises Failed when the load was over before."""
    job = f"larder-loadtest-{name}"
    made = cluster(
        *("create", "job", job, "--from=cronjob/larder-loadtest", "--dry-run=client", "-o", "json")
    )
    wanted = json.loads(made)
    (container,) = wanted["spec"]["template"]["spec"]["containers"]
    asked = [each for each in container["args"] if not each.startswith(("--users", "--duration"))]
    container["args"] = [*asked, f"--users={users}", f"--duration={seconds}"]
    cluster("create", "-f", "-", given=json.dumps(wanted))
    cluster.wait(lambda: _callers(cluster) >= users, f"{job} has {users} callers")
    act()
    if _ended(cluster, job):
        raise Failed(f"{job} was over before what should happen meanwhile")
    cluster.wait(lambda: _ended(cluster, job), f"{job} has ended")
    return cluster("logs", f"job/{job}")


def _callers(cluster: Cluster) -> int:
    """Connections to the pods of the API, as they see them."""
    pods = cluster.get("pods", "-l=app.kubernetes.io/component=api")["items"]
    said = [
        cluster("exec", each["metadata"]["name"], "--", "cat", "/proc/net/tcp")
        for each in pods
        if each["status"]["phase"] == "Running" and "deletionTimestamp" not in each["metadata"]
    ]
    return sum(len(re.findall(rf":{PORT:04X} \S+ {ESTABLISHED} ", each)) for each in said)


def _ended(cluster: Cluster, job: str) -> bool:
    return bool(cluster.value(f"job/{job}", '.status.conditions[?(@.status=="True")].type'))
