"""Searching for the engine and settings that suit some interactions."""

from dataclasses import replace
from pathlib import Path

import pytest

from batch.command.output.bars import Lines
from batch.errors import BadSettings
from batch.interactions.pairs import Interactions
from batch.recommendations.engines.make import make
from batch.recommendations.terms import Holdout, Model
from batch.recommendations.tune import RANGES, Search, Trial
from tests.batch.pairs import checkerboard, interactions

HOURS = 10_000.0
BOARD = interactions(checkerboard())


def search(loaded: Interactions = BOARD, seed: int = 1) -> Search:
    return Search.of(loaded, Holdout("random", 0.3, seed=seed), repeat=False, k=5)


def run(path: Path | None, trials: int, seed: int = 1) -> list[Trial]:
    """What was tried, without how long it took."""
    found = search(seed=seed)
    study = found.study(path)
    found.run(study, HOURS, trials, Lines())
    return [replace(each, seconds=0.0) for each in study.trials]


def test_what_is_offered_is_what_refresh_takes() -> None:
    for engine, ranges in RANGES.items():
        usual = make(Model(engine)).settings
        for name, (low, *_, high) in ranges.items():
            found = make(Model(engine, **{name: high})).settings
            assert found == {**usual, name: high}
            assert isinstance(low, str) or low < usual[name] < high


def test_nothing_that_is_judged_was_in_a_trial() -> None:
    found = search()
    everything = BOARD.matrix().astype(bool)
    judged = found.judged.matrix().astype(bool)
    known = found.known.matrix().astype(bool)
    assert judged.nnz and (known + judged != everything).nnz == 0
    assert known.multiply(judged).nnz == 0
    assert (found.compared.seen.astype(bool) > known).nnz == 0
    wanted = found.compared.wanted.astype(bool)
    assert wanted.nnz and (wanted > known[found.compared.users]).nnz == 0


def test_the_defaults_come_first_and_the_same_seed_tries_the_same() -> None:
    first = run(None, 8)
    assert [each.engine for each in first[:3]] == list(RANGES)
    for each in first[:3]:
        usual = make(Model(each.engine)).settings
        assert each.options == {name: usual[name] for name in RANGES[each.engine]}
    assert run(None, 8) == first
    assert run(None, 8, seed=2) != first


def test_a_study_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    path = tmp_path / "study"
    first = run(path, 4)
    with path.open("a") as file:
        file.write('{"engine": "als", "opt')
    assert run(path, 4) == first
    assert run(path, 7) == run(None, 7)


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study"
    run(path, 1)
    with pytest.raises(BadSettings, match="is of other interactions"):
        search(interactions(checkerboard(42))).study(path)
    with pytest.raises(BadSettings, match="is of other interactions"):
        search(seed=2).study(path)
    path.write_text("user,item\n")
    with pytest.raises(BadSettings, match="is no study"):
        search().study(path)


def test_the_best_is_judged_as_a_refresh_with_its_options_would() -> None:
    found = search()
    study = found.study(None)
    found.run(study, HOURS, 6, Lines())
    tuned = found.end(study.trials, Lines())
    chosen = next(each for each in tuned.compared if each.chosen)
    assert make(tuned.model).settings == chosen.settings and tuned.model.engine == chosen.engine
    assert tuned.best.model.ndcg > tuned.best.popular.ndcg == tuned.usual.popular.ndcg
    assert tuned.best.model.users == len(BOARD.users)
