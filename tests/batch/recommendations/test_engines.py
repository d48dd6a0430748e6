"""Every engine of one machine passes the suite of all engines."""

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random

from batch.recommendations.engines.blend import Blend, blended
from batch.recommendations.engines.ease import Ease
from batch.recommendations.engines.engine import Engine
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.engines.knn import ItemKNN
from tests.batch.recommendations.engine_suite import ITEMS, USERS, EngineSuite, FactorSuite, fit


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

    def test_its_scores_are_on_the_scale_of_its_factors(self) -> None:
        weights = csr_matrix(random(USERS, ITEMS, 0.4, dtype=np.float32, rng=1))
        als, knn = (fit(engine, weights) for engine in (ImplicitALS(), ItemKNN()))
        made = blended([als, knn], (1, 1e-9)).scorer.best(als.users, weights, weights, 3)
        for user, (items, scores) in enumerate(zip(made.items, made.scores, strict=True)):
            products = als.scorer.factors[items] @ als.users[user]
            assert scores - scores[0] == pytest.approx(products - products[0], abs=1e-5)
