"""A Spark cluster as the place where models are trained: a session, and what is read in it."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from batch.errors import BadSettings
from batch.events.inputs import Inputs
from batch.interactions.reading import Reading
from batch.progress import Progress
from batch.recommendations.cluster.candidate import ClusterCandidate, ClusterTrial
from batch.recommendations.cluster.contents import reach
from batch.recommendations.cluster.ids import Indexed, hidden_of, index
from batch.recommendations.cluster.learners import learner
from batch.recommendations.terms import Model
from batch.spark.options import SparkOptions
from batch.spark.read.events import read_all
from batch.spark.read.load import Pairs
from batch.spark.session import session

log = logging.getLogger("larder")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A ``pipeline.Platform``. Call ``batch.spark.java.require`` before this is imported.

    stored, history: of the generation that a candidate becomes, see ``terms.Terms``.
    """

    model: Model
    options: SparkOptions
    stored: int = 0
    history: int = 0

    @contextmanager
    def candidate(
        self, inputs: Inputs, reading: Reading, cache_url: str, progress: Progress
    ) -> Iterator[ClusterCandidate]:
        chosen = learner(self.model)
        with session(self.options.conf, self.options.log) as spark, ExitStack() as stack:
            reach(spark.sparkContext, cache_url)
            pairs = self._read(spark, inputs, reading, reading.rejects_folder, stack)
            factors = chosen.factors if self.stored else 0
            lengths = self.stored, factors, self.history
            indexed = _numbered(pairs.frame, [pairs], progress, stack, *lengths)
            yield ClusterCandidate(
                pairs.report,
                indexed,
                chosen,
                cache_url,
                stack,
                self.model.repeat,
                inputs.weighed(pairs.until),
                hidden_of(indexed, pairs.hidden, stack),
            )

    @contextmanager
    def trial(
        self, train: Inputs, test: Inputs, reading: Reading, progress: Progress
    ) -> Iterator[ClusterTrial]:
        chosen = learner(self.model)
        with session(self.options.conf, self.options.log) as spark, ExitStack() as stack:
            folder = reading.rejects_folder
            seen = self._read(spark, train, reading, folder, stack)
            held_out = self._read(spark, test, reading, f"{folder}-test", stack)
            both = seen.frame.withColumn("held_out", F.lit(False)).unionByName(
                held_out.frame.withColumn("held_out", F.lit(True)), allowMissingColumns=True
            )
            indexed = _numbered(both, [seen, held_out], progress, stack)
            reports = seen.report, held_out.report
            hidden = hidden_of(indexed, seen.hidden, stack)
            yield ClusterTrial(reports, indexed, indexed.frame, chosen, self.model.repeat, hidden)

    def _read(
        self, spark: SparkSession, inputs: Inputs, reading: Reading, rejects: str, stack: ExitStack
    ) -> Pairs:
        """Read pairs; the rejected rows go into that folder."""
        if self.model.feedback == "explicit" and inputs.weighing.half_life:
            raise BadSettings(
                "--half-life fades what counts, and --feedback explicit learns ratings as they "
                "are: leave one of them out"
            )
        started = time.monotonic()
        pairs = read_all(spark, inputs, reading, rejects)
        stack.callback(pairs.release)
        log.info("read: %s rows in %.1f s", f"{pairs.report.rows:,}", time.monotonic() - started)
        has_ratings = "rating" in pairs.report.used and not pairs.until
        if self.model.feedback == "explicit" and not has_ratings:
            raise BadSettings(
                f"--feedback explicit needs ratings and {inputs.shown} has none: name their column "
                "with --rating-column"
            )
        return pairs


def _numbered(
    frame: DataFrame,
    inputs: list[Pairs],
    progress: Progress,
    stack: ExitStack,
    stored: int = 0,
    factors: int = 0,
    history: int = 0,
) -> Indexed:
    """Number users and items; the ids of the inputs are then let go."""
    total = sum(each.report.pairs for each in inputs)
    with progress.step("number", total, "pairs") as advance:
        indexed = index(frame, stack, stored, factors, history)
        advance(total)
    for each in inputs:
        each.release()
    return indexed
