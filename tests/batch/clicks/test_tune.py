"""Settings are sought on the part to validate on."""

from dataclasses import replace

from batch.clicks.terms import Fit, Split
from batch.clicks.tune import RANGES, Trial, tune
from batch.progress import Silent
from tests.batch.clicks.rows import examples

FIT = Fit(trees=8, leaves=127, learning_rate=0.9, min_rows_of_a_leaf=1, l2=0.0, threads=1)
"""As bad as can be."""

SPLIT = Split(0.2, 0.2)


def test_better_settings_are_found_on_ever_more_rows() -> None:
    some = examples(5_000, seed=4)
    tuned = tune(some, FIT, SPLIT, 4, Silent())
    assert [round(each.share, 3) for each in tuned.trials] == [0.333] * 5 + [1] * 3
    last = tuned.trials[-3:]
    assert last[0].options == options(FIT)
    best = min(last, key=lambda each: each.log_loss)
    assert best.options == options(tuned.fit) and best.log_loss < last[0].log_loss
    assert some.split(SPLIT) == some.split(SPLIT)  # no row is left away


def test_the_part_to_test_on_has_no_say() -> None:
    some = examples(1_000, seed=4)
    one = tune(some, FIT, SPLIT, 1, Silent()).trials
    some.connection.execute("UPDATE rows SET label = 1 - label WHERE part = 'test'")
    assert timeless(tune(some, FIT, SPLIT, 1, Silent()).trials) == timeless(one)
    some.connection.execute("UPDATE rows SET label = 1 - label WHERE part = 'validation'")
    assert timeless(tune(some, FIT, SPLIT, 1, Silent()).trials) != timeless(one)


def test_trees_are_judged_without_the_linear_member() -> None:
    """It would cover for bad ones, and cost its time in every trial."""
    some = examples(1_000, seed=4)
    trees = tune(some, FIT, SPLIT, 1, Silent())
    both = tune(some, replace(FIT, blend=True), SPLIT, 1, Silent())
    assert timeless(both.trials) == timeless(trees.trials)
    assert both.fit == replace(trees.fit, blend=True)


def options(fit: Fit) -> dict[str, float]:
    return {name: getattr(fit, name) for name in RANGES}


def timeless(trials: list[Trial]) -> list[Trial]:
    return [replace(each, seconds=0) for each in trials]
