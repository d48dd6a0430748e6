"""From what a model says of rows to probabilities that hold: a line, or knots, where it helps."""

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, isotonic_regression, minimize
from scipy.special import expit, logit

from app.contracts.clicks import Calibration
from batch.clicks.model import Clicked, Floats, Model

MAX_KNOTS = 100
_ROWS_OF_A_BIN = 50
SURE = 2.0
"""So many standard errors are more than chance."""
_BEYOND = 30.0
"""In log-odds: so far beyond the outermost knots the model's own differences hold."""

Fitted = Callable[[Floats, Clicked], Calibration]


def served(model: Model, log_odds: Floats) -> Floats:
    """What is served in place of the members' log-odds: calibrated, and for all negatives."""
    return calibrated(model.calibration, log_odds) + math.log(model.negatives_kept)


def calibrated(calibration: Calibration, log_odds: Floats) -> Floats:
    """Calibrated log-odds."""
    if calibration.knots:
        before, after = zip(*calibration.knots)
        return np.asarray(np.interp(log_odds, before, after), np.float64)
    return np.asarray(calibration.slope * log_odds + calibration.intercept, np.float64)


def choose(log_odds: Floats, clicked: Clicked, seed: int) -> Calibration:
    """The calibration that surely lowers the log loss of rows that it was not fitted on, or none.

    Each is fitted on either half of the rows, and judged on the other one. Only one whose loss is
    lower than the simpler one's by more than SURE standard errors is taken, and fitted on all. The
    rows must be none that the model was trained on.
    """
    halves = np.array_split(np.random.default_rng(seed).permutation(len(clicked)), 2)
    if any(len(set(clicked[half].tolist())) < 2 for half in halves):
        return Calibration()
    best: Fitted | None = None
    least = losses(log_odds, clicked)
    for fitted in (line, isotonic):
        tried = np.empty(len(clicked))
        for fit, other in (halves, halves[::-1]):
            found = fitted(log_odds[fit], clicked[fit])
            tried[other] = losses(calibrated(found, log_odds[other]), clicked[other])
        gained = least - tried
        if gained.sum() > SURE * gained.std() * math.sqrt(len(gained)):
            best, least = fitted, tried
    return best(log_odds, clicked) if best else Calibration()


def losses(log_odds: Floats, clicked: Clicked) -> Floats:
    """(rows,), the log loss of each."""
    return np.asarray(np.logaddexp(0.0, np.where(clicked, -log_odds, log_odds)))


def moved(calibration: Calibration, log_odds: Floats, clicked: Clicked) -> Calibration:
    """The same, up or down by what foretells as many clicks of these rows as came."""
    before, rate = calibrated(calibration, log_odds), clicked.mean()
    by = float(brentq(lambda by: expit(before + by).mean() - rate, -2 * _BEYOND, 2 * _BEYOND))
    if calibration.knots:
        return Calibration(knots=tuple((x, y + by) for x, y in calibration.knots))
    return Calibration(calibration.slope, calibration.intercept + by)


def line(log_odds: Floats, clicked: Clicked) -> Calibration:
    """The line of the lowest log loss; none where it falls.

    Platt, 1999, "Probabilistic Outputs for Support Vector Machines", whose targets are a little
    less than 1 and more than 0, so that it is finite also where a model tells all rows apart.
    """
    clicks = int(clicked.sum())
    others = len(clicked) - clicks
    targets = np.where(clicked, (clicks + 1) / (clicks + 2), 1 / (others + 2))

    def loss(at: Floats) -> tuple[float, Floats]:
        odds = at[0] * log_odds + at[1]
        off = expit(odds) - targets
        total = np.logaddexp(0.0, odds) - targets * odds
        return float(total.mean()), np.array([(off * log_odds).mean(), off.mean()])

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B").x
    return Calibration(float(slope), float(intercept)) if slope > 0 else Calibration()


def isotonic(log_odds: Floats, clicked: Clicked) -> Calibration:
    """Knots that rise: isotonic regression over bins of equally many rows.

    Zadrozny and Elkan, 2002, "Transforming Classifier Scores into Accurate Multiclass Probability
    Estimates". Each level is a knot in its middle and the way between two is straight, so that rows
    stay apart (Oron and Flournoy, 2017, "Centered Isotonic Regression").
    """
    shares = np.linspace(0, 1, max(1, min(MAX_KNOTS - 2, len(log_odds) // _ROWS_OF_A_BIN)) + 1)
    edges = np.unique(np.quantile(log_odds, shares[1:-1]))
    place = np.unique(np.searchsorted(edges, log_odds), return_inverse=True)[1]
    rows = np.bincount(place).astype(np.float64)
    clicks, sums = np.bincount(place, clicked), np.bincount(place, log_odds)
    starts = isotonic_regression(clicks / rows, weights=rows).blocks[:-1]
    count = np.add.reduceat(rows, starts)
    rate = (np.add.reduceat(clicks, starts) + clicked.mean()) / (count + 1)
    before = np.add.reduceat(sums, starts) / count
    after = np.maximum.accumulate(logit(rate))
    rises = np.append(True, np.diff(after) > 0)
    inner = list(zip(before[rises].tolist(), after[rises].tolist()))
    (x, y), (last_x, last_y) = inner[0], inner[-1]
    ends = (x - _BEYOND, y - _BEYOND), (last_x + _BEYOND, last_y + _BEYOND)
    return Calibration(knots=(ends[0], *inner, ends[1]))
