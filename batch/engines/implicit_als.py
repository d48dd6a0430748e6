"""Alternating least squares on implicit feedback, by the ``implicit`` library, on one machine."""

from dataclasses import asdict, dataclass

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from batch.engines import Factors, Progress
from batch.errors import NotGoodEnough


@dataclass(frozen=True, slots=True)
class ImplicitALS:
    """Hu, Koren & Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008.

    The confidence in an interaction is ``alpha`` times its weight over the mean weight, so that
    the defaults mean the same for ratings, counts and plain yes/no data; all that was not seen
    has confidence 1.
    """

    factors: int = 32
    regularization: float = 20.0
    alpha: float = 7.0
    iterations: int = 15
    seed: int = 42
    threads: int = 0

    @property
    def name(self) -> str:
        return "implicit"

    @property
    def settings(self) -> dict[str, float | int]:
        return asdict(self)

    def fit(self, weights: csr_matrix, progress: Progress) -> Factors:
        mean = float(weights.data.mean(dtype=np.float64))
        with threadpool_limits(1, user_api="blas"):  # the solver has threads of its own
            model = AlternatingLeastSquares(
                factors=self.factors,
                regularization=self.regularization,
                alpha=self.alpha / mean,
                iterations=self.iterations,
                random_state=self.seed,
                num_threads=self.threads,
            )
            try:
                model.fit(
                    weights,
                    show_progress=False,
                    callback=lambda iteration, seconds, loss: progress(iteration + 1),
                )
            except ModelFitError as error:
                raise NotGoodEnough(
                    f"training failed ({error}): try more --regularization or less --alpha"
                ) from error
        return Factors(model.user_factors, model.item_factors)
