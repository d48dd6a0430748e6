"""What an engine of one machine does: a (users, items) matrix of weights becomes a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.progress import Advance
from batch.recommendations.topk import Floats, Lists

Nearest = Callable[[NDArray[np.int64], int, int], Lists]
"""(some items, k, threads) -> the k other items that are most like each of them."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What a fit on implicit feedback made of weights.

    confidence: that in an interaction, over log(1 + weight); penalty: the absolute regularization.
    """

    confidence: float
    penalty: float


class Scorer(Protocol):
    """What a model has learned of items, from which lists are made. It can be sent elsewhere."""

    @property
    def factors(self) -> Floats:
        """(items, factors), by whose products with a user's readers can follow that user."""

    @property
    def scale(self) -> Scale | None:
        """What they were fitted with; None where nobody can follow users by them."""

    def best(
        self, users: Floats, seen: csr_matrix, excluded: csr_matrix, k: int, threads: int = 0
    ) -> Lists:
        """The k best items of each of some users that are not excluded, scores falling.

        users: (some, factors); seen, excluded: (some, items), what they have, and must not get.
        A list may be shorter than k; that of a user of whom the model knows nothing is empty.
        """

    def nearest(self) -> Nearest:
        """What finds the items that are most like others."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted model: the factors of users (users, factors), of width 0 for none, and of items."""

    users: Floats
    scorer: Scorer


class Recipe(Protocol):
    """What is to be learned from interactions, wherever that is done."""

    @property
    def name(self) -> str:
        """What ``--engine`` calls it."""

    @property
    def iterations(self) -> int:
        """How many steps of a fit it tells of."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The hyper-parameters, as the manifest records them."""

    @property
    def factors(self) -> int:
        """How many factors users and items have; 0 for none."""


class Engine(Recipe, Protocol):
    """Whatever learns on one machine."""

    def fit(self, weights: csr_matrix, advance: Advance) -> Fitted:
        """Learn from a (users, items) float32 matrix of positive weights.

        advance: told of iterations. The same matrix, settings and seed on the same machine give
        the same model. Raises NotGoodEnough when the fit fails, BadSettings when it cannot begin.
        """


def no_factors(count: int) -> Floats:
    """The factors of so many users or items of a model that has none."""
    return np.zeros((count, 0), np.float32)
