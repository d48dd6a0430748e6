"""Item neighbours and EASE are their formulas, computed slowly in double precision."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, random_array

from batch.errors import BadSettings, NotGoodEnough
from batch.recommendations.engines.blend import Named
from batch.recommendations.engines.ease import Ease, EaseScorer
from batch.recommendations.engines.knn import ItemKNN, NeighbourScorer, as_lists, highest
from batch.recommendations.engines.make import make, shares
from batch.recommendations.terms import Model
from batch.recommendations.topk import Lists, nothing

USERS, ITEMS = 50, 30


def drawn(seed: int = 0) -> csr_matrix:
    made = random_array((USERS, ITEMS), density=0.2, rng=np.random.default_rng(seed))
    return csr_matrix(made, dtype=np.float32)


def fitted(engine: ItemKNN | Ease, weights: csr_matrix) -> NDArray[np.float32]:
    """(items, items): what each item that a user has adds to the score of others."""
    scorer = engine.fit(weights, lambda done: None).scorer
    if isinstance(scorer, EaseScorer):
        return scorer.weights
    assert isinstance(scorer, NeighbourScorer)
    return np.asarray(scorer.similarities.toarray())


@pytest.mark.parametrize("damping, shrinkage", [(0.0, 0.0), (0.5, 20.0), (1.0, 10.0)])
def test_similarities_are_those_of_the_formula(damping: float, shrinkage: float) -> None:
    weights = drawn()
    x = (weights.toarray() > 0).astype(np.float64)
    v = np.maximum(x.sum(axis=1), 1) ** -damping
    own = (v[:, np.newaxis] * x).sum(axis=0) + shrinkage * v[x.any(axis=1)].mean()
    expected = (x.T * v) @ x / np.sqrt(np.outer(own, own))
    np.fill_diagonal(expected, 0)
    engine = ItemKNN(neighbours=ITEMS, damping=damping, shrinkage=shrinkage)
    assert fitted(engine, weights) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weighting", ["cosine", "tfidf", "bm25"])
def test_of_each_item_those_most_like_it_are_kept(weighting: str) -> None:
    weights = drawn(1)
    every = fitted(ItemKNN(ITEMS, weighting), weights)
    some = fitted(ItemKNN(5, weighting), weights)
    assert ((some > 0).sum(axis=1) <= 5).all()
    for mine, theirs in zip(some, every, strict=True):
        assert sorted(mine[mine > 0]) == sorted(theirs[theirs > 0])[-(mine > 0).sum() :]


def test_ease_is_the_formula() -> None:
    weights = drawn(2)
    x = (weights.toarray() > 0).astype(np.float64)
    v = np.maximum(x.sum(axis=1), 1) ** -0.5
    v /= v[x.any(axis=1)].mean()
    precision = np.linalg.inv((x.T * v) @ x + 3.0 * np.eye(ITEMS))
    expected = np.eye(ITEMS) - precision / np.diag(precision)
    assert fitted(Ease(ease_penalty=3.0), weights) == pytest.approx(expected, abs=1e-5)


def test_ease_models_the_most_popular_items_alone() -> None:
    weights = drawn(2)
    counts = np.bincount(weights.indices, minlength=ITEMS)
    chosen = np.sort(np.argsort(-counts, kind="stable")[:5])
    fit = Ease(most=5).fit(weights, lambda done: None)
    lists = fit.scorer.best(fit.users, weights, nothing(*weights.shape), ITEMS)
    assert set(lists.items[lists.filled].tolist()) == set(chosen.tolist())
    assert fitted(Ease(most=5), weights).shape == (5, 5)
    assert fit.scorer.factors.shape == (ITEMS, 0)


def test_ease_refuses_what_is_too_large_before_it_takes_the_memory() -> None:
    with pytest.raises(BadSettings, match=r"20,000 items .* 1,000,000, .* 4,000.0 GB: choose"):
        Ease().fit(nothing(2, 1_000_000), lambda done: None)


def test_ease_without_a_penalty_to_speak_of_is_told() -> None:
    twins = csr_matrix(np.repeat(np.eye(3, dtype=np.float32), 2, axis=1))
    with pytest.raises(NotGoodEnough, match="choose a higher --ease-penalty"):
        Ease(ease_penalty=1e-30).fit(twins, lambda done: None)


@pytest.mark.parametrize("k", [1, 3, 10, 24, 25])
def test_of_equal_scores_those_of_lowest_index_get_in(k: int) -> None:
    rng = np.random.default_rng(k)
    left, right = (
        csr_matrix(
            np.ceil(random_array(shape, density=0.3, rng=rng).toarray() * 2), dtype=np.float32
        )
        for shape in ((30, 40), (40, 25))
    )
    whole = (left @ right).toarray()
    order = np.argsort(-whole, axis=1, kind="stable")[:, :k]
    expected = np.zeros_like(whole)
    np.put_along_axis(expected, order, np.take_along_axis(whole, order, 1), 1)
    assert (highest(left, right, k).toarray() == expected).all()


def test_equal_scores_are_in_the_order_of_the_items() -> None:
    scores = csr_matrix(np.array([[1, 3, 1, 3], [0, 0, 2, 0]], np.float32))
    lists = as_lists(scores, 3)
    assert lists.items[0].tolist() == [1, 3, 0]
    assert lists.lengths.tolist() == [3, 1]


def test_a_blend_weighs_what_is_first_in_each_part() -> None:
    """Of 60 names the first has 1, the 50th 0; what a part does not name has what its last has."""
    items = np.arange(60, dtype=np.int32)[np.newaxis]
    falling = np.linspace(6.0, 0.1, 60, dtype=np.float32)[np.newaxis]
    one = Lists(items, falling, np.array([60], np.int32))
    other = Lists(items + 30, falling * 100, np.array([60], np.int32))
    named = Named.of([one, other], 100)
    assert (named.items[0].tolist(), named.lengths.tolist()) == (list(range(90)), [90])
    last = -10 / 49
    assert named.scores[:, 0, 0] == pytest.approx([1, last], abs=1e-5)
    assert named.scores[:, 0, 49] == pytest.approx([0, 1 - 19 / 49], abs=1e-5)
    assert named.scores[:, 0, 89] == pytest.approx([last, last], abs=1e-5)
    assert named.best((1.0, 0.0), 3).items[0].tolist() == [0, 1, 2]
    assert named.best((0.0, 1.0), 3).items[0].tolist() == [30, 31, 32]
    assert named.best((0.5, 0.5), 1).items[0].tolist() == [30]


def test_a_short_part_names_all_that_it_scores_and_an_empty_one_says_nothing() -> None:
    short = Lists(np.array([[4, 2]], np.int32), np.array([[3, 1]], np.float32), np.array([2]))
    empty = Lists(np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32), np.array([0]))
    named = Named.of([short, empty], 5)
    assert named.items[0].tolist() == [2, 4]
    assert named.scores[0, 0] == pytest.approx([0, 1])
    assert named.scores[1, 0].tolist() == [0, 0]
    nobody = Named.of([empty, empty], 5).best((0.5, 0.5), 2)
    assert nobody.lengths.tolist() == [0]


@pytest.mark.parametrize(
    "text", ["", "als", "als=1", "als=.3,svd=.7", "als=.3,knn=0", "als=x,knn=1", "als=1,als=2"]
)
def test_a_blend_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadSettings, match="--blend must name two or three of als, knn and ease"):
        shares(text)


def test_an_option_that_means_nothing_to_the_engine_is_refused() -> None:
    with pytest.raises(BadSettings, match="--factors means nothing to --engine knn, but to auto"):
        Model("knn", factors=3)
    with pytest.raises(BadSettings, match="--ease-penalty means nothing to --engine als"):
        Model("als", ease_penalty=3.0)
    blend = make(Model("blend", blend="ease=1,knn=2", neighbours=7))
    assert blend.settings["blend"] == {"ease": 1.0, "knn": 2.0}
    assert blend.settings["neighbours"] == 7
