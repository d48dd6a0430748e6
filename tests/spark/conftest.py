"""What every test of Spark may ask for: one session on this machine for all of them."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from batch.errors import BadSettings
from batch.spark.java import require
from batch.spark.session import session
from tests.spark.cluster import INTERPRETED, QUICK, StandaloneCluster

SMALL = {
    "spark.master": "local[2,4]",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": " ".join(QUICK),
    "spark.sql.shuffle.partitions": "4",
    "spark.default.parallelism": "2",
    **INTERPRETED,
}


@pytest.fixture(scope="session")
def java() -> None:
    """Skip, and say why, where Spark cannot start."""
    try:
        require()
    except BadSettings as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def spark(java: None) -> Iterator[SparkSession]:
    """One session for all tests of Spark: two cores, four partitions after a shuffle."""
    with session(SMALL) as started:
        yield started


@pytest.fixture(scope="session")
def _standalone(
    java: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandaloneCluster]:
    with StandaloneCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def two_workers(_standalone: StandaloneCluster) -> StandaloneCluster:
    """The one standalone cluster of all tests; a worker that a test killed is there again."""
    _standalone.replace_the_dead()
    return _standalone
