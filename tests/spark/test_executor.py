"""The command line that a pod's variables become."""

from batch.spark.executor import command

GIVEN = {
    "SPARK_APPLICATION_ID": "spark-1",
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@10.0.0.7:7078",
    "SPARK_EXECUTOR_CORES": "4",
    "SPARK_EXECUTOR_ID": "2",
    "SPARK_EXECUTOR_MEMORY": "4096m",
    "SPARK_EXECUTOR_POD_IP": "10.0.0.8",
    "SPARK_EXECUTOR_POD_NAME": "larder-exec-2",
    "SPARK_RESOURCE_PROFILE_ID": "0",
}


def test_java_gets_its_options_in_spark_s_order() -> None:
    """An option may be about the one before it."""
    options = {f"SPARK_JAVA_OPT_{number}": f"-Dn={number}" for number in (10, 9, 0)}
    words = command({**GIVEN, **options})
    assert words[:5] == ["java", "-Dn=0", "-Dn=9", "-Dn=10", "-Xmx4096m"]


def test_the_executor_is_told_who_it_is() -> None:
    words = command(GIVEN)
    told = dict(zip(words[-14::2], words[-13::2], strict=True))
    assert set(told.values()) == set(GIVEN.values()) - {"4096m"}
    assert (told["--executor-id"], told["--hostname"]) == ("2", "10.0.0.8")


def test_another_java_and_other_classes_come_first() -> None:
    words = command({**GIVEN, "JAVA_HOME": "/java", "SPARK_CLASSPATH": "/more/*"})
    assert words[0] == "/java/bin/java"
    first, own = words[words.index("-cp") + 1].split(":")
    assert first == "/more/*" and own.endswith("/pyspark/jars/*")
