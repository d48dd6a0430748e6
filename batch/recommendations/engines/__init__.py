"""One file per engine; each turns a (users, items) matrix of weights into factors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Progress = Callable[[int], None]
"""Called with the number of iterations done."""


@dataclass(frozen=True, slots=True)
class Factors:
    """A fitted model: users (users, factors) and items (items, factors), both float32.

    The score of an item for a user is the inner product of their rows.
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]


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

    def fit(self, weights: csr_matrix, progress: Progress) -> Factors:
        """Learn from a (users, items) float32 matrix of positive weights.

        The same matrix, settings and seed on the same machine give the same factors. Raises
        NotGoodEnough when the fit fails.
        """
