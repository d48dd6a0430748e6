"""Interactions made by hand: from (user, item, timestamp) numbers, without any file."""

from collections.abc import Iterable

import numpy as np

from batch.interactions.pairs import Interactions, Report


def interactions(
    pairs: Iterable[tuple[int, int]], timestamps: Iterable[float] | None = None
) -> Interactions:
    """Distinct pairs of user and item numbers; ids are u0, u1 ... and i0, i1 ...

    Timestamps are given in the order of the pairs, which must be sorted.
    """
    rows = list(pairs)
    assert rows == sorted(set(rows))
    user = np.array([user for user, _ in rows], np.int32)
    item = np.array([item for _, item in rows], np.int32)
    return Interactions(
        [f"u{n}" for n in range(int(user.max(initial=-1)) + 1)],
        [f"i{n}" for n in range(int(item.max(initial=-1)) + 1)],
        user,
        item,
        np.ones(len(rows), np.float32),
        None if timestamps is None else np.array(list(timestamps), np.float64),
        Report(files=1, rows=len(rows), rejected={}, merged=0, zero=0),
    )


def pairs(made: Interactions) -> list[tuple[int, int]]:
    """The pairs of user and item numbers."""
    return list(zip(made.user.tolist(), made.item.tolist(), strict=True))


def checkerboard(users: int = 40, items: int = 20) -> list[tuple[int, int]]:
    """Even users have the even items and odd users the odd ones, each but one of their colour.

    The right answer is known: the missing one, ``missing(user, items)``, comes first.
    """
    return [
        (user, item)
        for user in range(users)
        for item in range(user % 2, items, 2)
        if item != missing(user, items)
    ]


def missing(user: int, items: int = 20) -> int:
    """The item of the user's colour that the checkerboard leaves out."""
    return (user - user % 2 + 4 * (user // items)) % items + user % 2
