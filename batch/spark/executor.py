"""Starts Spark's executor in a pod: ``python -m batch.spark.executor``.

Spark tells a pod that it makes what to run as variables, and leaves the command to the image.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pyspark

_MAIN = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
_JAVA_OPTION = "SPARK_JAVA_OPT_"
_OPTIONS = {
    "--driver-url": "SPARK_DRIVER_URL",
    "--executor-id": "SPARK_EXECUTOR_ID",
    "--cores": "SPARK_EXECUTOR_CORES",
    "--app-id": "SPARK_APPLICATION_ID",
    "--hostname": "SPARK_EXECUTOR_POD_IP",
    "--resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
    "--podName": "SPARK_EXECUTOR_POD_NAME",
}


def command(given: Mapping[str, str]) -> list[str]:
    """Return the command line of the executor that these variables of Spark's describe."""
    home = given.get("JAVA_HOME")
    return [
        f"{home}/bin/java" if home else "java",
        *_java_options(given),
        f"-Xmx{given['SPARK_EXECUTOR_MEMORY']}",
        *("-cp", _class_path(given)),
        _MAIN,
        *(word for option, name in _OPTIONS.items() for word in (option, given[name])),
    ]


def _java_options(given: Mapping[str, str]) -> list[str]:
    numbers = (name.removeprefix(_JAVA_OPTION) for name in given if name.startswith(_JAVA_OPTION))
    return [given[f"{_JAVA_OPTION}{number}"] for number in sorted(numbers, key=int)]


def _class_path(given: Mapping[str, str]) -> str:
    own = str(Path(pyspark.__path__[0]) / "jars" / "*")
    return os.pathsep.join(filter(None, [given.get("SPARK_CLASSPATH"), own]))


def main() -> None:
    """Become that executor, so that the pod's signals reach it."""
    words = command(os.environ)
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
