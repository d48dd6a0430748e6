"""What an engine of one machine does: a (users, items) matrix of weights becomes factors."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.progress import Advance


@dataclass(frozen=True, slots=True)
class Scale:
    """What a fit on implicit feedback made of weights.

    confidence: that in an interaction, over log(1 + weight); penalty: the absolute regularization.
    """

    confidence: float
    penalty: float


@dataclass(frozen=True, slots=True)
class Factors:
    """A fitted model: users (users, factors) and items (items, factors), both float32.

    The score of an item for a user is the inner product of their rows. scale: None where nobody
    can follow users by it.
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    scale: Scale | None = None


class Engine(Protocol):
    """Whatever learns factors from interactions."""

    @property
    def name(self) -> str:
        """What ``--engine`` calls it."""

    @property
    def iterations(self) -> int:
        """How many iterations a fit takes."""

    @property
    def settings(self) -> dict[str, float | int]:
        """The hyper-parameters, as the manifest records them."""

    def fit(self, weights: csr_matrix, advance: Advance) -> Factors:
        """Learn from a (users, items) float32 matrix of positive weights.

        advance: told of iterations. The same matrix, settings and seed on the same machine give
        the same factors. Raises NotGoodEnough when the fit fails.
        """
