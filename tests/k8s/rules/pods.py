"""What a pod may do, who it is, what it runs and how much it may use."""

import re
from collections.abc import Iterator
from configparser import ConfigParser
from decimal import Decimal
from functools import cache
from typing import Any

from tests.k8s.manifests import HOUSE, Object, Overlay, dig

BUILT = {
    "larder-api": ("app/Dockerfile", ""),
    "larder-batch": ("batch/Dockerfile", "implicit"),
    "larder-batch-spark": ("batch/Dockerfile", "spark"),
    "larder-demo": ("batch/Dockerfile", "demo"),
    "larder-loadtest": ("loadtest/Dockerfile", ""),
}
"""Our images, the Dockerfile that each is built by, and its stage there."""
FETCHED = {"valkey/valkey:8.1"}
SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
POD_MUST = {
    "securityContext.runAsNonRoot": True,
    "securityContext.seccompProfile.type": "RuntimeDefault",
    "enableServiceLinks": False,
    "hostNetwork": None,
    "hostPID": None,
    "hostIPC": None,
}
CONTAINER_MUST = {
    "securityContext.allowPrivilegeEscalation": False,
    "securityContext.readOnlyRootFilesystem": True,
    "securityContext.capabilities.drop": ["ALL"],
    "securityContext.capabilities.add": None,
    "securityContext.privileged": None,
    "securityContext.runAsUser": None,
    "securityContext.runAsNonRoot": None,
    "securityContext.seccompProfile": None,
}
"""None: not stated here, so that what the pod states holds."""


def pods_are_restricted(overlay: Overlay) -> Iterator[str]:
    """As the restricted profile of Kubernetes asks, and a read-only root besides."""
    for workload in overlay.workloads():
        yield from _differences(workload.spec, POD_MUST, workload.name)
        user = dig(workload.spec, "securityContext.runAsUser")
        if not isinstance(user, int) or user == 0:
            yield f"{workload.name}: securityContext.runAsUser is {user}, not a number above 0"
        for container in workload.containers():
            where = f"{workload.name}: {container['name']}"
            yield from _differences(container, CONTAINER_MUST, where)
            if any("hostPort" in port for port in container.get("ports", [])):
                yield f"{where}: opens a port of the node"
        for volume in workload.spec.get("volumes", []):
            if "hostPath" in volume:
                yield f"{workload.name}: volume {volume['name']} is a folder of the node"


def _differences(found: Object, must: dict[str, Any], where: str) -> Iterator[str]:
    for path, value in must.items():
        if dig(found, path) != value:
            yield f"{where}: {path} is {dig(found, path)}, must be {value}"


def only_who_needs_it_holds_a_token(overlay: Overlay) -> Iterator[str]:
    """A token of the cluster is for pods whose account has a role."""
    bound = {
        subject["name"]
        for binding in overlay.of("RoleBinding")
        for subject in binding.get("subjects", [])
    }
    for workload in overlay.workloads():
        account = workload.spec.get("serviceAccountName")
        if account is None:
            yield f"{workload.name}: names no serviceAccountName"
        elif dig(workload.spec, "automountServiceAccountToken") is not (account in bound):
            yield f"{workload.name}: automountServiceAccountToken must be {account in bound}"


def roles_name_what_they_allow(overlay: Overlay) -> Iterator[str]:
    """No rule allows everything, and none reaches beyond the namespace or reads secrets."""
    for each in overlay.of("ClusterRole", "ClusterRoleBinding"):
        yield f"{each['kind']} {each['metadata']['name']}: reaches beyond the namespace"
    for each in overlay.of("Role"):
        for rule in each["rules"]:
            words = {*rule.get("verbs", []), *rule.get("resources", []), *rule.get("apiGroups", [])}
            for word in sorted(words & {"*", "secrets", "bind", "escalate", "impersonate"}):
                yield f"Role {each['metadata']['name']}: allows {word}"


def images_are_ours_or_known(overlay: Overlay) -> Iterator[str]:
    """Ours are built by a Dockerfile here and carry the version of setup.cfg."""
    for workload, container in overlay.containers():
        image = container.get("image", "")
        ours = _is_built(image_name(container)) and image.endswith(f":{version()}")
        if not ours and image not in FETCHED:
            yield f"{workload.name}: image {image!r} of {container['name']} is not built here"


def pods_run_as_the_user_of_their_image(overlay: Overlay) -> Iterator[str]:
    """Its files belong to that one."""
    for workload in overlay.workloads():
        user = dig(workload.spec, "securityContext.runAsUser")
        for container in workload.containers():
            path, _ = BUILT.get(image_name(container), ("", ""))
            users = re.findall(r"^USER (\d+)", (HOUSE / path).read_text(), re.M) if path else []
            if str(user) not in (users or [str(user)]):
                yield f"{workload.name}: runs as {user}, the user of its image is {users[-1]}"


def image_name(container: Object) -> str:
    """The name of its image, without registry and tag."""
    return str(container.get("image", "")).rpartition("/")[2].partition(":")[0]


def _is_built(name: str) -> bool:
    path, stage = BUILT.get(name, ("", ""))
    dockerfile = HOUSE / path
    return dockerfile.is_file() and (not stage or f" AS {stage}\n" in dockerfile.read_text())


@cache
def version() -> str:
    """That of setup.cfg."""
    parsed = ConfigParser()
    parsed.read(HOUSE / "setup.cfg")
    return parsed["metadata"]["version"]


def requests_fit_into_limits(overlay: Overlay) -> Iterator[str]:
    """Each container says what it needs, and how much memory it may take at most."""
    for workload, container in overlay.containers():
        where = f"{workload.name}: {container['name']}"
        requests = dig(container, "resources.requests") or {}
        limits = dig(container, "resources.limits") or {}
        for missing in sorted({"cpu", "memory"} - requests.keys()):
            yield f"{where}: requests no {missing}"
        if "memory" not in limits:
            yield f"{where}: has no limit of memory"
        try:
            for name in sorted(requests.keys() & limits.keys()):
                if quantity(requests[name]) > quantity(limits[name]):
                    yield f"{where}: requests more {name} than its limit"
        except ValueError as error:
            yield f"{where}: {error}"


def quantity(asked: str | int | float) -> Decimal:
    """The number that a quantity of Kubernetes means. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]*)", str(asked))
    if not found or found[2] not in SUFFIXES:
        raise ValueError(f"{asked!r} is not a quantity")
    return Decimal(found[1]) * SUFFIXES[found[2]]
