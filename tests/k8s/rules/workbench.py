"""The workbench, where people run what they like: closed, and apart from what is served."""

from collections.abc import Iterator

from tests.k8s.defects import FIRST, WITH_WORKBENCH, WORKBENCH, catches, text
from tests.k8s.manifests import Object, Overlay, dig
from tests.k8s.rules.api import KINDS, SERVICES

ENV = f"{FIRST}/env"
TOKEN = {"name": "larder-workbench", "key": "token"}
OWN_DOOR = {"name": "larder-cache", "key": "workbench-url", "optional": True}
"""Without that key a workbench has a cache of its own."""


@catches(WORKBENCH, f"{ENV}/0/value", "0.0.0.0", WITH_WORKBENCH)
@catches(WORKBENCH, f"{ENV}/2/valueFrom/secretKeyRef/optional", True, WITH_WORKBENCH)
def only_port_forward_gets_to_a_workbench(overlay: Overlay) -> Iterator[str]:
    """From inside of the pod, with a token that the team made."""
    for workload, container in overlay.containers("workbench"):
        host = overlay.variables(container).get("LARDER_JUPYTER_HOST")
        token = _asked(container, "LARDER_JUPYTER_TOKEN")
        if host != "127.0.0.1":
            yield f"{workload.name}: listens on {host}, which others reach"
        if token != TOKEN:
            yield f"{workload.name}: its token comes from {token}"


@catches(WORKBENCH, f"{ENV}/4/value", "default", WITH_WORKBENCH)
@catches(WORKBENCH, f"{ENV}/5/valueFrom/secretKeyRef/key", "batch-url", WITH_WORKBENCH)
def what_is_tried_changes_nothing_that_is_served(overlay: Overlay) -> Iterator[str]:
    """Another namespace than that of the API, and another user of the cache than its jobs'."""
    serving = [overlay.variables(each) for _, each in overlay.containers(*SERVICES)]
    served = {each.get("LARDER_NAMESPACE") for each in serving}
    for workload, container in overlay.containers("workbench"):
        if (own := overlay.variables(container).get("LARDER_NAMESPACE")) in {*served, None}:
            yield f"{workload.name}: works in {own!r}, served are {sorted(map(str, served))}"
        if (door := _asked(container, "LARDER_CACHE_URL")) != OWN_DOOR:
            yield f"{workload.name}: LARDER_CACHE_URL comes from {door}"


@catches(WORKBENCH, f"{FIRST}/livenessProbe/exec/command/2", text("8888", "80"), WITH_WORKBENCH)
@catches(WORKBENCH, f"{ENV}/1/value", "8889", WITH_WORKBENCH)
def a_workbench_is_asked_where_it_listens(overlay: Overlay) -> Iterator[str]:
    """By a command in the pod, for nothing else reaches loopback."""
    for workload, container in overlay.containers("workbench"):
        where = f'("127.0.0.1", {overlay.variables(container).get("LARDER_JUPYTER_PORT")}, '
        for kind in KINDS:
            command = dig(container, f"{kind}.exec.command") or []
            if command[:2] != ["python", "-Pc"] or where not in command[-1]:
                yield f"{workload.name}: {kind} must ask {where}...: {command}"


def _asked(container: Object, variable: str) -> Object | None:
    named = {each["name"]: each for each in container.get("env", [])}
    found: Object | None = dig(named.get(variable), "valueFrom.secretKeyRef")
    return found
