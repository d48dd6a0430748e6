"""Who names whom: selectors, references, mounts and ports mean something that is there."""

from collections.abc import Iterator
from typing import Any

from tests.k8s.defects import API, GONE, POD, TYPO, catches
from tests.k8s.manifests import COMPONENT, MOUNTED, NAME, Overlay, contents, dig, title

PRODUCTION = {
    "ConfigMap larder-population": {"users.txt"},
    "Secret larder-api-tls": {"tls.crt", "tls.key"},
    "Secret larder-cache": {"api-url", "batch-url"},
    "Secret larder-events": {"api-url", "batch-url", "users.acl"},
    "ConfigMap larder-cache-ca": {"ca.crt"},
}
TEAM = {
    "production": PRODUCTION,
    "spark": PRODUCTION,
    "workbench": {"Secret larder-workbench": {"token"}},
}
"""What the README tells a team to make before it applies an overlay."""
FIELDS = {
    **{field: (kind, name) for kind, field, name in MOUNTED},
    "configMapRef": ("ConfigMap", "name"),
    "configMapKeyRef": ("ConfigMap", "name"),
    "secretRef": ("Secret", "name"),
    "secretKeyRef": ("Secret", "name"),
    "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
}
NAMES = {"serviceAccountName": "ServiceAccount", "serviceName": "Service", "secretName": "Secret"}
"""Fields that refer to an object, and fields that are the name of one."""

SCALER = "HorizontalPodAutoscaler larder-api"

Reference = tuple[str, str, str]


@catches("Service larder-api", "spec/selector", TYPO)
@catches(API, "spec/selector/matchLabels", TYPO)
@catches(API, f"{POD}/topologySpreadConstraints/1/labelSelector/matchLabels", {COMPONENT: "api"})
def selectors_hit_what_they_mean(overlay: Overlay) -> Iterator[str]:
    """By both labels: one alone would hit other parts of Larder, or other programs."""
    for owner, meant, selector in _selectors(overlay):
        if selector != {NAME: "larder", COMPONENT: meant} or not overlay.selected(selector):
            yield f"{owner}: means the pods of {meant!r}, selects {selector}"


def _selectors(overlay: Overlay) -> Iterator[tuple[str, str | None, dict[str, str]]]:
    """What has a selector, the component that it means, and the labels that it selects by."""
    for each in overlay.of("Service", "PodDisruptionBudget"):
        by = dig(each, "spec.selector") or {}
        yield title(each), each["metadata"]["labels"].get(COMPONENT), by.get("matchLabels", by)
    for workload in overlay.workloads():
        yield workload.name, workload.component, workload.labels
        if selector := dig(workload.owner, "spec.selector.matchLabels"):
            yield workload.name, workload.component, selector
        for each in workload.spec.get("topologySpreadConstraints", []):
            yield workload.name, workload.component, each["labelSelector"]["matchLabels"]


@catches("Secret larder-cache", "data/batch-url", GONE)
def every_reference_exists(overlay: Overlay) -> Iterator[str]:
    """Whatever an object or a pod asks for is here, or is the team's to make."""
    asked = _all_asked(overlay)
    made = {
        each: keys for name in overlay.name.split("+") for each, keys in TEAM.get(name, {}).items()
    }
    for owner, (kind, name, key) in sorted(asked):
        found = overlay.get(kind, name)
        there = contents(found) if found else made.get(f"{kind} {name}")
        if there is None or (key and key not in there):
            yield f"{owner}: there is no {kind} {f'{name}/{key}' if key else name}"


@catches(API, f"{POD}/serviceAccountName", "larder-cache")
def every_object_that_is_to_be_read_is_read(overlay: Overlay) -> Iterator[str]:
    """One that nobody reads was forgotten, or is asked for by another name."""
    asked = {f"{kind} {name}" for _, (kind, name, _) in _all_asked(overlay)}
    for each in overlay.of("ConfigMap", "Secret", "ServiceAccount", "PersistentVolumeClaim"):
        if title(each) not in asked:
            yield f"{title(each)}: nobody uses it"


def _all_asked(overlay: Overlay) -> set[tuple[str, Reference]]:
    found = [(title(each), each) for each in overlay.objects if each["kind"] != "ConfigMap"]
    found += [(each.name, each.template) for each in overlay.workloads("executor")]
    return {(owner, reference) for owner, each in found for reference in _asked(each)}


def _asked(found: Any) -> Iterator[Reference]:
    """Kind, name and key of all that is referred to; no key where it is the whole."""
    if isinstance(found, list):
        for each in found:
            yield from _asked(each)
    for field, inner in found.items() if isinstance(found, dict) else ():
        if field in FIELDS and not inner.get("optional"):
            kind, name = FIELDS[field]
            keys = [inner.get("key", ""), *(each["key"] for each in inner.get("items", []))]
            yield from ((kind, inner.get(name, ""), key) for key in keys)
        elif field in NAMES:
            yield NAMES[field], inner, ""
        elif field in ("roleRef", "scaleTargetRef", "subjects"):
            for each in inner if isinstance(inner, list) else [inner]:
                yield each["kind"], each["name"], ""
        elif field == "service" and isinstance(inner, dict):
            yield "Service", inner["name"], ""
        elif field not in FIELDS:
            yield from _asked(inner)


@catches(API, f"{POD}/volumes/0/name", "temp")
def mounts_have_their_volumes(overlay: Overlay) -> Iterator[str]:
    """And volumes their mounts."""
    for workload in overlay.workloads():
        claims = dig(workload.owner, "spec.volumeClaimTemplates") or []
        made = {dig(each, "metadata.name") for each in claims}
        made |= {each["name"] for each in workload.spec.get("volumes", [])}
        mounts = [mount for each in workload.containers() for mount in each.get("volumeMounts", [])]
        if different := made ^ {each["name"] for each in mounts}:
            yield f"{workload.name}: {sorted(different)} are mounted or volumes, but not both"


@catches("Service larder-api", "spec/ports/0/targetPort", "htpp")
def service_ports_are_ports_of_their_pods(overlay: Overlay) -> Iterator[str]:
    """A port that a Service sends to is one that the container opens."""
    for each in overlay.of("Service"):
        for workload in overlay.selected(dig(each, "spec.selector") or {}):
            for port in each["spec"]["ports"]:
                if not workload.opens(port.get("targetPort", port["port"])):
                    yield f"{title(each)}: {port} is none of {workload.name}"


@catches("Role larder-refresh", "rules/0/verbs", ["*"], "spark")
def roles_allow_what_spark_asks_for(overlay: Overlay) -> Iterator[str]:
    """Its driver was seen to use each of these rights, and to ask for no other."""
    for each in overlay.of("Role"):
        verbs = ["create", "delete", "deletecollection", "get", "list", "watch"]
        if each["rules"] != [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]:
            yield f"{title(each)}: allows {each['rules']}"


@catches(API, f"{POD}/automountServiceAccountToken", True)
def only_who_needs_it_holds_a_token(overlay: Overlay) -> Iterator[str]:
    """A token of the cluster is for pods whose account has a role."""
    bound = {subject["name"] for each in overlay.of("RoleBinding") for subject in each["subjects"]}
    for workload in overlay.workloads():
        needs = workload.spec.get("serviceAccountName") in bound
        if workload.spec.get("automountServiceAccountToken") is not needs:
            yield f"{workload.name}: automountServiceAccountToken must be {needs}"


@catches(SCALER, "spec/minReplicas", 9)
@catches(SCALER, "spec/metrics/0/resource/target/averageUtilization", 600)
def scalers_have_a_range(overlay: Overlay) -> Iterator[str]:
    """The least is not more than the most, and more pods come before all are full."""
    for each in overlay.of("HorizontalPodAutoscaler"):
        least, most = each["spec"].get("minReplicas", 1), each["spec"]["maxReplicas"]
        shares = [dig(one, "resource.target.averageUtilization") for one in each["spec"]["metrics"]]
        if least > most:
            yield f"{title(each)}: minReplicas {least} is more than maxReplicas {most}"
        if not shares or not all(0 < share <= 100 for share in shares):
            yield f"{title(each)}: averageUtilization must be 1 to 100, not {shares}"
