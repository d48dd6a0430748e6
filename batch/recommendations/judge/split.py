"""Hold out a part of the interactions, so that a model can be judged on what it has not seen."""

import numpy as np
from numpy.typing import NDArray

from batch.errors import BadSettings
from batch.interactions.pairs import Interactions
from batch.recommendations.terms import Holdout

Split = tuple[Interactions, Interactions]


def hold_out(interactions: Interactions, holdout: Holdout) -> Split:
    """Split into (train, held out), which share the ids of both sides.

    A share is of each user's items, or of each item's users when stratified: a random one, or the
    last ones when chronological; at equal times, those of higher index. The same interactions and
    seed give the same split, to the byte. At least one interaction of each user (or item) stays in
    train. Raises BadSettings when the rule does not fit the data or leaves one side empty.
    """
    marked = _held_out(interactions, holdout)
    train, held_out = interactions.select(~marked), interactions.select(marked)
    period = interactions.period() or ("never", "never")
    check_sides(len(train), len(held_out), holdout.after, period)
    return train, held_out


def _held_out(interactions: Interactions, holdout: Holdout) -> NDArray[np.bool_]:
    if holdout.after is not None:
        return np.asarray(_timestamps(interactions) >= holdout.after)
    check_share(holdout.share)
    if holdout.by_time:
        return _last_of_each(interactions.user, _timestamps(interactions), holdout.share)
    group = interactions.item if holdout.split == "stratified" else interactions.user
    keys = np.random.default_rng(holdout.seed).random(len(group))
    return _last_of_each(group, keys, holdout.share)


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
