"""The overlay ``spark``, run: driver and executors are containers, made of what it says.

The API server and the node are stand-ins of ours (``kubernetes``, ``node``). Spark and its client,
the images, the Role, the pods' variables, users and files, and the cache are the real ones; network
policies are not enforced.
"""

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.containers.conftest import Refresh
from tests.containers.engine import Container, Engine
from tests.containers.kubernetes import Api
from tests.containers.node import FILMS
from tests.containers.pods import Demo
from tests.containers.wire import Wire
from tests.k8s.manifests import Object, Overlay, dig, load
from tests.servers import wait_until

Measured = Callable[[str], None]
TENANT = "on-kubernetes"
SETTINGS = {
    "LARDER_INTERACTIONS": f"{FILMS}/ratings.csv",
    "LARDER_ITERATIONS": "3",
    "LARDER_NAMESPACE": TENANT,
    "LARDER_PRESET": "ml-latest",
    "LARDER_REJECTS": "/tmp/rejects",
}
"""What a team says of its own data."""
PORTS = {7078, 7079}
"""Of driver and executors."""
MEGABYTE = 1e6
PATIENCE_SECONDS = 400


@pytest.fixture
def overlay() -> Overlay:
    found = Overlay("spark", deepcopy(load("spark").objects))
    (settings,) = [each for each in found.of("ConfigMap") if "LARDER_INTERACTIONS" in each["data"]]
    settings["data"] |= SETTINGS
    return found


@pytest.fixture
def api(
    engine: Engine, cache: Container, network: str, demo: Demo, folder: Path, overlay: Overlay
) -> Iterator[Api]:
    secrets = {"larder-cache": {"batch-url": demo.url("batch-url")}}
    with Api(engine, network, folder, overlay, secrets) as started:
        yield started


def driver_of(overlay: Overlay) -> Object:
    """A pod as the CronJob's Job makes it."""
    template = dig(overlay.get("CronJob", "larder-refresh"), "spec.jobTemplate.spec.template")
    metadata = {**template["metadata"], "name": "larder-refresh-29000000-abcde"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def exit_code(api: Api, pod: Object) -> int | None:
    """None: it still runs."""
    (told,) = dig(api.pods.get(pod["metadata"]["name"]), "status.containerStatuses")
    code: int | None = dig(told, "state.terminated.exitCode")
    return code


def wait_ended(api: Api, pod: Object) -> int | None:
    wait_until(lambda: exit_code(api, pod) is not None, PATIENCE_SECONDS)
    return exit_code(api, pod)


def wait_working(api: Api, driver: Object) -> list[Object]:
    """The executors, when they have read the interactions."""

    def told() -> bool:
        ended = exit_code(api, driver) is not None
        return ended or bool(api.refused) or "read:" in api.node.logs(driver)

    wait_until(told, PATIENCE_SECONDS)
    assert "read:" in api.node.logs(driver), (api.refused, api.node.logs(driver))
    return api.created[1:]


def test_the_lists_are_published_although_an_executor_dies(
    api: Api, overlay: Overlay, demo: Demo, refresh: Refresh, measured: Measured
) -> None:
    password = urlsplit(demo.url("batch-url")).password or "-"
    began = time.monotonic()
    with Wire(PORTS, password.encode()) as wire:
        driver = api.create(driver_of(overlay))
        lost, other = wait_working(api, driver)
        nobody_sees(password, api, [driver, lost, other])
        api.node.kill(lost)
        assert wait_ended(api, driver) == 0, api.node.logs(driver)
    assert wire.bytes > MEGABYTE and not wire.betrayed
    seconds = time.monotonic() - began
    with refresh("show", "1", LARDER_NAMESPACE=TENANT) as asked:
        assert asked.wait() == 0, asked.logs
        assert "personal" in asked.logs
    assert len(api.created) == 4, "the driver, two executors, and one in the place of the lost one"
    wait_until(lambda: len(api.pods.all()) == 1)  # the driver, whose log is kept
    assert api.refused == []
    assert set(api.asked) == allowed(overlay)
    measured(f"Spark, a driver and two executors, of which one is killed: films in {seconds:.0f} s")


def nobody_sees(password: str, api: Api, pods: list[Object]) -> None:
    """On no command line, where Spark's own key is not either, nor in what Kubernetes tells."""
    (key,) = {each["value"] for each in _variables(pods[1]) if each["name"] == "_SPARK_AUTH_SECRET"}
    assert password not in str(pods)
    for each in pods:
        lines = api.node.command_lines(each)
        assert "java" in lines and password not in lines and key not in lines


def _variables(pod: Object) -> list[Object]:
    return list(pod["spec"]["containers"][0]["env"])


def allowed(overlay: Overlay) -> set[str]:
    """All that the driver's Role lets it do."""
    rules = dig(overlay.get("Role", "larder-refresh"), "rules")
    return {
        f"{verb} {kind}" for rule in rules for kind in rule["resources"] for verb in rule["verbs"]
    }


def test_executors_end_with_their_driver(api: Api, overlay: Overlay) -> None:
    """By themselves when it is killed; Kubernetes removes them with its pod, which owns them."""
    driver = api.create(driver_of(overlay))
    executors = wait_working(api, driver)
    api.node.kill(driver)
    assert wait_ended(api, driver) == 137
    for each in executors:
        wait_ended(api, each)
    api.delete(driver)
    wait_until(lambda: not api.pods.all())


def test_a_driver_without_its_rights_says_so(api: Api, overlay: Overlay) -> None:
    dig(overlay.get("Role", "larder-refresh"), "rules")[0]["verbs"].remove("get")
    driver = api.create(driver_of(overlay))
    assert wait_ended(api, driver) == 2  # terminal: nobody tries it again
    assert "larder-refresh cannot get pods" in api.node.logs(driver)
    assert api.refused == ["get pods: larder-refresh cannot get pods"]
