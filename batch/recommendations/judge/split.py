"""Hold out a part of the interactions, so that a model can be judged on what it has not seen."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from batch.errors import BadSettings
from batch.interactions.pairs import Interactions

Split = tuple[Interactions, Interactions]


def random(interactions: Interactions, share: float, seed: int) -> Split:
    """Hold out a random share of each user's items."""
    check_share(share)
    keys = np.random.default_rng(seed).random(len(interactions.user))
    return _cut(interactions, _last_of_each(interactions.user, keys, share))


def stratified(interactions: Interactions, share: float, seed: int) -> Split:
    """Hold out a random share of each item's users."""
    check_share(share)
    keys = np.random.default_rng(seed).random(len(interactions.user))
    return _cut(interactions, _last_of_each(interactions.item, keys, share))


def chronological(interactions: Interactions, share: float) -> Split:
    """Hold out the last share of each user's items; at equal times, those of higher index."""
    check_share(share)
    return _cut(interactions, _last_of_each(interactions.user, _timestamps(interactions), share))


def after(interactions: Interactions, moment: float) -> Split:
    """Hold out all that happened at a moment (epoch seconds) or later."""
    return _cut(interactions, _timestamps(interactions) >= moment)


def hold_out(
    interactions: Interactions, rule: str, share: float, seed: int, moment: float | None
) -> Split:
    """Split by the rule of that name into (train, held out), which share the ids of both sides.

    The same interactions and seed give the same split, to the byte. At least one interaction of
    each user (or item, when stratified) stays in train. Raises BadSettings when the rule does not
    fit the data or leaves one side empty.
    """
    rules: dict[str, Callable[[], Split]] = {
        "random": lambda: random(interactions, share, seed),
        "stratified": lambda: stratified(interactions, share, seed),
        "chronological": lambda: chronological(interactions, share),
    }
    train, held_out = after(interactions, moment) if moment is not None else rules[rule]()
    check_sides(len(train), len(held_out), moment, interactions.period() or ("never", "never"))
    return train, held_out


def check_sides(train: int, held_out: int, moment: float | None, period: tuple[str, str]) -> None:
    """Raise BadSettings when one side of a split has no interactions.

    period: when the first and the last were, for the message about a split at a moment.
    """
    if train and held_out:
        return
    left = f"leaves {train} interactions to train on and {held_out} to evaluate"
    if moment is not None:
        first, last = period
        raise BadSettings(
            f"--after {left}: users first met their items from {first} to {last}, so give a "
            "date between"
        )
    raise BadSettings(
        f"the split {left}: give more data, another --split or --holdout, or publish "
        "unevaluated with --holdout 0 --force"
    )


def _last_of_each(
    group: NDArray[np.int32], keys: NDArray[np.float64], share: float
) -> NDArray[np.bool_]:
    """Mark the share of each group that has the highest keys; ties go by position."""
    order = np.lexsort((keys, group))
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - starts[group[order]]
    kept = np.maximum(np.rint(sizes * (1 - share)), 1)
    return np.asarray(rank >= kept[group])


def _cut(interactions: Interactions, held_out: NDArray[np.bool_]) -> Split:
    return interactions.select(~held_out), interactions.select(held_out)


def _timestamps(interactions: Interactions) -> NDArray[np.float64]:
    if interactions.timestamp is None:
        raise no_timestamps()
    return interactions.timestamp


def no_timestamps() -> BadSettings:
    """The error of a split by time without times."""
    return BadSettings(
        "a split by time needs timestamps and the input has none: name their column with "
        "--timestamp-column, or use --split random"
    )


def check_share(share: float) -> None:
    """Raise BadSettings for a share that holds out nothing or everything."""
    if not 0 < share < 1:
        raise BadSettings(f"--holdout must lie between 0 and 1, not {share}")
