"""Factors: a user's score of an item is the inner product of their rows."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from batch.recommendations.descent import Falling
from batch.recommendations.engines.engine import Fitted, Nearest, Scale
from batch.recommendations.similar import Company, most_similar
from batch.recommendations.topk import FAINTEST, Floats, Lists, best_unseen


@dataclass(frozen=True, slots=True)
class Factors:
    """What was learned: users (users, factors) and items (items, factors), both float32.

    scale: None where nobody can follow users by it.
    """

    users: Floats
    items: Floats
    scale: Scale | None = None

    def fitted(self, seen: csr_matrix) -> Fitted:
        """As a model; seen: (users, items), what it was fitted on."""
        company = Company.of(self.users, seen)
        return Fitted(self.users, FactorScorer(Falling.of(self.items), self.scale, company))


@dataclass(frozen=True, slots=True)
class FactorScorer:
    """A ``Scorer``. items: in the order of the walk; company: what all users tell of them."""

    items: Falling
    scale: Scale | None
    company: Company

    @property
    def factors(self) -> Floats:
        return self.items.factors

    def best(
        self, users: Floats, seen: csr_matrix, excluded: csr_matrix, k: int, threads: int = 0
    ) -> Lists:
        lists = best_unseen(users, self.items, excluded, k, threads)
        known = ~self._strangers(users, seen)
        return replace(lists, lengths=lists.lengths * known)

    def nearest(self) -> Nearest:
        return partial(most_similar, self.company.directions(self.factors))

    def _strangers(self, users: Floats, seen: csr_matrix) -> NDArray[np.bool_]:
        """(some,): of whom the model can know nothing.

        Nobody else has what they have, or the fit has left nothing of their factors; what products
        of such factors put in front is chance.
        """
        shared = (self.company.users[seen.indices] > 1).astype(np.float32)
        theirs = csr_matrix((shared, seen.indices, seen.indptr), seen.shape)
        alone = np.asarray(theirs.sum(axis=1)).ravel() == 0
        reach = self.items.norms.max(initial=0.0)
        return np.asarray(alone | (np.linalg.norm(users, axis=1) * reach < FAINTEST))
