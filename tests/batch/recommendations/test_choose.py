"""Which engine ``auto`` takes, and on what grounds."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from app.contracts.recommendations import Namespace
from batch.command.output.bars import Lines
from batch.errors import NotGoodEnough
from batch.generations.publish import turn
from batch.interactions.pairs import Interactions
from batch.progress import Advance
from batch.recommendations import pipeline
from batch.recommendations.choose import Auto, Trial, choose, trial_of
from batch.recommendations.engines.blend import Blend
from batch.recommendations.engines.ease import Ease
from batch.recommendations.engines.engine import Engine, Fitted
from batch.recommendations.engines.factors import Factors
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.engines.knn import ItemKNN
from batch.recommendations.judge.split import hold_out
from batch.recommendations.one_machine import LocalCandidate, LocalTrial
from batch.recommendations.recommend import Crowd
from batch.recommendations.terms import Gate, Holdout, Terms
from batch.recommendations.topk import popularity
from tests.batch.pairs import checkerboard, interactions

BOARD = interactions(checkerboard(60, 40))
SMALL: tuple[Engine, ...] = (ImplicitALS(factors=4, iterations=3), ItemKNN(), Ease())


@dataclass(frozen=True)
class Oracle:
    """An engine that was told what each user wants, and is wrong about some of them."""

    wanted: csr_matrix
    wrong: int
    name: str = "oracle"
    iterations: int = 1
    factors: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        return {"wrong": self.wrong}

    def fit(self, weights: csr_matrix, advance: Advance) -> Fitted:
        users = np.eye(weights.shape[0], dtype=np.float32)
        items = np.asarray(self.wanted.toarray().T, np.float32)
        items[:, : self.wrong] = 0
        return Factors(users, items).fitted(weights)


def trial(made: Interactions = BOARD, k: int = 5) -> Trial:
    some, rest = hold_out(made, Holdout(share=0.1, seed=1))
    seen = some.matrix()
    return Trial.of(seen, rest.matrix(), Crowd(popularity(seen)), None, k)


def auto(made: Interactions, **chosen: Any) -> Any:
    return Auto(SMALL, **chosen).choose(made, Holdout(), False, 5, Lines())


def test_the_same_data_and_seed_make_the_same_choice() -> None:
    assert auto(BOARD) == auto(BOARD)


def test_every_engine_and_every_blend_of_the_best_is_told_the_best_first() -> None:
    tried = auto(BOARD, budget=1000).tried
    names = [each.engine for each in tried]
    assert sorted(names) == ["als", *["blend"] * 4, "ease", "knn"]
    assert [each.ndcg for each in tried] == sorted((each.ndcg for each in tried), reverse=True)
    assert [each.chosen for each in tried].count(True) == 1
    for each in tried:
        low, high = each.interval
        assert low <= each.ndcg <= high


def test_the_better_engine_is_taken() -> None:
    given = trial()
    wanted = np.zeros(given.seen.shape, np.float32)
    wanted[given.users] = given.wanted.toarray()
    good, bad = (Oracle(csr_matrix(wanted), wrong) for wrong in (0, 40))
    for engines in ([good, bad], [bad, good]):
        assert choose(given, engines, 3, Lines()).engine is good


def test_longer_lists_than_a_blend_weighs_are_compared_whole() -> None:
    given = trial(interactions(checkerboard(4, 400)), k=150)
    assert given.lists(SMALL[0]).lengths.tolist() == [150] * 4


def test_of_equals_the_one_of_less_work_is_taken() -> None:
    cheap, dear = ImplicitALS(factors=4, iterations=15), ImplicitALS(factors=4, iterations=16)
    for engines in ([cheap, dear], [dear, cheap]):
        assert choose(trial(), engines, 3, Lines()).engine == cheap


def test_what_the_budget_has_no_room_for_is_not_tried_but_the_first_two_are() -> None:
    none = auto(BOARD, budget=0).tried
    assert {each.engine for each in none} == {"als", "knn", "blend"}


def test_users_of_two_items_are_enough_to_compare() -> None:
    assert auto(interactions([(user, item) for user in range(9) for item in range(2)])).tried


def test_too_little_data_to_compare_means_als(caplog: pytest.LogCaptureFixture) -> None:
    choice = auto(interactions([(user, user % 3) for user in range(9)]))
    assert (choice.engine, choice.tried) == (SMALL[0], [])
    assert "too little data to compare engines" in caplog.text


def test_an_engine_that_fails_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    failing = ImplicitALS(factors=4, alpha=1e39)
    choice = Auto((failing, ItemKNN())).choose(BOARD, Holdout(), False, 5, Lines())
    assert [each.engine for each in choice.tried] == ["knn"]
    assert "als is left out: training failed" in caplog.text
    with pytest.raises(NotGoodEnough, match="training failed"):
        Auto((failing, failing)).choose(BOARD, Holdout(), False, 5, Lines())


def test_a_few_users_do_not_decide_for_all() -> None:
    many = [(user, item) for user in range(300) for item in (user % 7, 7 + user % 5, 12 + user % 3)]
    few = [(300, item) for item in range(15)]
    trial = trial_of(interactions(sorted(many + few)), Holdout(), False, 5)
    assert len(trial.users) > 200


def test_what_is_judged_has_no_say_in_the_choice() -> None:
    """Whatever is held out may change: the choice, and the table, stay."""
    timed = replace(BOARD, timestamp=np.arange(len(BOARD), dtype=np.float64) % 97)
    holdout = Holdout(after=80.0)
    late = timed.timestamp is not None and timed.timestamp >= 80
    shuffled = timed.item.copy()
    shuffled[late] = np.roll(shuffled[late], 7)
    one, other = (
        LocalCandidate(each, SMALL[0], auto=Auto(SMALL)).chosen(holdout, 5, Lines())
        for each in (timed, replace(timed, item=shuffled))
    )
    assert (one.model, one.tried) == (other.model, other.tried)


@pytest.mark.parametrize("share", [0.2, 0])
def test_the_manifest_holds_the_table_and_what_was_chosen_from_it(
    client: Any, namespace: Namespace, share: float
) -> None:
    held_out, forced = Holdout("stratified", share), Gate(force=True)
    terms = Terms(k=5, holdout=held_out, gate=forced, stored=20, history=10)
    candidate = LocalCandidate(BOARD, SMALL[0], auto=Auto(SMALL, 1000))
    with turn(client, namespace, terms.keep) as ours:
        manifest = pipeline.refresh(ours, candidate, [b"{}"] * len(BOARD.items), terms, Lines())
    tried = manifest.metrics["tried"]
    (winner,) = (each for each in tried if each["chosen"])
    assert manifest.engine == winner["engine"]
    assert winner["settings"].items() <= manifest.settings.items()
    assert manifest.factors == (4 if "als" in str(winner) else 0)


def test_a_trial_chooses_by_what_it_trains_on() -> None:
    train, held_out = hold_out(BOARD, Holdout(seed=3))
    measured = LocalTrial(train, held_out, SMALL[0], auto=Auto(SMALL, 1000)).judge(5, Lines())
    expected = auto(train, budget=1000)
    assert measured.tried == expected.tried
    assert LocalTrial(train, held_out, expected.engine).judge(5, Lines()).model == measured.model


def test_a_blend_is_told_with_its_parts() -> None:
    blend = Blend(SMALL[:2], (0.4, 0.6))
    assert blend.settings["blend"] == {"als": 0.4, "knn": 0.6}
    assert {"factors", "neighbours"} <= blend.settings.keys()
    assert blend.factors == 4
