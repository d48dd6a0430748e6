"""What a cluster learns passes the suite of all engines."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from pyspark.sql import SparkSession
from scipy.sparse import csr_matrix

from batch.errors import BadSettings
from batch.recommendations.cluster.als import BlockedALS
from batch.recommendations.cluster.candidate import Learner
from batch.recommendations.cluster.learners import learner
from batch.recommendations.cluster.mllib import MllibALS
from batch.recommendations.engines.engine import Fitted
from batch.recommendations.terms import Model
from tests.batch.pairs import checkerboard
from tests.batch.recommendations.engine_suite import (
    ITEMS,
    USERS,
    EngineSuite,
    FactorSuite,
    fit,
    matrix,
)
from tests.spark.frames import fitted_of, view_of

QUICK = {"factors": 4, "iterations": 3}


@dataclass(frozen=True, slots=True)
class OnCluster:
    """A learner as an ``Engine``: two blocks of users and of items.

    fitted: what was learned before, as a fit is many jobs of Spark; None to learn it again.
    """

    spark: SparkSession = field(compare=False)
    learner: Learner
    fitted: dict[Any, Fitted] | None = field(compare=False)
    name: str = "spark"

    @property
    def iterations(self) -> int:
        return self.learner.iterations

    @property
    def factors(self) -> int:
        return self.learner.factors

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.learner.settings)

    def fit(self, weights: csr_matrix, progress: Callable[[int], None]) -> Fitted:
        if self.fitted is None:
            return self._fit(weights, progress)
        parts = (weights.data, weights.indices, weights.indptr)
        what = (self.learner, weights.shape, *(part.tobytes() for part in parts))
        if what not in self.fitted:
            self.fitted[what] = self._fit(weights, progress)
        return self.fitted[what]

    def _fit(self, weights: csr_matrix, progress: Callable[[int], None]) -> Fitted:
        with ExitStack() as stack:
            view = view_of(self.spark, weights, 2, stack)
            return fitted_of(self.learner.fit(view, progress, stack))


@pytest.fixture(scope="class")
def memory() -> dict[Any, Fitted]:
    """What a class has learned."""
    return {}


class ClusterSuite(EngineSuite):
    """The suite for one of the learners."""

    fitted: dict[Any, Fitted] | None

    @pytest.fixture(autouse=True)
    def _on(self, spark: SparkSession, memory: dict[Any, Fitted]) -> None:
        self.spark, self.fitted = spark, memory

    def test_progress_is_told_of_each_step(self) -> None:
        self.fitted = None
        super().test_progress_is_told_of_each_step()


class AlsSuite(ClusterSuite, FactorSuite):
    """With few iterations."""

    als: str
    breaking = {"alpha": 1e39}
    converged = {"iterations": 6}
    alike = (1e-6, 1e30)

    def engine(self, **settings: Any) -> OnCluster:
        chosen = {"engine": "spark", "als": self.als, "feedback": "implicit", **QUICK, **settings}
        chosen.pop("threads", None)  # a task is one thread, and no option says otherwise
        return OnCluster(self.spark, learner(Model(**chosen)), self.fitted)

    def test_the_same_seed_gives_the_same_bytes(self) -> None:
        self.fitted = None
        super().test_the_same_seed_gives_the_same_bytes()


class TestBlocked(AlsSuite):
    als = "blocked"


class TestMllib(AlsSuite):
    als = "mllib"
    breaking = {"alpha": 1.7e308}  # it computes in double precision

    def test_the_same_seed_gives_the_same_bytes(self) -> None:
        """Not quite: MLlib adds partial sums in the order in which tasks end."""
        self.fitted = None
        weights = matrix(checkerboard(USERS, ITEMS))
        one, again = (fit(self.engine(seed=7), weights) for _ in range(2))
        assert one.users == pytest.approx(again.users, abs=1e-5)
        assert one.scorer.factors == pytest.approx(again.scorer.factors, abs=1e-5)

    def test_progress_is_told_of_each_step(self) -> None:
        """Not quite: MLlib says nothing before the last one."""
        told: list[int] = []
        engine = self.engine(iterations=4)
        engine.fit(matrix(checkerboard(USERS, ITEMS)), told.append)
        assert (told, engine.iterations) == ([4], 4)


class TestKNN(ClusterSuite):
    def engine(self, **settings: Any) -> OnCluster:
        return OnCluster(self.spark, learner(Model("spark-knn", **settings)), self.fitted)


@pytest.mark.parametrize(
    "als, feedback, kind",
    [
        (None, "implicit", BlockedALS),
        ("blocked", "implicit", BlockedALS),
        (None, "explicit", MllibALS),
        ("mllib", "explicit", MllibALS),
        ("mllib", "implicit", MllibALS),
    ],
)
def test_the_feedback_chooses_the_learner_unless_it_is_named(
    als: str | None, feedback: str, kind: type
) -> None:
    made = learner(Model("spark", als=als, feedback=feedback, factors=7))
    assert isinstance(made, kind)
    assert made.settings["factors"] == 7
    assert made.rates == (feedback == "explicit")


def test_the_blocked_solver_refuses_ratings() -> None:
    with pytest.raises(BadSettings, match="--als mllib"):
        learner(Model("spark", als="blocked", feedback="explicit"))


def test_the_size_up_to_which_factors_are_sent_whole_is_in_mebibytes() -> None:
    made = learner(Model("spark", als="blocked", whole_mb=3))
    assert isinstance(made, BlockedALS)
    assert made.whole_bytes == 3 * 2**20
