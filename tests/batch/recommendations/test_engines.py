"""Every engine of one machine passes the suite of all engines."""

from typing import Any

from batch.recommendations.engines.blend import Blend
from batch.recommendations.engines.ease import Ease
from batch.recommendations.engines.engine import Engine
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.engines.knn import ItemKNN
from tests.batch.recommendations.engine_suite import EngineSuite, FactorSuite


class TestALS(FactorSuite):
    breaking = {"alpha": 1e39}

    def engine(self, **settings: Any) -> Engine:
        return ImplicitALS(**settings)


class TestCosineKNN(EngineSuite):
    def engine(self, **settings: Any) -> Engine:
        return ItemKNN(**settings)


class TestTfidfKNN(EngineSuite):
    def engine(self, **settings: Any) -> Engine:
        return ItemKNN(weighting="tfidf", **settings)


class TestBM25KNN(EngineSuite):
    def engine(self, **settings: Any) -> Engine:
        return ItemKNN(weighting="bm25", **settings)


class TestEase(EngineSuite):
    def engine(self, **settings: Any) -> Engine:
        return Ease(**settings)


class TestBlend(EngineSuite):
    def engine(self, **settings: Any) -> Engine:
        return Blend((ImplicitALS(), ItemKNN(), Ease()), (0.4, 0.3, 0.3))
