"""Alternating least squares on implicit feedback, by the ``implicit`` library, on one machine."""

from dataclasses import asdict, dataclass

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from batch.errors import NotGoodEnough
from batch.progress import Advance
from batch.recommendations.engines.engine import Fitted, Scale
from batch.recommendations.engines.factors import Factors
from batch.recommendations.terms import Hyperparameters


@dataclass(frozen=True, slots=True)
class ImplicitALS(Hyperparameters):
    """Hu, Koren & Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008.

    ``alpha`` is the confidence in an average interaction; what was not seen has confidence 1.
    ``regularization`` is relative: see ``penalty``. So one default fits ratings, counts and plain
    yes/no data, sparse and dense; batch/README.md tells how the defaults were chosen.
    """

    name = "als"

    @property
    def settings(self) -> dict[str, float | int]:
        return asdict(self)

    def confidences(self, weights: csr_matrix, mean: float | None = None) -> csr_matrix:
        """alpha * log(1 + weight) / mean of log(1 + weight), for each interaction.

        The logarithm (equation 6 of the paper) keeps a few huge counts from ruling the fit. The
        mean is given where these are not all of the weights.
        """
        logs = np.log1p(weights.data)
        if mean is None:
            mean = float(logs.mean(dtype=np.float64))
        data = logs * np.float32(self.alpha / mean)
        return csr_matrix((data, weights.indices, weights.indptr), weights.shape, copy=False)

    def penalty(self, pairs: int, users: int, items: int) -> float:
        """The absolute regularization for so many pairs of the users and items that have any.

        regularization * sqrt(alpha) * (sqrt(pairs / users) + sqrt(pairs / items)): how the largest
        singular value of a random matrix with as many entries grows (Latala, Proc. AMS 133(5),
        2005), below which a factor is only noise.
        """
        spread = np.sqrt(pairs / users) + np.sqrt(pairs / items)
        return float(self.regularization * np.sqrt(self.alpha) * spread)

    def library(self, penalty: float) -> AlternatingLeastSquares:
        """The library's model with these settings and that regularization."""
        return AlternatingLeastSquares(
            factors=self.factors,
            regularization=penalty,
            iterations=self.iterations,
            random_state=self.seed,
            num_threads=self.threads,
        )

    def fit(self, weights: csr_matrix, advance: Advance) -> Fitted:
        users = int(np.count_nonzero(np.diff(weights.indptr)))
        items = len(np.unique(weights.indices))
        penalty = self.penalty(weights.nnz, users, items)
        with threadpool_limits(1, user_api="blas"):  # the solver has threads of its own
            model = self.library(penalty)
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # the NaN is an error below
                    model.fit(
                        self.confidences(weights),
                        show_progress=False,
                        callback=lambda iteration, seconds, loss: advance(1),
                    )
            except ModelFitError as error:
                raise diverged(str(error)) from error
        mean = float(np.log1p(weights.data).mean(dtype=np.float64))
        scale = Scale(self.alpha / mean, penalty)
        return Factors(model.user_factors, model.item_factors, scale).fitted(weights)


def diverged(why: str) -> NotGoodEnough:
    """The error for factors that are no numbers."""
    return NotGoodEnough(
        f"training failed ({why}): choose --regularization and --alpha nearer to their defaults"
    )
