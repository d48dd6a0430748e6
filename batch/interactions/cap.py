"""At most so many pairs of one user: a robot must not teach the model what robots like."""

from dataclasses import replace

import numpy as np

from batch.interactions.pairs import Capped, Interactions


def cap(found: Interactions, most: int) -> Interactions:
    """Keep of each user the pairs of the highest weights, of equal ones the latest.

    Where these are equal too, the first by the item's id. The report says whose were left out.
    """
    had = np.bincount(found.user, minlength=len(found.users))
    over = np.flatnonzero(had > most)
    if not len(over):
        return found
    rows = np.flatnonzero((had > most)[found.user])
    times = np.zeros(len(found)) if found.timestamp is None else found.timestamp
    ranks = found.item[rows], -times[rows], -found.weight[rows], found.user[rows]
    rows = rows[np.lexsort(ranks)]
    starts = np.cumsum(had[over]) - had[over]
    keep = np.ones(len(found), dtype=bool)
    keep[rows[np.arange(len(rows)) - np.repeat(starts, had[over]) >= most]] = False
    worst = int(had.argmax())
    capped = Capped(len(over), int((~keep).sum()), found.users[worst], int(had[worst]))
    return replace(found.select(keep).compact(), report=replace(found.report, capped=capped))
