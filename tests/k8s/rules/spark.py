"""The refresh on Spark: its driver may make executors, and they are as Spark is told."""

from collections.abc import Iterator

from tests.k8s.manifests import Overlay, Workload, dig, title
from tests.k8s.rules.configuration import contents
from tests.k8s.rules.pods import quantity


def roles_are_bound_to_accounts_that_exist(overlay: Overlay) -> Iterator[str]:
    """Kubernetes takes a binding of nothing to nobody."""
    for each in overlay.of("RoleBinding"):
        reference = each["roleRef"]
        if overlay.get(reference["kind"], reference["name"]) is None:
            yield f"{title(each)}: there is no {reference['kind']} {reference['name']}"
        for subject in each.get("subjects", []):
            if overlay.get(subject["kind"], subject["name"]) is None:
                yield f"{title(each)}: there is no {subject['kind']} {subject['name']}"


def executors_are_as_spark_is_told(overlay: Overlay) -> Iterator[str]:
    """Memory, cores and namespace are said twice: to Spark and to Kubernetes; ports only to Spark,
    which opens them: Kubernetes refuses a pod with two ports of one name."""
    for each in overlay.workloads("executor"):
        told = _defaults(overlay)
        limits = dig(each.containers()[0], "resources.limits") or {}
        memory = _bytes(told, "spark.executor.memory", "spark.executor.memoryOverhead")
        if memory != quantity(limits.get("memory", 0)):
            yield f"{each.name}: Spark is told {memory:,} bytes, the limits are {limits}"
        for name in ("spark.executor.cores", "spark.task.cpus"):
            if told.get(name) != str(limits.get("cpu")):
                yield f"{each.name}: {name} is {told.get(name)}, the limits are {limits}"
        if each.ports():
            yield f"{each.name}: Spark itself opens the ports of executors"
        if told.get("spark.kubernetes.namespace") != each.owner["metadata"]["namespace"]:
            yield f"{each.name}: spark.kubernetes.namespace is another"


def the_driver_opens_the_ports_that_it_is_told(overlay: Overlay) -> Iterator[str]:
    """Its executors come in there."""
    told = _defaults(overlay)
    for each in overlay.workloads("refresh") if told else ():
        for name in ("spark.driver.port", "spark.driver.blockManager.port"):
            if told.get(name) not in _opened(each):
                yield f"{each.name}: {name} is {told.get(name)}, opened is {each.ports()}"


def _opened(workload: Workload) -> list[str | None]:
    return [str(port) for port in workload.ports().values()]


def _defaults(overlay: Overlay) -> dict[str, str]:
    texts = [contents(each).get("spark-defaults.conf", "") for each in overlay.of("ConfigMap")]
    lines = [line.split(maxsplit=1) for line in "\n".join(texts).splitlines()]
    return {words[0]: words[1] for words in lines if len(words) == 2 and words[0] != "#"}


def _bytes(told: dict[str, str], *names: str) -> int:
    """Spark's g is Kubernetes' Gi."""
    return sum(int(quantity(told.get(name, "0").upper() + "i")) for name in names)
