"""What a policy would have earned, of decisions that another one made: sums, and their estimates.

Horvitz and Thompson (1952) weigh each reward by w = p(policy) / p(logged): inverse propensity
scoring (IPS), as Bottou et al. (2013, JMLR 14) use it. Self-normalised (SNIPS: Swaminathan and
Joachims, 2015, NIPS) it is divided by the sum of the weights, and stays in the range of rewards.
Doubly robust (DR: Dudik, Langford and Li, 2011, ICML) it weighs only what a model of rewards got
wrong, and adds what that model expects of the policy.
"""

import math
from dataclasses import astuple, dataclass, replace
from typing import Self

Z = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""


@dataclass(slots=True)
class Sums:
    """events: decisions; matched: those of which the policy may have made the same (w > 0).

    w, wr, w2, w2r, w2r2: sums of weights, and of their products with rewards; dr, dr2: of what each
    decision adds to the doubly robust estimate, and of its square; least, most: of all rewards.
    """

    events: int = 0
    matched: int = 0
    w: float = 0.0
    wr: float = 0.0
    w2: float = 0.0
    w2r: float = 0.0
    w2r2: float = 0.0
    dr: float = 0.0
    dr2: float = 0.0
    least: float = 0.0
    most: float = 0.0

    def add(
        self, weight: float, reward: float, expected: float = 0.0, predicted: float = 0.0
    ) -> None:
        """Count one decision.

        expected, predicted: what a model of rewards, which has not seen this one, says of the
        policy and of the action that was taken; without a model DR is IPS.
        """
        added = expected + weight * (reward - predicted)
        self.least = min(self.least, reward) if self.events else reward
        self.most = max(self.most, reward) if self.events else reward
        square = weight * weight
        self.events += 1
        self.matched += weight > 0
        self.w += weight
        self.wr += weight * reward
        self.w2 += square
        self.w2r += square * reward
        self.w2r2 += square * reward * reward
        self.dr += added
        self.dr2 += added * added

    def __add__(self, other: Self) -> Self:
        if not (self.events and other.events):
            return replace(self if self.events else other)
        added = type(self)(*map(sum, zip(astuple(self), astuple(other))))
        added.least = min(self.least, other.least)
        added.most = max(self.most, other.most)
        return added

    @property
    def ips(self) -> float:
        """The reward of a decision, without bias; 0 without events."""
        return self.wr / self.events if self.events else 0.0

    @property
    def snips(self) -> float:
        """The reward of a decision, by the sum of weights; 0 where the policy matches nothing."""
        return self.wr / self.w if self.w else 0.0

    @property
    def effective(self) -> float:
        """The effective sample size: so many events of the policy itself would say as much.

        (Kish, 1965: the square of the sum of weights over the sum of their squares.)
        """
        return self.w * self.w / self.w2 if self.w2 else 0.0

    @property
    def half_width(self) -> float:
        """Of the 95 % interval around ``snips``, by the delta method (Owen, 2013, chapter 9)."""
        if not self.w:
            return 0.0
        mean = self.snips
        spread = self.w2r2 - 2 * mean * self.w2r + mean * mean * self.w2
        return Z * math.sqrt(max(0.0, spread)) / self.w

    @property
    def doubly_robust(self) -> float:
        """The reward of a decision, without bias; 0 without events."""
        return self.dr / self.events if self.events else 0.0

    @property
    def doubly_robust_half_width(self) -> float:
        """Of the 95 % interval around ``doubly_robust``, by the central limit theorem."""
        if not self.events:
            return 0.0
        spread = self.dr2 / self.events - self.doubly_robust**2
        return Z * math.sqrt(max(0.0, spread) / self.events)

    @property
    def missing(self) -> float:
        """By how much less than 1 weights are on average, where that is beyond chance.

        Then what the policy would often do was hardly ever tried, and what was tried says nothing
        of it. (More than three standard errors; with enough decisions the average is 1.)
        """
        if not self.events:
            return 0.0
        mean = self.w / self.events
        error = math.sqrt(max(0.0, self.w2 / self.events - mean * mean) / self.events)
        return 1 - mean if 1 - mean > 3 * error else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of ``snips``, within the range of all rewards.

        It is Wilson's (1927), of as many rewards as ``half_width`` speaks of: no point, where all
        that the policy matched is the same. Where weights are missing they may stand for the least
        or the most of all rewards: then it is that of ``ips`` with either.
        """
        low, wide = self.least, self.most - self.least
        if self.missing:
            spread = max(0.0, self.w2r2 / self.events - self.ips**2)
            width = Z * math.sqrt(spread / self.events)
            return (
                max(low, self.ips + self.missing * low - width),
                min(self.most, self.ips + self.missing * self.most + width),
            )
        if not wide:
            return low, low
        share = min(1.0, max(0.0, (self.snips - low) / wide))
        error = self.half_width / Z / wide
        count = share * (1 - share) / error**2 if error else self.effective
        middle = share + Z * Z / (2 * count)
        spread = Z * math.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
        ends = ((middle + side * spread) / (1 + Z * Z / count) for side in (-1, 1))
        below, above = (low + wide * end for end in ends)
        return below, above
