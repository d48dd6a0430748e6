"""A Spark cluster as the place where click models are trained, and where they score in bulk."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pyspark import SparkContext

from batch.clicks.cluster.examples import ClusterExamples
from batch.clicks.cluster.read import read
from batch.clicks.cluster.workers import require_library, require_slots
from batch.clicks.layout import Reading
from batch.spark.options import SparkOptions
from batch.spark.package import is_local
from batch.spark.session import session

log = logging.getLogger("larder")


@contextmanager
def examples(
    uris: Sequence[str], reading: Reading, options: SparkOptions, workers: int = 1
) -> Iterator[ClusterExamples]:
    """Read examples in a session that is lent until this is closed.

    Call ``batch.spark.java.require`` before this is imported. Raises what the session raises, and
    BadSettings and BadInteractions.
    """
    with session(options.conf, options.log) as spark, ExitStack() as stack:
        _prove(spark.sparkContext, workers)
        started = time.monotonic()
        found = read(spark, uris, reading, workers, stack)
        log.info("read: %s rows in %.1f s", f"{found.rows:,}", time.monotonic() - started)
        yield found


def _prove(context: SparkContext, workers: int) -> None:
    """Raise at once what else would be raised when hours of reading are over."""
    if is_local(context.master or ""):  # elsewhere, executors are still starting
        require_slots(context, workers)
    context.parallelize([0], 1).foreach(lambda _: require_library())
