"""How good click predictions are: ranking, likelihood, calibration, and what a cut would catch.

Rows may have weights: where negatives were left out, each that is there stands for several. Rows
that are predicted alike count as mixed, so that no figure depends on the order of rows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from batch.clicks.fit.calibrate import losses
from batch.clicks.model import Clicked, Floats

BINS = 20
SHARES = (0.0, 0.01, 0.02, 0.05, *(tenth / 10 for tenth in range(1, 11)))
"""Where the gain curve has its points."""
MOST_VALUES = 20
"""How many values of a column are told apart."""
OTHERS = "(others)"

_Z = 1.959963984540054
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """All that one number says of predictions.

    ne: normalised entropy; ratio: mean prediction over click-through rate; lift1, lift5: how many
    times more clicks the best 1 and 5 % of rows have than as many rows by chance; ne_error: the
    standard error of ne, by which it differs from that of other rows by chance.
    """

    auc: float
    log_loss: float
    ne: float
    ece: float
    ratio: float
    lift1: float
    lift5: float
    rows: int
    clicks: int
    ne_error: float = 0.0

    @property
    def chance(self) -> float:
        """How far ratio may be from 1 though the model is right: two standard errors."""
        return 2 / math.sqrt(self.clicks)


@dataclass(frozen=True, slots=True)
class Slice:
    """Of rows with one value of a column. Without a click, or a row without one, some are None.

    low, high: the 95 % interval of the ratio.
    """

    rows: int
    clicks: int
    ctr: float
    auc: float | None
    ne: float | None
    ratio: float | None
    low: float | None
    high: float | None

    @property
    def is_off(self) -> bool:
        """Whether the interval is beside 1."""
        return (self.low or 0.0) > 1 or (self.high is not None and self.high < 1)


@dataclass(frozen=True, slots=True)
class Predictions:
    """What was predicted of rows, the likeliest first; rows predicted alike are one.

    log_odds, weight, clicks, rows: (distinct,) of each prediction, the weight of its rows and of
    those with a click, and how many rows these are; log_loss: mean over all rows.
    """

    log_odds: Floats
    weight: Floats
    clicks: Floats
    rows: Floats
    clicked_rows: int
    log_loss: float
    kept: float

    @classmethod
    def of(cls, clicked: Clicked, log_odds: Floats, kept: float = 1.0) -> "Predictions":
        """Of rows with what a model says of them as it is served.

        kept: the share of rows without a click that are there: those weigh 1 / kept.
        """
        values, place = np.unique(-log_odds, return_inverse=True)
        weights = np.where(clicked, 1.0, 1.0 / kept)
        return cls(
            log_odds=-values,
            weight=np.bincount(place, weights, len(values)).astype(np.float64),
            clicks=np.bincount(place, clicked, len(values)).astype(np.float64),
            rows=np.bincount(place, None, len(values)).astype(np.float64),
            clicked_rows=int(clicked.sum()),
            log_loss=float(np.average(losses(log_odds, clicked), weights=weights)),
            kept=kept,
        )

    @property
    def probability(self) -> Floats:
        return np.asarray(expit(self.log_odds))

    @property
    def rate(self) -> float:
        """The click-through rate."""
        return float(self.clicks.sum() / self.weight.sum())

    @property
    def mean(self) -> float:
        """The mean prediction."""
        return float(np.average(self.probability, weights=self.weight))

    @property
    def auc(self) -> float:
        """How likely a row with a click is predicted above one without; alike counts half.

        Mann and Whitney's U over the number of pairs; Hanley and McNeil, 1982, "The Meaning and Use
        of the Area under a ROC Curve".
        """
        negatives = self.weight - self.clicks
        below = negatives.sum() - np.cumsum(negatives) + negatives / 2
        return float((self.clicks * below).sum() / (self.clicks.sum() * negatives.sum()))

    @property
    def ne(self) -> float:
        """Normalised entropy: log loss over that of predicting the click-through rate for all rows.

        He et al., 2014, "Practical Lessons from Predicting Clicks on Ads at Facebook", 3.
        """
        return self.log_loss / self._entropy

    @property
    def _entropy(self) -> float:
        rate = self.rate
        return -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))

    @property
    def ne_error(self) -> float:
        """The standard error of ``ne``, a ratio of two mean losses of the same rows (delta method).

        It is that of each row's loss less ``ne`` times its loss by the click-through rate alone.
        """
        flat = math.log(self.rate / (1 - self.rate))
        clicked, others = (
            np.logaddexp(0.0, sign * self.log_odds) - self.ne * np.logaddexp(0.0, sign * flat)
            for sign in (-1, 1)
        )
        squares = self.clicks @ clicked**2 + (self.weight - self.clicks) @ others**2 / self.kept
        return float(math.sqrt(squares) / self.weight.sum() / self._entropy)

    @property
    def ratio(self) -> float:
        """Mean prediction over click-through rate, "calibration" in the same paper."""
        return self.mean / self.rate

    def curve(self) -> list[list[float]]:
        """Mean prediction, click-through rate and rows of bins of equally many rows, rising.

        Rows that are predicted alike and do not fit into one bin are spread over several.
        """
        predicted, clicks, weight, rows = self._binned()
        rising = np.column_stack([predicted / weight, clicks / weight, rows])[::-1]
        return [list(map(float, each)) for each in rising]

    def ece(self) -> float:
        """Expected calibration error: the mean of |mean prediction - click-through rate| of bins.

        Naeini et al., 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", with
        bins of equally many rows.
        """
        predicted, clicks, weight, _ = self._binned()
        return float(abs(predicted - clicks).sum() / weight.sum())

    def _binned(self) -> list[Floats]:
        """The sums of predictions, clicks, weights and rows of each bin."""
        ends = np.cumsum(self.rows)
        cuts = np.linspace(0, ends[-1], min(BINS, int(ends[-1])) + 1)
        amounts = self.weight * self.probability, self.clicks, self.weight, self.rows
        return [np.diff(_up_to(cuts, ends, each)) for each in amounts]

    def gain(self, share: float) -> float:
        """Which share of all clicks the likeliest rows, that share of all, have."""
        ends = np.cumsum(self.weight)
        return float(_up_to(np.array([share * ends[-1]]), ends, self.clicks)[0] / self.clicks.sum())

    def gains(self) -> list[list[float]]:
        """The gain curve: [share of rows, share of clicks] at SHARES."""
        return [[share, self.gain(share)] for share in SHARES]

    def lift(self, share: float) -> float:
        """How many times more clicks the likeliest rows have than as many by chance."""
        return self.gain(share) / share

    def metrics(self) -> Metrics:
        """All of it; there must be rows with a click and rows without."""
        return Metrics(
            auc=self.auc,
            log_loss=self.log_loss,
            ne=self.ne,
            ece=self.ece(),
            ratio=self.ratio,
            lift1=self.lift(0.01),
            lift5=self.lift(0.05),
            rows=int(self.rows.sum()),
            clicks=self.clicked_rows,
            ne_error=self.ne_error,
        )

    def slice(self) -> Slice:
        """The same of a part of the rows, which may be all of one kind."""
        rows, clicks = int(self.rows.sum()), self.clicked_rows
        low, high = interval(clicks, rows, self.kept)
        both = 0 < clicks < rows
        return Slice(
            rows=rows,
            clicks=clicks,
            ctr=self.rate,
            auc=self.auc if both else None,
            ne=self.ne if both else None,
            ratio=self.ratio if clicks else None,
            low=self.mean / high,
            high=self.mean / low if low > 0 else None,
        )


def _up_to(cuts: Floats, ends: Floats, amounts: Floats) -> Floats:
    """How much of the amounts lies up to each cut, where each is spread between the ends."""
    sums = np.append(0.0, np.cumsum(amounts))
    return np.asarray(np.interp(cuts, np.append(0.0, ends), sums), np.float64)


def interval(clicks: int, rows: int, kept: float = 1.0) -> tuple[float, float]:
    """The 95 % interval of a click-through rate; Wilson, 1927.

    kept: the share of rows without a click that are there: of the rate in these rows the odds are
    multiplied by it.
    """
    middle, spread = clicks + _Z**2 / 2, _Z * math.sqrt(clicks * (rows - clicks) / rows + _Z**2 / 4)
    ends = [max(0.0, min(1.0, (middle + s * spread) / (rows + _Z**2))) for s in (-1, 1)]
    low, high = (end * kept / (end * kept + 1 - end) for end in ends)
    return low if clicks else 0.0, high


def slices(
    clicked: Clicked,
    log_odds: Floats,
    columns: Mapping[str, NDArray[Any]],
    kept: float = 1.0,
) -> dict[str, dict[str, Slice]]:
    """By column, by value: those that most rows have, the most frequent first; others are one."""
    found: dict[str, dict[str, Slice]] = {}
    for column, texts in columns.items():
        values, place, rows = np.unique(texts, return_inverse=True, return_counts=True)
        order = np.argsort(-rows, kind="stable")[:MOST_VALUES]
        groups = {str(values[each]): place == each for each in order}
        if len(values) > len(order):
            groups[OTHERS] = ~np.isin(place, order)
        found[column] = {
            value: Predictions.of(clicked[chosen], log_odds[chosen], kept).slice()
            for value, chosen in groups.items()
        }
    return found
