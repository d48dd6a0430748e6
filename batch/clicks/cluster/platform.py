"""A Spark cluster as the place where click models are trained, and where they score in bulk."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pyspark.sql import SparkSession

from batch.clicks.cluster import bulk
from batch.clicks.cluster.examples import ClusterExamples
from batch.clicks.cluster.read import read
from batch.clicks.cluster.workers import require_library, require_slots
from batch.clicks.examples.layout import Reading
from batch.clicks.model import Model
from batch.clicks.rows import Report
from batch.clicks.terms import Cluster
from batch.spark.package import is_local
from batch.spark.session import session

log = logging.getLogger("larder")


@contextmanager
def examples(uris: Sequence[str], reading: Reading, cluster: Cluster) -> Iterator[ClusterExamples]:
    """Read examples in a session that is lent until this is closed.

    Call ``batch.spark.java.require`` before this is imported. Raises what the session raises, and
    BadSettings and BadInteractions.
    """
    with _session(cluster) as spark, ExitStack() as stack:
        started = time.monotonic()
        found = read(spark, uris, reading, cluster.workers, stack)
        log.info("read: %s rows in %.1f s", f"{found.rows:,}", time.monotonic() - started)
        yield found


def score(
    uri: str, out: str, reading: Reading, keep: Sequence[str], model: Model, cluster: Cluster
) -> Report:
    """Score a table in a session of its own, see ``bulk.score``. Raises as ``examples`` does."""
    with _session(cluster) as spark:
        return bulk.score(spark, uri, out, reading, keep, model)


@contextmanager
def _session(cluster: Cluster) -> Iterator[SparkSession]:
    """Raise at once what else would be raised when hours of reading are over."""
    with session(cluster.session.conf, cluster.session.log) as spark:
        context = spark.sparkContext
        if is_local(context.master or ""):  # elsewhere, executors are still starting
            require_slots(context, cluster.workers)
        context.parallelize([0], 1).foreach(lambda _: require_library())
        yield spark
