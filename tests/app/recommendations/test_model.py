"""The vectors are those of the whole system of equations, the lists those of all products."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from app.contracts.recommendations import rows_of_chunk
from app.recommendations.memory.factors import Factors, laid_out
from app.recommendations.model import Model
from tests.generations import MANIFEST

Doubles = NDArray[np.float64]
ITEMS, WIDTH, PENALTY, CONFIDENCE = 3000, 16, 7.0, 1.7
WEIGHTS = {17: 1.0, 2999: 5.0, 4: 3.5}


class Trained:
    """A model as training leaves it, in double precision and in the order of the items."""

    def __init__(self, seed: int, skew: float) -> None:
        random = np.random.default_rng(seed)
        lengths = random.pareto(skew, ITEMS)[:, np.newaxis] + 0.01
        found = random.normal(size=(ITEMS, WIDTH)) * lengths / 4
        self.items = found.astype(np.float16).astype(np.float64)
        self.mean = random.normal(size=WIDTH)
        self.system = self.items.T @ self.items + PENALTY * np.eye(WIDTH)

    def model(self) -> Model:
        """The same as it comes from the cache."""
        order = np.argsort(-np.linalg.norm(self.items, axis=1))
        numbers = [np.linalg.inv(self.system).ravel(), self.mean, np.array([CONFIDENCE, PENALTY])]
        text = np.concatenate(numbers).astype("<f4").tobytes() + order.astype("<u4").tobytes()
        rows = self.items[order].astype("<f2")
        step = rows_of_chunk(WIDTH)
        chunks = [rows[start : start + step].tobytes() for start in range(0, ITEMS, step)]
        manifest = replace(MANIFEST, items=ITEMS, factors=WIDTH)
        data = bytearray(b"".join(laid_out(manifest, text, chunks)))
        return Model(Factors.of(memoryview(data), manifest))

    def moved(self, start: Doubles, weights: dict[int, float]) -> Doubles:
        """The solution of the normal equations, ``start`` being their right side before."""
        system, right = self.system.copy(), start.copy()
        for item, weight in weights.items():
            confidence = CONFIDENCE * np.log1p(weight)
            system += (confidence - 1) * np.outer(self.items[item], self.items[item])
            right += confidence * self.items[item]
        solved: Any = np.linalg.solve(system, right)
        return np.asarray(solved, np.float64)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return Trained(1, 2.0)


def test_a_known_users_scores_move_as_the_equations_say(trained: Trained) -> None:
    quantized = np.random.default_rng(2).integers(-127, 128, WIDTH, np.int8)
    start = quantized * 0.01
    vector = np.float32(0.01).tobytes() + quantized.tobytes()
    before = {item: 1 - item / 500 for item in range(100, 150)}
    items, scores = zip(*trained.model().again(vector, [*before.items()], WEIGHTS), strict=True)
    assert sorted(items) == [*before] != [*items]
    assert list(scores) == sorted(scores, reverse=True)
    more = trained.items[list(items)] @ (trained.moved(trained.system @ start, WEIGHTS) - start)
    stored = np.array([before[item] for item in items])
    assert scores == pytest.approx(stored + 4 * more, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("weight", [1.0, np.expm1(1 / CONFIDENCE)], ids=["any", "confidence 1"])
def test_a_newcomers_list_is_that_of_the_equations(trained: Trained, weight: float) -> None:
    weights = {5: weight, 6: 2.0}
    scores = trained.items @ trained.moved(PENALTY * trained.mean, weights)
    scores[[5, 6]] = -np.inf
    found = trained.model().first(weights, {5, 6}, 10)
    best = np.argsort(-scores)[:10]
    assert [item for item, _ in found] == best.tolist()
    assert [score for _, score in found] == pytest.approx(scores[best], rel=1e-3)


@pytest.mark.parametrize("skew", [1.2, 2.0, 50.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_scan_that_stops_early_misses_nothing(seed: int, skew: float) -> None:
    trained = Trained(seed, skew)
    model: Any = trained.model()
    vector = np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
    scores = trained.items @ vector
    gone = np.argsort(-scores)[1:30:3]
    rows, found = model._best(vector, model._places[gone], 10)
    scores[gone] = -np.inf
    assert model._items[rows].tolist() == np.argsort(-scores)[:10].tolist()
    assert found.tolist() == pytest.approx(np.sort(scores)[:-11:-1], rel=1e-4)


def test_a_list_ends_with_the_items(trained: Trained) -> None:
    model, all_but_two = trained.model(), set(range(2, ITEMS))
    assert {item for item, _ in model.first(WEIGHTS, all_but_two, 10)} == {0, 1}
    assert model.first(WEIGHTS, set(range(ITEMS)), 10) == []
    assert len(model.first(WEIGHTS, set(), ITEMS + 1)) == ITEMS


def test_why_adds_up_to_the_score_and_is_what_implicit_says(trained: Trained) -> None:
    """Without the mean user nothing but the items of a user makes their scores."""
    item, weights = 100, {17: 1.0, 2999: 5.0, 4: 3.5, 8: 1.2}
    found = trained.model().why(weights, item)
    score = trained.items[item] @ trained.moved(np.zeros(WIDTH), weights)
    assert sum(added for _, added in found) == pytest.approx(score, rel=1e-3, abs=1e-5)
    with threadpool_limits(1, "blas"):  # implicit asks for that
        als = AlternatingLeastSquares(WIDTH, regularization=PENALTY, alpha=1.0, dtype=np.float64)
    als.item_factors = trained.items
    confidences = [CONFIDENCE * np.log1p(weight) for weight in weights.values()]
    liked = csr_matrix((confidences, ([0] * len(weights), list(weights))), (1, ITEMS))
    _, theirs, _ = als.explain(0, liked, item)
    assert [each for each, _ in found] == [each for each, _ in theirs]
    assert [added for _, added in found] == pytest.approx(
        [added for _, added in theirs], rel=1e-3, abs=1e-5
    )
    assert trained.model().why({}, item) == []
