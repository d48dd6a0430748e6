"""What every engine must do; a test class for an engine is a subclass that makes it."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.errors import NotGoodEnough
from batch.recommendations.engines.engine import Engine, Fitted
from batch.recommendations.recommend import Crowd, recommend
from batch.recommendations.topk import popularity
from tests.batch.pairs import checkerboard, interactions, missing

USERS, ITEMS = 40, 20


def matrix(pairs: list[tuple[int, int]], weight: float = 1.0) -> csr_matrix:
    made: csr_matrix = interactions(pairs).matrix() * np.float32(weight)
    return made


def fit(engine: Engine, weights: csr_matrix) -> Fitted:
    return engine.fit(weights, lambda iteration: None)


def best(fitted: Fitted, seen: csr_matrix, k: int) -> NDArray[np.int32]:
    return fitted.scorer.best(fitted.users, seen, seen, k).items


def with_strangers(weights: csr_matrix) -> csr_matrix:
    """The same with three users and two items more, who have nothing."""
    bounds = np.append(weights.indptr, [weights.nnz] * 3)
    return csr_matrix((weights.data, weights.indices, bounds), (USERS + 3, ITEMS + 2))


class EngineSuite:
    """What holds for every engine; ``engine()`` makes it."""

    def engine(self, **settings: Any) -> Engine:
        raise NotImplementedError

    def test_the_item_that_the_checkerboard_leaves_out_comes_back_first(self) -> None:
        weights = matrix(checkerboard(USERS, ITEMS))
        first = best(fit(self.engine(), weights), weights, 1)[:, 0]
        assert first.tolist() == [missing(user, ITEMS) for user in range(USERS)]

    def test_the_input_is_left_as_it_was(self) -> None:
        weights = matrix(checkerboard(USERS, ITEMS), 3.0)
        before = weights.copy()
        fit(self.engine(), weights)
        for part in ("data", "indices", "indptr"):
            assert getattr(weights, part).tobytes() == getattr(before, part).tobytes()

    @pytest.mark.parametrize(
        "pairs",
        [[(0, 0)], [(0, item) for item in range(5)], [(user, 0) for user in range(5)]],
        ids=["one user and one item", "one user", "one item"],
    )
    def test_one_user_or_one_item_is_enough(self, pairs: list[tuple[int, int]]) -> None:
        weights = matrix(pairs)
        fitted = fit(self.engine(), weights)
        assert len(fitted.users) == weights.shape[0]
        everyone = np.arange(weights.shape[0])
        lists = recommend(fitted, Crowd(popularity(weights)), weights, everyone, 10)
        assert lists.lengths.tolist() == [0] * len(everyone), "everything was seen"

    def test_the_same_pairs_make_the_same_lists_wherever_they_are_made(self) -> None:
        weights = matrix(checkerboard(USERS, ITEMS))
        one, again = (fit(self.engine(), weights) for _ in range(2))
        there = replace(again, scorer=pickle.loads(pickle.dumps(again.scorer)))
        everyone, crowd = np.arange(USERS), Crowd(popularity(weights), repeat=True)
        here, elsewhere = (
            recommend(each, crowd, weights, everyone, ITEMS) for each in (one, there)
        )
        assert here.items.tobytes() == elsewhere.items.tobytes()
        assert here.scores.tobytes() == elsewhere.scores.tobytes()

    def test_a_list_is_full_falls_and_holds_nothing_that_is_excluded(self) -> None:
        weights = matrix(checkerboard(USERS, ITEMS))
        everyone = np.arange(USERS)
        lists = recommend(
            fit(self.engine(), weights), Crowd(popularity(weights)), weights, everyone, 6
        )
        assert lists.lengths.tolist() == [6] * USERS
        assert (np.diff(lists.scores) <= 0).all()
        for user, items in enumerate(lists.items.tolist()):
            assert len(set(items)) == 6
            assert not set(items) & set(weights[user].indices.tolist())

    def test_one_user_alone_gets_the_list_that_they_get_among_all(self) -> None:
        weights = matrix(checkerboard(USERS, ITEMS))
        fitted, crowd = fit(self.engine(), weights), Crowd(popularity(weights))
        together = recommend(fitted, crowd, weights, np.arange(USERS), 3)
        for user in range(0, USERS, 7):
            alone = recommend(fitted, crowd, weights, np.array([user]), 3)
            assert alone.items[0].tolist() == together.items[user].tolist()

    def test_nobody_gets_no_lists(self) -> None:
        weights = matrix(checkerboard(USERS, ITEMS))
        fitted, nobody = fit(self.engine(), weights), np.zeros(0, np.int64)
        assert len(recommend(fitted, Crowd(popularity(weights)), weights, nobody, 3)) == 0

    def test_an_item_is_most_like_those_of_its_colour(self) -> None:
        nearest = fit(self.engine(), matrix(checkerboard(USERS, ITEMS))).scorer.nearest()
        found = nearest(np.arange(ITEMS), 5, 0)
        assert found.lengths.tolist() == [5] * ITEMS
        for item, others in enumerate(found.items.tolist()):
            assert item not in others
            assert {other % 2 for other in others} == {item % 2}

    def test_who_has_nothing_gets_what_is_popular(self) -> None:
        """As in training on a part, when all that is known of a user, or an item, is held out."""
        weights = with_strangers(matrix(checkerboard(USERS, ITEMS)))
        crowd = Crowd(popularity(weights))
        lists = recommend(fit(self.engine(), weights), crowd, weights, np.arange(USERS + 3), 3)
        assert lists.popular is not None
        assert lists.popular.tolist() == [False] * USERS + [True] * 3
        assert lists.items[:USERS, 0].tolist() == [missing(user, ITEMS) for user in range(USERS)]

    def test_progress_is_told_of_each_step(self) -> None:
        told: list[int] = []
        engine = self.engine()
        engine.fit(matrix(checkerboard(USERS, ITEMS)), told.append)
        assert sum(told) == engine.iterations


class FactorSuite(EngineSuite):
    """What holds for engines that learn factors; ``settings`` are those of the engine."""

    breaking: dict[str, float]
    """Settings under which a fit overflows."""
    converged: dict[str, int] = {}
    """Settings under which a fit comes to its end, where those of ``engine()`` stop before."""
    alike: tuple[float, ...] = (1e-6, 0.5, 5.0, 1e6, 1e30)
    """Weights that mean the same where all pairs have one of them."""

    def test_nothing_of_the_other_colour_is_close(self) -> None:
        weights = matrix(checkerboard(USERS, ITEMS))
        factors = fit(self.engine(**self.converged), weights)
        products = factors.users @ factors.scorer.factors.T
        same = np.add.outer(np.arange(USERS), np.arange(ITEMS)) % 2 == 0
        assert products[same].min() > 0.3
        assert np.abs(products[~same]).max() < 0.1

    def test_the_same_seed_gives_the_same_bytes(self) -> None:
        weights = matrix(checkerboard(USERS, ITEMS))
        one, again = (fit(self.engine(seed=7), weights) for _ in range(2))
        assert one.users.tobytes() == again.users.tobytes()
        assert one.scorer.factors.tobytes() == again.scorer.factors.tobytes()

    def test_another_seed_gives_other_factors_but_the_same_answer(self) -> None:
        weights = matrix(checkerboard(USERS, ITEMS))
        one, other = (fit(self.engine(seed=seed), weights) for seed in (7, 8))
        assert one.scorer.factors.tobytes() != other.scorer.factors.tobytes()
        assert best(one, weights, 1).tolist() == best(other, weights, 1).tolist()

    def test_weights_that_are_all_alike_mean_the_same_whatever_they_are(self) -> None:
        pairs = checkerboard(USERS, ITEMS)
        ones = fit(self.engine(), matrix(pairs))
        expected = pytest.approx(ones.users @ ones.scorer.factors.T, abs=1e-3)
        for weight in self.alike:
            found = fit(self.engine(), matrix(pairs, weight))
            assert found.users @ found.scorer.factors.T == expected, weight

    def test_a_higher_weight_draws_more(self) -> None:
        """Two pairs of items that never meet; users 8 and 9 have one of each."""
        pairs = [(user, item) for user in range(4) for item in (0, 1)]
        pairs += [(user, item) for user in range(4, 8) for item in (2, 3)]
        pairs += [(user, item) for user in (8, 9) for item in (0, 2)]
        weights = matrix(sorted(pairs))
        weights[8, 0] = 20.0
        weights[9, 2] = 20.0
        assert best(fit(self.engine(), weights), weights, 1)[8:, 0].tolist() == [1, 3]

    def test_factors_are_float32_rows_of_users_and_items(self) -> None:
        factors = fit(self.engine(factors=6), matrix(checkerboard(USERS, ITEMS)))
        assert (factors.users.shape, factors.scorer.factors.shape) == ((USERS, 6), (ITEMS, 6))
        assert [str(factors.users.dtype), str(factors.scorer.factors.dtype)] == ["float32"] * 2
        assert np.isfinite(factors.users).all() and np.isfinite(factors.scorer.factors).all()

    def test_more_factors_than_users_and_items_do_no_harm(self) -> None:
        weights = matrix(checkerboard(USERS, ITEMS))
        first = best(fit(self.engine(factors=100), weights), weights, 1)[:, 0]
        assert first.tolist() == [missing(user, ITEMS) for user in range(USERS)]

    def test_users_and_items_without_interactions_have_finite_factors(self) -> None:
        """As in training on a part, when all that is known of an item is held out."""
        weights = with_strangers(matrix(checkerboard(USERS, ITEMS)))
        factors = fit(self.engine(), weights)
        assert np.isfinite(factors.users).all() and np.isfinite(factors.scorer.factors).all()
        first = best(factors, weights, 1)[:USERS, 0]
        assert first.tolist() == [missing(user, ITEMS) for user in range(USERS)]

    def test_a_fit_that_overflows_is_not_good_enough(self) -> None:
        with pytest.raises(NotGoodEnough, match="training failed"):
            fit(self.engine(**self.breaking), matrix(checkerboard(USERS, ITEMS)))

    def test_the_settings_are_those_that_make_the_same_engine(self) -> None:
        engine = self.engine(factors=6, seed=9)
        assert engine.settings["factors"] == 6
        assert self.engine(**engine.settings) == engine
