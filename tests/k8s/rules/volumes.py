"""What pods read from and write to."""

from collections.abc import Iterator

from tests.k8s.manifests import Overlay, dig, title
from tests.k8s.rules.pods import quantity

MEGABYTE = 2**20


def mounts_have_their_volumes(overlay: Overlay) -> Iterator[str]:
    """Each mount has a volume, each volume has a mount and is made of something."""
    for workload in overlay.workloads():
        claims = dig(workload.owner, "spec.volumeClaimTemplates") or []
        made = {dig(each, "metadata.name") for each in claims}
        made |= {each["name"] for each in workload.spec.get("volumes", [])}
        used = {
            mount["name"]
            for container in workload.containers()
            for mount in container.get("volumeMounts", [])
        }
        for name in sorted(used - made):
            yield f"{workload.name}: mounts {name}, which is no volume"
        for name in sorted(made - used):
            yield f"{workload.name}: nothing mounts volume {name}"
        for volume in workload.spec.get("volumes", []):
            if volume.keys() == {"name"}:
                yield f"{workload.name}: volume {volume['name']} is made of nothing"


def our_programs_have_a_folder_to_write_to(overlay: Overlay) -> Iterator[str]:
    """Their root is read-only, and they work in /tmp."""
    for workload, container in overlay.containers():
        mounts = [each["mountPath"] for each in container.get("volumeMounts", [])]
        ours = "larder-" in container.get("image", "") and "command" not in container
        if ours and "/tmp" not in mounts:
            yield f"{workload.name}: {container['name']} has no /tmp to write to"


def folders_have_a_limit(overlay: Overlay) -> Iterator[str]:
    """One that a run may fill would fill the node; one in memory must fit into the pod's."""
    for workload in overlay.workloads():
        limits = [dig(each, "resources.limits.memory") for each in workload.containers()]
        for volume in workload.spec.get("volumes", []):
            folder = volume.get("emptyDir")
            if folder is None:
                continue
            limit = folder.get("sizeLimit")
            if limit is None:
                yield f"{workload.name}: volume {volume['name']} has no sizeLimit"
            elif folder.get("medium") == "Memory" and not _fits(limit, limits):
                yield f"{workload.name}: volume {volume['name']} may be larger than the memory"


def _fits(size: str, limits: list[str | None]) -> bool:
    """Whether it is less than what a container may take; without a limit that is not known."""
    return all(limit is None or quantity(size) < quantity(limit) for limit in limits)


def claims_say_how_much(overlay: Overlay) -> Iterator[str]:
    """How large a volume must be, and how it is mounted."""
    claims = [(title(each), each) for each in overlay.of("PersistentVolumeClaim")]
    for each in overlay.of("StatefulSet"):
        claims += [(title(each), claim) for claim in dig(each, "spec.volumeClaimTemplates") or []]
    for where, claim in claims:
        size = dig(claim, "spec.resources.requests.storage")
        if not (size and dig(claim, "spec.accessModes")) or quantity(size) < MEGABYTE:
            yield f"{where}: a claim must state its accessModes and a size, not {size}"


def pods_can_write_to_their_claims(overlay: Overlay) -> Iterator[str]:
    """A new volume belongs to root, unless Kubernetes is told the group."""
    for workload in overlay.workloads():
        claims = dig(workload.owner, "spec.volumeClaimTemplates") or [
            each for each in workload.spec.get("volumes", []) if "persistentVolumeClaim" in each
        ]
        if claims and not dig(workload.spec, "securityContext.fsGroup"):
            yield f"{workload.name}: has a claim, but no fsGroup"
