"""How good a model's lists are.

Full ranking over the whole catalogue, no sampled negatives (Krichene & Rendle, KDD 2020, show why).
The lists that are judged come from the code that makes the lists that are served.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.errors import BadSettings
from batch.recommendations.judge.catalogue import Catalogue
from batch.recommendations.topk import BLOCK, Lists

Hits = NDArray[np.bool_]
Counts = NDArray[np.int64]
PerUser = NDArray[np.float64]

SLICES: dict[str, tuple[int, int]] = {
    "0": (0, 1),
    "1-4": (1, 5),
    "5-19": (5, 20),
    "20-99": (20, 100),
    "100+": (100, 2**62),
}
"""Users by how many items they had when the model was trained."""

PARTS = ("head", "tail")
"""Items by how popular they are, see ``Catalogue.parts``."""

_MEANS = (*SLICES, *PARTS, "diversity")
"""What is measured on some of the judged users alone."""

_DRAWS = 10**6
"""How many draws are in memory at a time."""


def precision(hits: Hits, relevant: Counts) -> PerUser:
    """P@k = hits / k. Manning, Raghavan & Schuetze, Introduction to IR (2008), section 8.4.

    hits: (users, k), whether each entry was held out; relevant: (users,), how many were held out.
    The other metrics take the same.
    """
    return np.asarray(hits.mean(axis=1))


def recall(hits: Hits, relevant: Counts) -> PerUser:
    """R@k = hits / relevant. Manning et al., section 8.3."""
    return np.asarray(hits.sum(axis=1) / relevant)


def average_precision(hits: Hits, relevant: Counts) -> PerUser:
    """AP@k = sum over hits at rank i of P@i, / relevant; its mean is MAP. Manning et al., 8.4."""
    ranks = np.arange(1, hits.shape[1] + 1)
    return np.asarray((hits * hits.cumsum(axis=1) / ranks).sum(axis=1) / relevant)


def ndcg(hits: Hits, relevant: Counts) -> PerUser:
    """nDCG@k = DCG / ideal DCG, DCG = sum over hits at rank i of 1 / log2(i + 1).

    The ideal list has min(relevant, k) hits in front. Jaervelin & Kekaelaeinen, TOIS 20(4), 2002.
    """
    discounts = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.concatenate(([0.0], np.cumsum(discounts)))
    return np.asarray((hits * discounts).sum(axis=1) / ideal[np.minimum(relevant, hits.shape[1])])


def per_user_ndcg(lists: Lists, held_out: csr_matrix, k: int) -> PerUser:
    """nDCG@k of each of the lists; held_out: as many rows."""
    return ndcg(_hits(lists, held_out, k), np.diff(held_out.indptr).astype(np.int64))


PER_USER: dict[str, Callable[[Hits, Counts], PerUser]] = {
    "ndcg": ndcg,
    "map": average_precision,
    "precision": precision,
    "recall": recall,
}


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the users: how many were judged, their nDCG@k and its 95 % interval."""

    users: int
    ndcg: float
    interval: list[float]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the items: how many there are, and what share of all recommendations they are.

    recall: the mean R@k of those of them that were held out, over the ``users`` who have any;
    interval: its 95 % interval.
    """

    items: int
    share: float
    users: int
    recall: float
    interval: list[float]


@dataclass(frozen=True, slots=True)
class Metrics:
    """One model's quality at k. ``coverage``: the share of the catalogue that appears in any list.

    ``popularity``: the mean share of users who have a recommended item. ``intervals``: metric ->
    [low, high], the 95 % bootstrap interval over users. ``slices``: those of SLICES with users.
    ``novelty``: the mean bits of a recommended item; ``diversity``: the mean over lists, 0 where
    none has a pair; see ``Catalogue`` for both. ``half``: the fewest items that make half of all
    recommendations. ``items``: each of PARTS.
    """

    ndcg: float
    map: float
    precision: float
    recall: float
    coverage: float
    popularity: float
    intervals: dict[str, list[float]]
    users: int
    k: int
    slices: dict[str, Slice] = field(default_factory=dict)
    novelty: float = 0.0
    diversity: float = 0.0
    half: int = 0
    items: dict[str, Part] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over some users, which add up over all of them, in whatever order.

    sums: (columns,): those of ``PER_USER``, then for each of _MEANS its users and their values;
    recommended: (items,), in how many lists each item is; resampled: see ``resample``.
    """

    users: int
    sums: NDArray[np.float64]
    recommended: NDArray[np.int64]
    resampled: NDArray[np.float64]

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.users + other.users,
            self.sums + other.sums,
            self.recommended + other.recommended,
            self.resampled + other.resampled,
        )

    def metrics(self, catalogue: Catalogue, k: int) -> Metrics:
        """What the sums over all users come to."""
        count = len(PER_USER)
        means = (self.sums[:count] / max(self.users, 1)).tolist()
        ends = intervals(self.resampled[:, : 1 + count]).T.tolist()
        listed = max(int(self.recommended.sum()), 1)
        found = {name: self._mean(number) for number, name in enumerate(_MEANS)}
        return Metrics(
            **dict(zip(PER_USER, means, strict=True)),
            coverage=float(np.count_nonzero(self.recommended) / len(catalogue.share)),
            popularity=float(self.recommended @ catalogue.share / listed),
            intervals=dict(zip(PER_USER, ends, strict=True)),
            users=self.users,
            k=k,
            slices={name: Slice(*found[name]) for name in SLICES if found[name][0]},
            novelty=float(self.recommended @ catalogue.novelty / listed),
            diversity=found["diversity"][1],
            half=self._half(),
            items={
                name: Part(
                    int(part.sum()), float(self.recommended[part].sum() / listed), *found[name]
                )
                for name, part in zip(PARTS, catalogue.parts, strict=True)
            },
        )

    def _mean(self, number: int) -> tuple[int, float, list[float]]:
        """One of _MEANS: over how many users, the mean and its interval."""
        at = len(PER_USER) + 2 * number
        users, total = self.sums[at : at + 2].tolist()
        if not users:
            return 0, 0.0, [0.0, 0.0]
        (ends,) = intervals(self.resampled[:, at + 1 : at + 3]).T.tolist()
        return int(users), total / users, ends

    def _half(self) -> int:
        reached = np.cumsum(np.sort(self.recommended)[::-1])
        return int(np.searchsorted(reached, reached[-1] / 2)) + bool(reached[-1])


def relevant(seen: csr_matrix, held_out: csr_matrix) -> csr_matrix:
    """What to judge by: what is also seen can not be recommended and does not count."""
    left: csr_matrix = held_out - held_out.multiply(seen.astype(bool))
    left.eliminate_zeros()
    return left


def nothing_to_judge() -> BadSettings:
    """The error when nothing is left to judge by."""
    return BadSettings("nothing to judge by: every held-out pair is also among those to train on")


def evaluate(
    recommend: Callable[[NDArray[np.int64]], Lists],
    held_out: csr_matrix,
    catalogue: Catalogue,
    k: int,
    had: Counts | None = None,
) -> Metrics:
    """Judge the lists that ``recommend`` makes for the users who have something held out.

    recommend: user indices -> Lists; held_out: (users, items); had: (users,), how many items the
    model knew of each, without which there are no slices.
    """
    had = np.full(held_out.shape[0], -1) if had is None else had
    times = resamples(int(np.count_nonzero(np.diff(held_out.indptr))))
    rng = np.random.default_rng(0)
    return tally(recommend, held_out, had, catalogue, k, times, rng).metrics(catalogue, k)


def tally(
    recommend: Callable[[NDArray[np.int64]], Lists],
    held_out: csr_matrix,
    had: Counts,
    catalogue: Catalogue,
    k: int,
    times: int,
    rng: np.random.Generator,
) -> Tally:
    """Sum up, over those of some users who have something held out, how good their lists are.

    recommend, held_out, had, catalogue: see ``evaluate``; times: how often to resample.
    """
    users = np.flatnonzero(np.diff(held_out.indptr))
    columns = len(PER_USER) + 2 * len(_MEANS)
    total = Tally(
        0,
        np.zeros(columns),
        np.zeros(held_out.shape[1], np.int64),
        np.zeros((times, 1 + columns)),
    )
    for first in range(0, len(users), BLOCK):
        block = users[first : first + BLOCK]
        total += _tally(recommend(block), held_out[block], had[block], catalogue, k, times, rng)
    return total


def _tally(
    lists: Lists,
    held_out: csr_matrix,
    had: Counts,
    catalogue: Catalogue,
    k: int,
    times: int,
    rng: np.random.Generator,
) -> Tally:
    relevant = np.diff(held_out.indptr).astype(np.int64)
    hits = _hits(lists, held_out, k)
    columns = [metric(hits, relevant) for metric in PER_USER.values()]
    for low, high in SLICES.values():
        inside = ((had >= low) & (had < high)).astype(float)
        columns += [inside, inside * columns[0]]
    for part in catalogue.parts:
        wanted = held_out.astype(bool).astype(np.int64) @ part
        found = hits[:, : lists.items.shape[1]] & part[lists.items]
        columns += [wanted > 0, recall(found, np.maximum(wanted, 1))]
    columns += catalogue.diversity(lists)
    values = np.column_stack(columns)
    recommended = np.bincount(lists.items[lists.filled], minlength=held_out.shape[1])
    return Tally(len(lists), values.sum(axis=0), recommended, resample(values, times, rng))


def resamples(users: int) -> int:
    """How often to resample: fewer beyond 50,000 users, where the interval is narrow."""
    return int(np.clip(5 * 10**7 // max(users, 1), 100, 1000))


def resample(
    values: NDArray[np.float64], times: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the rows with replacement; per draw, how many rows and their sums: (times, 1 + columns).

    values: (users, columns). Each row comes as often as a Poisson variable of mean 1 says, so that
    every part of the rows can be drawn from by itself and the sums of the parts added: Chamandy et
    al., Estimating Uncertainty for Massive Data Streams, Google (2012), section 3.
    """
    columns = np.column_stack([np.ones(len(values)), values])
    at_a_time = max(1, _DRAWS // max(len(values), 1))
    return np.concatenate(
        [
            rng.poisson(1.0, (min(at_a_time, times - first), len(values))) @ columns
            for first in range(0, times, at_a_time)
        ]
    )


def intervals(resampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 95 % percentile interval of each column's mean, shape (2, columns).

    Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
    """
    drawn = resampled[resampled[:, 0] > 0]
    return np.asarray(np.percentile(drawn[:, 1:] / drawn[:, :1], [2.5, 97.5], axis=0))


def _hits(lists: Lists, held_out: csr_matrix, k: int) -> Hits:
    """(users, k): whether each entry of the lists was held out."""
    hits = np.zeros((len(lists), k), bool)
    rows = np.repeat(np.arange(len(lists)), lists.items.shape[1]).reshape(lists.items.shape)
    wanted = np.asarray(held_out[rows.ravel(), lists.items.ravel()] != 0).reshape(rows.shape)
    hits[:, : lists.items.shape[1]] = wanted & lists.filled
    return hits
