"""Bad days under load: pods of the rendered Deployment, a balancer, 90 requests a second.

What a cluster does is done by hand, in its order: a new pod takes part when it is ready; one that
goes first loses its place, then has preStop's seconds, then SIGTERM, then its time of grace.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.containers.balancer import Balancer
from tests.containers.engine import Container, Engine, ask
from tests.containers.load import USERS, Load
from tests.containers.pods import PATIENT, Demo, Pod
from tests.servers import SERVERS, wait_until

Measured = Callable[[str], None]
NAMES = ("a", "b", "c", "d")


@dataclass
class Service:
    """Pods behind a balancer."""

    demo: Demo
    balancer: Balancer
    pods: dict[str, Pod]
    cold_starts: list[float] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Start a pod; requests go to it when it is ready."""
        began = time.monotonic()
        self.pods[name].start()
        wait_until(self.pods[name].ready)
        self.cold_starts.append(time.monotonic() - began)
        self.balancer.add(name)

    def remove(self, name: str) -> int:
        """Take a pod away as Kubernetes does, which waits for preStop's seconds; its exit code."""
        self.balancer.remove(name)
        time.sleep(self.demo.pre_stop_seconds)
        return self.pods[name].stop()

    def warnings(self) -> str:
        """What the pods said of what went wrong."""
        lines = [line for pod in self.pods.values() if pod.id for line in pod.logs.splitlines()]
        return "\n".join(line for line in lines if "[INFO]" not in line)

    def wait_busy(self) -> None:
        """Return when the load has come to both pods."""
        for name in ("a", "b"):
            wait_until(lambda: self.balancer.connections(name) >= USERS // 4)


@pytest.fixture
def kind() -> str:
    """Which server answers, where a test does not say it."""
    return SERVERS[0]


@pytest.fixture
def waits() -> dict[str, str]:
    """How long its pods wait for the cache, where a test does not say it."""
    return PATIENT


@pytest.fixture
def service(
    engine: Engine,
    published: Container,
    network: str,
    demo: Demo,
    folder: Path,
    kind: str,
    waits: dict[str, str],
) -> Iterator[Service]:
    """Two pods that answer; two more can be added."""
    pods = {name: Pod(engine, demo, network, f"larder-api-{name}", kind, waits) for name in NAMES}
    with ExitStack() as left:
        ports = {name: pod.port for name, pod in pods.items()}
        balancer = left.enter_context(Balancer(folder, ports))
        for pod in pods.values():
            left.push(pod)
        service = Service(demo, balancer, pods)
        service.add("a")
        service.add("b")
        yield service


@pytest.fixture
def load(engine: Engine, folder: Path) -> Callable[[str, int], Load]:
    reports = folder / "report"
    reports.mkdir()
    return lambda url, seconds: Load(engine, url, seconds, reports)


def test_a_pod_has_the_rights_that_the_manifest_gives_it(
    service: Service, engine: Engine, measured: Measured
) -> None:
    pod = service.pods["a"]
    answer = ask(f"{pod.url}/recommendations/15")
    assert answer and answer.json()["source"] == "personal"
    status = pod.execute("cat", "/proc/1/status").stdout
    assert "Uid:\t10001\t10001\t10001\t10001" in status
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert pod.execute("touch", "/opt/larder/new").returncode != 0
    assert pod.execute("touch", "/tmp/new").returncode == 0
    measured(f"pod: ready {max(service.cold_starts):.1f} s after its start (the slower of two)")


@pytest.mark.parametrize("kind", SERVERS)
def test_neither_a_rolling_restart_nor_a_drained_node_loses_a_request(
    service: Service, load: Callable[[str, int], Load], measured: Measured, kind: str
) -> None:
    """Of a node that is drained the pod goes, and its neighbour stays."""
    with load(service.balancer.url, 45) as running:
        service.wait_busy()
        for old, new in (("a", "c"), ("b", "d")):
            service.add(new)
            assert service.remove(old) == 0
        assert service.remove("c") == 0
        lost, asked = _lost(running.figures())
    measured(f"rolling restart, then one pod less, {kind}: {_told(lost, asked)}")
    assert not lost, service.warnings()


def test_kill_9_of_a_pod_costs_only_its_connections(
    service: Service, load: Callable[[str, int], Load], measured: Measured
) -> None:
    with load(service.balancer.url, 20) as running:
        service.wait_busy()
        service.pods["a"].kill()
        lost, asked = _lost(running.figures())
    measured(f"kill -9 of one of two pods: {_told(lost, asked)}")
    assert set(lost) <= {"no answer"}
    assert sum(lost.values()) <= USERS / 2  # a connection of each caller that it served


@pytest.mark.parametrize("waits", [{}], ids=["waits as shipped"])
def test_kill_9_of_the_cache_loses_no_list(
    service: Service,
    published: Container,
    load: Callable[[str, int], Load],
    measured: Measured,
) -> None:
    """Without it lists are popular ones and say so; only for similar items nothing stands in."""
    with load(service.balancer.url, 20) as running:
        service.wait_busy()
        published.kill()
        wait_until(service.pods["a"].degraded)
        published.again()
        lost, asked = _lost(running.figures())
    wait_until(lambda: not service.pods["a"].degraded())
    degraded = lost.pop("degraded answer", 0)
    similar = lost.pop("status 503 in place of 200", 0)
    measured(
        f"kill -9 of the cache, soon back: {_told(lost, asked)}, {degraded} degraded, "
        f"{similar} of similar items refused with 503"
    )
    assert degraded > similar
    assert not lost, service.warnings()


def _lost(figures: dict[str, Any]) -> tuple["Counter[str]", int]:
    """What went wrong, by name, before, in and after the measured time; requests measured."""
    (step,) = figures["steps"]
    return Counter(figures["errors"]), int(step["requests"])


def _told(lost: "Counter[str]", asked: int) -> str:
    return f"{sum(lost.values())} of {asked} requests lost {dict(lost)}"
