"""What an object says of itself: what Kubernetes knows, and what a cluster must not assume."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from unittest.mock import patch

from kubernetes_validate import SchemaNotFoundError, ValidationError, utils

from tests.k8s.defects import (
    API,
    CACHE,
    DECISIONS,
    FIRST,
    GONE,
    IN_JOB,
    JOB,
    LOADTEST,
    POD,
    REFRESH,
    TRAINER,
    WITH_DECISIONS,
    WITH_WORKBENCH,
    WORKBENCH,
    catches,
    text,
)
from tests.k8s.manifests import Object, Overlay, dig, quantity, title

MINORS = ("1.31", "1.37")
"""The oldest and the newest that we support."""
CUSTOM = ("PrometheusRule", "ServiceMonitor")
"""Kinds that no Kubernetes knows by itself: ``monitoring`` looks at them."""
STATED = object()
"""Any value, but it must be there; None: it must not be."""
ROLLING = {"spec.strategy.rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
MUST: dict[str, dict[str, Any]] = {
    "object": {"metadata.namespace": "larder"},
    "Namespace": {"metadata.labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    "ClusterRole": {"rules": None},
    "ClusterRoleBinding": {"subjects": None},
    "ConfigMap": {"metadata.name": re.compile(".*-[2-9a-z]{10}")},  # a change makes new pods
    "Ingress": {"spec.ingressClassName": STATED},
    "Deployment": {"spec.replicas": None},  # every apply would set back what the scaler chose
    "Deployment larder-api": ROLLING,
    "Deployment larder-clicks": ROLLING,
    DECISIONS: ROLLING,
    TRAINER: {"spec.strategy": {"type": "Recreate"}},  # its volume goes from pod to pod
    WORKBENCH: {"spec.strategy": {"type": "Recreate"}},
    "StatefulSet": {"spec.serviceName": re.compile("larder-(cache|events)-nodes")},
    "Service larder-cache-nodes": {"spec.clusterIP": "None"},  # its pods have names of their own
    "Service larder-events-nodes": {"spec.clusterIP": "None"},
    "PodDisruptionBudget": {"spec.maxUnavailable": 1},
    "HorizontalPodAutoscaler": {
        "spec.scaleTargetRef": {"apiVersion": "apps/v1"},
        "spec.minReplicas": re.compile(r"[2-9]|\d\d"),  # a drain takes one, and one must stay
    },
    "PersistentVolumeClaim": {
        "spec.accessModes": STATED,
        "spec.resources.requests.storage": re.compile(r"\d+[MGT]i"),  # without a unit: bytes
    },
    "CronJob": {
        "spec.concurrencyPolicy": "Forbid",
        "spec.startingDeadlineSeconds": STATED,
        "spec.successfulJobsHistoryLimit": STATED,
        "spec.failedJobsHistoryLimit": STATED,
    },
    LOADTEST: {"spec.suspend": True},  # by the clock it would hit the callers of production
    "job": {
        "activeDeadlineSeconds": STATED,
        "backoffLimit": STATED,
        "template.spec.restartPolicy": "Never",  # a pod that failed stays to be read
    },
    "pod": {
        "serviceAccountName": STATED,
        "securityContext.runAsNonRoot": True,
        "securityContext.seccompProfile.type": "RuntimeDefault",
        "enableServiceLinks": False,
        "hostNetwork": None,
        "hostPID": None,
        "hostIPC": None,
    },
    "pod with a claim": {"securityContext.fsGroup": STATED},  # a new volume belongs to root
    "container": {
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "securityContext.privileged": None,
        "securityContext.runAsUser": None,  # what the pod states holds
        "securityContext.runAsNonRoot": None,
        "securityContext.seccompProfile": None,
        "resources.requests.cpu": STATED,
        "resources.requests.memory": STATED,
        "resources.limits.memory": STATED,
    },
    "port": {"hostPort": None},
    "volume": {"hostPath": None},
    "secret": {"items": STATED},  # the cache has no use for the URLs of those who ask it
    "emptyDir": {"sizeLimit": STATED},  # one that a run may fill would fill the node
}
"""By kind, by kind and name, or by a part of a pod."""
_read = cache(utils.schema_contents)  # all schemas lie in one large file, which is read each time


@catches(API, f"{POD}/enableServiceLink", False)
@catches("ConfigMap larder-spark", "data/executor.yaml", text("  restartP", "  p"), "spark")
def objects_are_as_kubernetes_knows_them(overlay: Overlay) -> Iterator[str]:
    """Strictly: a field that the schema lacks is a mistake, and so is a kind without a schema."""
    named = [(title(each), each) for each in overlay.objects if each["kind"] not in CUSTOM]
    inside = [each for each in overlay.workloads() if each.template.get("kind") == "Pod"]
    for where, each in [*named, *((pod.name, pod.template) for pod in inside)]:
        for minor in MINORS:
            if problem := _problem(json.dumps(each), minor):
                yield f"{where}: Kubernetes {minor}: {problem}"


@cache
def _problem(content: str, minor: str) -> str:
    """Kept, because overlays share most objects, and the schemas are large."""
    try:
        with patch.object(utils, "schema_contents", _read):
            known = utils.validate(json.loads(content), minor, strict=True)
    except SchemaNotFoundError as error:
        return str(error.message)
    except ValidationError as error:
        return f"{'.'.join(str(part) for part in error.path)}: {error.message}"
    return "" if known == minor else f"there are only schemas of {known}"


@catches("Service larder-api", "metadata/namespace", "default")
@catches("Namespace larder", "metadata/labels", {})
@catches("PodDisruptionBudget larder-api", "spec/maxUnavailable", "100%")
@catches(API, "spec/strategy/rollingUpdate/maxUnavailable", 1)
@catches(TRAINER, "spec/strategy/type", "RollingUpdate", WITH_DECISIONS)
@catches(WORKBENCH, "spec/strategy/type", "RollingUpdate", WITH_WORKBENCH)
@catches(REFRESH, f"{JOB}/activeDeadlineSeconds", GONE)
@catches(API, f"{POD}/hostNetwork", True)
@catches(API, f"{FIRST}/securityContext/readOnlyRootFilesystem", GONE)
@catches(API, f"{FIRST}/ports/0/hostPort", 8000)
@catches(CACHE, f"{POD}/volumes/1/secret/items", GONE)
@catches(REFRESH, f"{IN_JOB}/volumes/0/emptyDir", {})
@catches(CACHE, f"{POD}/securityContext/fsGroup", GONE)
def fields_are_what_they_must_be(overlay: Overlay) -> Iterator[str]:
    """As ``MUST`` says; for pods that is the restricted profile and a read-only root besides."""
    for where, section, found in _sections(overlay):
        for path, value in MUST.get(section, {}).items():
            if not _fits(dig(found, path), value):
                yield f"{where}: {section}: {path} is {dig(found, path)}, must be {value}"


def _fits(found: Any, must: Any) -> bool:
    if must is STATED:
        return found not in (None, "", {}, [])
    if isinstance(must, re.Pattern):
        return must.fullmatch(str(found)) is not None
    if isinstance(must, dict):
        return isinstance(found, dict) and must.items() <= found.items()
    return bool(found == must)


def _sections(overlay: Overlay) -> Iterator[tuple[str, str, Object]]:
    """Where, a key of ``MUST``, and what that is about."""
    for each in overlay.objects:
        where = title(each)
        yield from ((where, section, each) for section in (each["kind"], where))
        if each["kind"] != "Namespace":
            yield where, "object", each
        for claim in dig(each, "spec.volumeClaimTemplates") or []:
            yield where, "PersistentVolumeClaim", claim
    for workload in overlay.workloads():
        yield workload.name, "pod", workload.spec
        templates = dig(workload.owner, "spec.volumeClaimTemplates")
        if templates or "persistentVolumeClaim" in str(workload.spec):
            yield workload.name, "pod with a claim", workload.spec
        if workload.job:
            yield workload.name, "job", workload.job
        for container in workload.containers():
            yield workload.name, "container", container
            yield from ((workload.name, "port", port) for port in container.get("ports", []))
        for volume in workload.spec.get("volumes", []):
            yield workload.name, "volume", volume
            made_of = volume if len(volume) > 1 else {"emptyDir": {}}  # as Kubernetes reads it
            yield from ((workload.name, field, inner) for field, inner in made_of.items())


@catches(API, f"{FIRST}/resources/requests/memory", "1Gi")
@catches(API, f"{POD}/volumes/0/emptyDir/sizeLimit", "2Gi")
def sizes_fit(overlay: Overlay) -> Iterator[str]:
    """A container asks for no more than it may have; a folder in memory is smaller than that."""
    for workload, container in overlay.containers():
        where = f"{workload.name}: {container['name']}"
        limits = dig(container, "resources.limits") or {}
        for name, asked in (dig(container, "resources.requests") or {}).items():
            if quantity(asked) > quantity(limits.get(name, asked)):
                yield f"{where}: requests {asked} of {name}, the limit is {limits[name]}"
        for volume in workload.spec.get("volumes", []):
            size = dig(volume, "emptyDir.sizeLimit")
            in_memory = size and dig(volume, "emptyDir.medium") == "Memory"
            if in_memory and quantity(size) >= quantity(limits.get("memory", "1E")):
                yield f"{where}: volume {volume['name']} may be larger than {limits['memory']}"
