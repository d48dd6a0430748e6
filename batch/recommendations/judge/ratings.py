"""How far predicted ratings are from the true ones: the measures of explicit feedback.

Each block of pairs gives sums, and sums add up to those of all pairs, wherever they were made.
Lists are judged by ``batch.recommendations.judge.evaluate`` whatever the feedback.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batch.errors import BadSettings


@dataclass(frozen=True, slots=True)
class RatingMetrics:
    """How good predictions are, as scikit-learn defines it; e = true - predicted, n ``pairs``.

    rmse: sqrt(sum e^2 / n); mae: sum |e| / n; r2: 1 - sum e^2 / sum (true - mean true)^2;
    explained_variance: 1 - variance of e / variance of true. The last two are 1 at best, and
    where all true ratings are alike 1 if (all but a constant of) e is 0, else 0.
    https://scikit-learn.org/stable/modules/model_evaluation.html#regression-metrics
    """

    rmse: float
    mae: float
    r2: float
    explained_variance: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Sums:
    """What the metrics of some pairs need, in a form that two parts of the data can add.

    pairs: how many; error and true: the means of e = true - predicted and of the true ratings;
    error_squares and true_squares: the sums of squares about those means; absolute: the sum of
    |e|. About the mean, since plain sums of squares lose their digits when the mean is large.
    """

    pairs: int = 0
    error: float = 0.0
    error_squares: float = 0.0
    absolute: float = 0.0
    true: float = 0.0
    true_squares: float = 0.0

    @classmethod
    def of(cls, true: ArrayLike, predicted: ArrayLike) -> "Sums":
        """Sum up pairs. true, predicted: (pairs,), in float64 from here on."""
        known = np.asarray(true, np.float64)
        errors = known - np.asarray(predicted, np.float64)
        if not len(known):
            return cls()
        absolute = float(np.abs(errors).sum())
        return cls(len(known), *_moments(errors), absolute, *_moments(known))

    def __add__(self, other: "Sums") -> "Sums":
        """The sums of both parts.

        Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
        Variances, COMPSTAT 1982.
        """
        pairs = self.pairs + other.pairs
        if not pairs:
            return self
        share = other.pairs / pairs
        error, true = other.error - self.error, other.true - self.true
        between = self.pairs * share
        return Sums(
            pairs,
            self.error + error * share,
            self.error_squares + other.error_squares + error**2 * between,
            self.absolute + other.absolute,
            self.true + true * share,
            self.true_squares + other.true_squares + true**2 * between,
        )

    def metrics(self) -> RatingMetrics:
        """Raises BadSettings when there is no pair."""
        if not self.pairs:
            raise BadSettings(
                "no rating to judge by: no held-out pair has both its user and its item among "
                "those to train on"
            )
        squares = self.error_squares + self.pairs * self.error**2
        return RatingMetrics(
            rmse=math.sqrt(squares / self.pairs),
            mae=self.absolute / self.pairs,
            r2=_explained(squares, self.true_squares),
            explained_variance=_explained(self.error_squares, self.true_squares),
            pairs=self.pairs,
        )


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    mean = float(values.mean())
    return mean, float(np.square(values - mean).sum())


def _explained(left: float, total: float) -> float:
    if total == 0:
        return float(left == 0)
    return 1 - left / total
