"""How many pods: scalers, budgets and what keeps a drain from being refused or from hurting."""

from collections.abc import Iterator
from math import ceil

from tests.k8s.manifests import Object, Overlay, dig, title


def scalers_have_a_target_and_a_range(overlay: Overlay) -> Iterator[str]:
    """The least is not more than the most, and what is to be scaled is there."""
    for each in overlay.of("HorizontalPodAutoscaler"):
        spec = each["spec"]
        least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
        if least > most:
            yield f"{title(each)}: minReplicas {least} is more than maxReplicas {most}"
        scaled, version = _scaled(overlay, each), spec["scaleTargetRef"].get("apiVersion")
        if scaled is None or scaled["apiVersion"] != version:
            yield f"{title(each)}: there is no {spec['scaleTargetRef']}"


def scalers_say_when(overlay: Overlay) -> Iterator[str]:
    """At which share of what was requested there must be more pods."""
    for each in overlay.of("HorizontalPodAutoscaler"):
        targets = [
            dig(metric, "resource.target") or {} for metric in each["spec"].get("metrics", [])
        ]
        shares = [target.get("averageUtilization") or 0 for target in targets]
        if not shares or not all(0 < share <= 100 for share in shares):
            yield f"{title(each)}: averageUtilization must be 1 to 100, not {shares}"


def scalers_leave_the_number_to_themselves(overlay: Overlay) -> Iterator[str]:
    """A Deployment that states its replicas would be set back to them by every apply."""
    for each in overlay.of("HorizontalPodAutoscaler"):
        scaled = _scaled(overlay, each)
        if scaled and "replicas" in scaled["spec"]:
            yield f"{title(scaled)}: states replicas, though {title(each)} scales it"


def budgets_leave_a_pod_to_evict(overlay: Overlay) -> Iterator[str]:
    """A drain must be able to take one pod, and one must stay."""
    for each in overlay.of("PodDisruptionBudget"):
        for workload in overlay.selected(dig(each, "spec.selector.matchLabels") or {}):
            pods = _least_pods(overlay, workload.owner)
            evictable = _evictable(each["spec"], pods)
            if not 1 <= evictable < pods:
                yield f"{title(each)}: of {pods} pods of {workload.name} it lets {evictable} go"


def updates_take_no_pod_away(overlay: Overlay) -> Iterator[str]:
    """A new pod is ready before an old one goes."""
    for each in overlay.of("Deployment"):
        rolling = dig(each, "spec.strategy.rollingUpdate") or {}
        if str(rolling.get("maxUnavailable")) not in ("0", "0%") or not rolling.get("maxSurge"):
            yield f"{title(each)}: an update takes pods away (maxUnavailable must be 0)"


def _scaled(overlay: Overlay, scaler: Object) -> Object | None:
    target = scaler["spec"]["scaleTargetRef"]
    return overlay.get(target["kind"], target["name"])


def _least_pods(overlay: Overlay, owner: Object) -> int:
    for each in overlay.of("HorizontalPodAutoscaler"):
        if _scaled(overlay, each) is owner:
            return int(each["spec"].get("minReplicas", 1))
    return int(owner["spec"].get("replicas", 1))


def _evictable(budget: Object, pods: int) -> int:
    if "minAvailable" in budget:
        return pods - _count(budget["minAvailable"], pods)
    return _count(budget.get("maxUnavailable", 0), pods)


def _count(asked: int | str, pods: int) -> int:
    """Kubernetes rounds both shares up."""
    text = str(asked)
    return ceil(int(text.rstrip("%")) * pods / 100) if text.endswith("%") else int(text)
