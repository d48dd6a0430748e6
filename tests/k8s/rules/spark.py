"""The refresh on Spark: its executors are as Spark is told, and talk as it is promised."""

from collections.abc import Iterator

from tests.k8s.defects import FIRST_IN_JOB, REFRESH, catches, text
from tests.k8s.manifests import Overlay, contents, quantity

SETTINGS, DEFAULTS, EXECUTOR = (
    "ConfigMap larder-spark",
    "data/spark-defaults.conf",
    "data/executor.yaml",
)
MUST = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.network.crypto.cipher": "AES/GCM/NoPadding",
    "spark.kubernetes.namespace": "larder",
    "spark.kubernetes.executor.disableConfigMap": "true",
}
"""The URL of the cache goes to executors with their tasks: nobody reads it on the way. And nothing
takes more rights than the Role gives."""


@catches(SETTINGS, DEFAULTS, text("network.crypto.enabled", "network.crypto"), "spark")
def executors_are_talked_to_in_secret(overlay: Overlay) -> Iterator[str]:
    """As ``MUST`` says."""
    told = _defaults(overlay)
    if told and not MUST.items() <= told.items():
        yield f"spark-defaults.conf lacks some of {sorted(MUST.items() - told.items())}"


@catches(SETTINGS, DEFAULTS, text("spark.task.cpus", "spark.tasks.cpus"), "spark")
@catches(SETTINGS, EXECUTOR, text("memory: 8Gi", "memory: 4Gi"), "spark")
def executors_are_as_spark_is_told(overlay: Overlay) -> Iterator[str]:
    """Memory and cores are said twice: to Spark and to Kubernetes."""
    told = _defaults(overlay)
    for workload, container in overlay.containers("executor"):
        limits = container["resources"]["limits"]
        named = [told.get(f"spark.executor.{each}", "0g") for each in ("memory", "memoryOverhead")]
        if sum(quantity(each.upper() + "i") for each in named) != quantity(limits["memory"]):
            yield f"{workload.name}: Spark is told {named}, the limits are {limits}"
        cores = {told.get(name) for name in ("spark.executor.cores", "spark.task.cpus")}
        if cores != {str(limits["cpu"])}:
            yield f"{workload.name}: Spark is told {cores} cores, the limits are {limits}"


@catches(REFRESH, f"{FIRST_IN_JOB}/ports/0/containerPort", 7077, "spark")
def the_ports_are_those_that_spark_is_told(overlay: Overlay) -> Iterator[str]:
    """The driver opens its own; Spark opens those of executors: two of a name would be refused."""
    told = _defaults(overlay)
    names = ("spark.driver.port", "spark.driver.blockManager.port")
    wanted = {"refresh": {told.get(name) for name in names}, "executor": set()}
    for each in overlay.workloads(*wanted) if told else ():
        opened = {str(port) for port in each.ports().values()}
        if opened != wanted[each.component]:
            yield f"{each.name}: opens {opened}, Spark is told {wanted[each.component]}"


def _defaults(overlay: Overlay) -> dict[str, str]:
    texts = [contents(each).get("spark-defaults.conf", "") for each in overlay.of("ConfigMap")]
    lines = [line.split(maxsplit=1) for line in "\n".join(texts).splitlines()]
    return {words[0]: words[1] for words in lines if len(words) == 2 and words[0] != "#"}
