"""The second member: a logistic regression over single values, by L-BFGS.

It sees the values themselves and not their means, so it errs where trees do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from app.contracts.clicks import Linear
from batch.clicks.fit.matrix import Encoded
from batch.clicks.model import Clicked, Floats, Values

BINS = 32
"""Of numbers, with about as many rows in each."""

_L2 = 20.0
"""Of half the square of each weight, beside the sum of the log losses of all rows."""

_STEPS = 40
"""More do not predict what is held out better."""


@dataclass(frozen=True, slots=True)
class _Sum:
    """Weights of rows, and what they add up to.

    places: of each column (rows,), 1 for its first weight, 0 for none; sizes: of each column, how
    many weights it has. All weights lie one behind the other, and the intercept behind them.
    """

    places: Sequence[NDArray[np.int32]]
    sizes: Sequence[int]

    def parted(self, weights: Floats) -> list[Floats]:
        return np.split(weights[:-1], np.cumsum(self.sizes)[:-1])

    def log_odds(self, weights: Floats) -> Floats:
        total = np.full(len(self.places[0]), weights[-1])
        for places, own in zip(self.places, self.parted(weights)):
            total += np.concatenate([[0.0], own])[places]
        return total

    def gradient(self, residual: Floats) -> Floats:
        each = [
            np.bincount(places, residual, size + 1)[1:]
            for places, size in zip(self.places, self.sizes)
        ]
        return np.concatenate([*each, [residual.sum()]])

    def fitted(self, clicked: Clicked) -> Floats:
        """All weights that minimise the log loss; the intercept alone may be as large as it is."""
        labels, kept = clicked.astype(np.float64), np.ones(sum(self.sizes) + 1)
        kept[-1] = 0.0

        def loss(weights: Floats) -> tuple[float, Floats]:
            found, pulled = self.log_odds(weights), _L2 * kept * weights
            total = (np.logaddexp(0.0, found) - labels * found).sum() + pulled @ weights / 2
            gradient = self.gradient(expit(found) - labels) + pulled
            return float(total) / len(labels), gradient / len(labels)

        start = np.zeros(len(kept))
        start[-1] = np.log(labels.mean() / (1 - labels.mean()))
        with threadpool_limits(1, "blas"):  # its vectors are short: threads would only spin
            found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
        return np.asarray(found.x, np.float64)


def fit(rows: Encoded, tables: Sequence[Values]) -> tuple[Linear, list[Values]]:
    """Fit it to rows; the weights of values go into their tables."""
    assert rows.codes is not None
    numbers = rows.matrix[:, : rows.matrix.shape[1] - 2 * len(tables)].T
    edges = [_edges(number) for number in numbers]
    places = [_bins(number, bounds) + 1 for number, bounds in zip(numbers, edges)]
    places += list(rows.codes.T)
    sizes = [len(each) + 2 for each in edges] + [len(table.keys) for table in tables]
    sums = _Sum(places, sizes)
    weights = sums.fitted(rows.clicked)
    own = sums.parted(weights)
    binned = (
        (tuple(map(float, bounds)), tuple(each[:-1].tolist()), float(each[-1]))
        for bounds, each in zip(edges, own)
    )
    linear = Linear(float(weights[-1]), tuple(binned))
    own_of_tables = zip(tables, own[len(edges) :], strict=True)
    return linear, [
        replace(table, weights=each.astype(np.float32)) for table, each in own_of_tables
    ]


def log_odds(linear: Linear, tables: Sequence[Values], rows: Encoded) -> Floats:
    """(rows,), what it says of them."""
    assert rows.codes is not None
    total = np.full(len(rows.clicked), linear.intercept)
    for number, (edges, weights, missing) in zip(rows.matrix.T, linear.numbers):
        total += np.array([*weights, missing])[_bins(number, np.array(edges, np.float32))]
    for codes, table in zip(rows.codes.T, tables, strict=True):
        total += np.concatenate([[0.0], table.weights])[codes]
    return total


def _edges(number: NDArray[np.float32]) -> NDArray[np.float32]:
    known = number[~np.isnan(number)]
    if not len(known):
        return np.empty(0, np.float32)
    shares = np.arange(1, BINS) / BINS
    return np.unique(np.quantile(known, shares, method="inverted_cdf").astype(np.float32))


def _bins(number: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.int32]:
    """The bin of each number; that behind the last one for a missing one."""
    found = np.searchsorted(edges, number, side="right").astype(np.int32)
    found[np.isnan(number)] = len(edges) + 1
    return found
