"""The cluster that a notebook starts: what it lends, where it listens, how it ends."""

import subprocess
import sys

import psutil
import pytest

from batch.command.stack.up import StepFailed, get
from batch.workbench import spark_cluster
from tests.servers import environment

# In a process of its own: in this one, another test's session would take the work.
JOB = """
import sys
from pyspark.sql import SparkSession

set_up = SparkSession.builder.master(sys.argv[1]).config("spark.executor.memory", "512m")
print(set_up.getOrCreate().sparkContext.parallelize(range(10), 2).sum())
"""


def test_a_cluster_of_a_notebook_works_on_loopback_until_it_is_stopped(java: None) -> None:
    before = psutil.Process().children()
    cluster = spark_cluster(workers=2, cores=1, memory="600m")
    try:
        found = get(f"{cluster.page}/json/")
        assert [(each["cores"], each["memory"]) for each in found["workers"]] == [(1, 600)] * 2
        assert found["url"] == cluster.url
        mine = [each for each in psutil.Process().children() if each not in before]
        assert len(mine) == 3
        ports = [
            port for each in mine for port in each.net_connections() if port.status == "LISTEN"
        ]
        assert len(ports) >= 6
        assert {port.laddr.ip.removeprefix("::ffff:") for port in ports} == {"127.0.0.1"}
        job = [sys.executable, "-c", JOB, cluster.url]
        done = subprocess.run(job, env=environment(), capture_output=True, text=True)
        assert done.stdout == "45\n", done.stderr
    finally:
        cluster.stop()
    assert not any(each.is_running() for each in mine)
    assert not cluster.folder.exists()


def test_a_cluster_that_cannot_start_says_why(
    java: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StepFailed, match="the Spark worker-1 ended with exit code 1"):
        spark_cluster(memory="much")
    assert "Usage: Worker" in capsys.readouterr().out
