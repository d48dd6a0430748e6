"""Alternating least squares by Spark's own MLlib, on implicit feedback or on ratings."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from py4j.protocol import Py4JError
from pyspark import SparkContext, SparkFiles
from pyspark.errors import PySparkException
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.progress import Advance
from batch.recommendations.cluster.blocks import Learned, View, factors, kept
from batch.recommendations.cluster.ids import block_count
from batch.recommendations.engines.engine import Scale
from batch.recommendations.engines.implicit_als import diverged

Feedback = Literal["implicit", "explicit"]

CHECKPOINT_EVERY = 3
"""Iterations. Each adds to what a task is told of its input's origin, until Java's stack is full:
after 6 to 10 iterations where Java ran without its second compiler, as in our tests."""


@dataclass(frozen=True, slots=True)
class MllibALS:
    """Implicit: Hu, Koren & Volinsky, ICDM 2008. Explicit: Zhou, Wilkinson, Schreiber & Pan, 2008.

    Both with a penalty that grows with what a user or item has, as in the second (section 3.2):
    ``regularization`` is MLlib's regParam, times the user's or item's number of interactions.
    ``alpha`` is how much an average interaction adds to the confidence of 1 that all else has; it
    means nothing to explicit feedback. ``DEFAULTS`` has those of either feedback.
    """

    factors: int = 64
    regularization: float = 0.16
    alpha: float = 1.0
    iterations: int = 15
    seed: int = 42
    feedback: Feedback = "implicit"

    name = "spark"

    @property
    def settings(self) -> dict[str, float | int | str]:
        return {"als": "mllib", **asdict(self)}

    @property
    def rates(self) -> bool:
        return self.feedback == "explicit"

    def fit(self, view: View, advance: Advance, stack: ExitStack) -> Learned:
        """Learn from pairs, see ``learn``; the factors are kept until the stack is closed."""
        users, items = self.learn(view.frame, advance)
        by_block = factors(users, view.users.starts, self.factors)
        whole = factors(items, view.items.starts, self.factors).collect()
        return Learned.of(kept(by_block, stack), np.concatenate(whole), self._scale(view), view)

    def _scale(self, view: View) -> Scale | None:
        """As ``ImplicitALS`` would have it, for an average interaction and an average user."""
        if self.rates:
            return None
        pairs, mean = _measure(view.frame)
        penalty = self.regularization * pairs / view.users.size
        return Scale((1 + self.alpha) / mean, penalty)

    def learn(self, frame: DataFrame, advance: Advance) -> tuple[DataFrame, DataFrame]:
        """Learn the factors of users and items: two frames of (id int, features array<float>).

        frame: user int, item int, weight (float, above 0), each pair once, persisted, as it is
        read more than once. The same frame, settings and seed in as many blocks give the same
        factors to rounding: Spark adds partial sums in the order in which tasks end. Many
        iterations on a cluster want spark.checkpoint.dir. MLlib does not say how far it is, so
        advance is told of all iterations at the end. Raises NotGoodEnough when the fit fails.
        """
        pairs, mean = _measure(frame)
        _keep_checkpoints(frame.sparkSession.sparkContext)
        try:
            model = self._als(block_count(frame.sparkSession, pairs)).fit(self._rated(frame, mean))
        except (PySparkException, Py4JError) as error:
            if "SingularMatrixException" not in str(error):
                raise
            raise diverged("a user or item has no unique solution") from error
        if _broken(model.userFactors) or _broken(model.itemFactors):
            raise diverged("factors that are no finite numbers")
        advance(self.iterations)
        return model.userFactors, model.itemFactors

    def _als(self, blocks: int) -> ALS:
        return ALS(
            rank=self.factors,
            maxIter=self.iterations,
            regParam=self.regularization,
            implicitPrefs=self.feedback == "implicit",
            alpha=self.alpha,
            seed=self.seed,
            checkpointInterval=CHECKPOINT_EVERY,
            numUserBlocks=blocks,
            numItemBlocks=blocks,
            userCol="user",
            itemCol="item",
            ratingCol="rating",
        )

    def _rated(self, frame: DataFrame, mean: float) -> DataFrame:
        """Weights as MLlib is to see them; the logarithm is that of ``ImplicitALS.confidences``."""
        weight = F.col("weight").cast("double")
        rating = F.log1p(weight) / mean if self.feedback == "implicit" else weight
        return frame.select("user", "item", rating.cast("float").alias("rating"))


DEFAULTS: Mapping[str, MllibALS] = MappingProxyType(
    {
        "implicit": MllibALS(),
        "explicit": MllibALS(factors=10, regularization=0.05, feedback="explicit"),
    }
)
"""Explicit: those of the Microsoft Recommenders benchmark (examples/06_benchmarks)."""


def _measure(frame: DataFrame) -> tuple[int, float]:
    """How many pairs there are, and the mean of log(1 + weight)."""
    logs = F.log1p(F.col("weight").cast("double"))
    ((pairs, mean),) = frame.agg(F.count("*"), F.avg(logs)).collect()
    return pairs, mean


def _keep_checkpoints(context: SparkContext) -> None:
    """Give a local master a folder for checkpoints, gone with the context, unless it has one.

    On a cluster it must lie where all executors reach it: only spark.checkpoint.dir can say where.
    """
    local = str(context.master).startswith("local")
    if local and context.getCheckpointDir() is None:
        context.setCheckpointDir((Path(SparkFiles.getRootDirectory()) / "checkpoints").as_uri())


def _broken(factors: DataFrame) -> bool:
    """Is any number of them infinite or none?"""
    finite = F.forall("features", lambda each: F.abs(each) < F.lit(float("inf")))
    return not factors.where(~finite).isEmpty()
