"""The scores of rows by a click model, and what each column adds to them.

LightGBM brings threads of OpenMP, which do not survive a fork and get in each other's way: so it is
loaded in the process that answers (see ``follower``), and each call takes its own thread alone.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray

from app.clicks.rows import Encoder, Rows
from app.contracts.clicks import Calibration, Manifest
from app.contracts.generations import BrokenRecord

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Of each row: the log-odds of the members, those of the score, and the score."""

    members: Floats
    log_odds: Floats
    scores: Floats

    def order(self) -> list[int]:
        """The rows, the best first; of those that are alike in all, the one that came first."""
        order: list[int] = np.lexsort((-self.members, -self.scores)).tolist()
        return order


@dataclass(frozen=True, slots=True)
class Explanation:
    """The log-odds of one score: base, what each column adds, and what calibration does.

    user: what the columns add together that nobody but the cache has told.
    """

    base: float
    columns: dict[str, float]
    user: float
    calibration: float


class Scorer:
    """One click model, immutable, for all threads of a worker."""

    def __init__(self, manifest: Manifest, body: bytes) -> None:
        """Raises BrokenRecord when the body is not that of the manifest, or cannot be read."""
        trees, tables, self._linear = manifest.members_of(body)
        self.manifest, self._calibration = manifest, manifest.calibrated
        self.columns = manifest.typed_columns
        self.encoder = Encoder(self.columns, manifest.prior, tables, self._linear)
        self._trees, self._explaining = _booster(trees), _booster(trees)

    def warm_up(self) -> None:
        """Score and explain a row of which nothing is known. Raises BrokenRecord."""
        rows = self.encoder.rows({}, 1)
        scores = self.scores(rows)
        (told,) = self.explain(rows, scores, [0])
        numbers = *scores.log_odds, told.base, *told.columns.values()
        if not np.isfinite(numbers).all():
            raise BrokenRecord(f"{self.manifest.generation} gives a score that is no number")

    def scores(self, rows: Rows) -> Scores:
        """Of each row."""
        members = _asked(self._trees, _matrix(rows), raw_score=True)
        if self._linear:
            members = (members + self._linear.intercept + _weights(rows).sum(axis=1)) / 2
        log_odds = calibrated(self._calibration, members) + math.log(self.manifest.negatives_kept)
        return Scores(members, log_odds, 1 / (1 + np.exp(-log_odds)))

    def explain(
        self, rows: Rows, scores: Scores, chosen: Sequence[int], private: Collection[str] = ()
    ) -> list[Explanation]:
        """Of the chosen rows; it takes milliseconds a row (SHAP; Lundberg and Lee, 2017).

        private: columns of which only the sum is told.
        """
        # Some settings of a booster must not change while it is asked: so this is another one.
        found = _asked(self._explaining, _matrix(rows)[chosen], pred_contrib=True)
        base, added = found[:, -1], self._by_column(found[:, :-1])
        if self._linear:
            expected = self._linear.intercept
            base, added = (base + expected) / 2, (added + _weights(rows)[chosen]) / 2
        hidden = np.array([each.name in private for each in self.columns])
        names = [each.name for each in self.columns if each.name not in private]
        return [
            Explanation(
                float(base[place]),
                dict(zip(names, added[place][~hidden].tolist(), strict=True)),
                float(added[place][hidden].sum()),
                float(scores.log_odds[row] - scores.members[row]),
            )
            for place, row in enumerate(chosen)
        ]

    def _by_column(self, found: Floats) -> Floats:
        """(rows, columns) of what was found of each number of the rows."""
        numbers = sum(each.kind == "number" for each in self.columns)
        both = found[:, numbers::2] + found[:, numbers + 1 :: 2]
        parts = {"number": iter(found[:, :numbers].T), "category": iter(both.T)}
        return np.array([next(parts[each.kind]) for each in self.columns]).T


def calibrated(calibration: Calibration, log_odds: Floats) -> Floats:
    """See ``Calibration``."""
    if not calibration.knots:
        return calibration.slope * log_odds + calibration.intercept
    before, after = np.array(calibration.knots).T
    return np.asarray(np.interp(log_odds, before, after), np.float64)


def _matrix(rows: Rows) -> NDArray[np.float32]:
    return np.frombuffer(rows.values, np.float32).reshape(rows.count, rows.width)


def _weights(rows: Rows) -> Floats:
    return np.frombuffer(rows.weights, np.float64).reshape(rows.count, rows.columns)


def _asked(booster: lightgbm.Booster, matrix: NDArray[np.float32], **how: bool) -> Floats:
    return np.asarray(booster.predict(matrix, num_threads=1, **how), np.float64)


def _booster(trees: str) -> lightgbm.Booster:
    try:
        return lightgbm.Booster(model_str=trees)
    except lightgbm.basic.LightGBMError as error:
        raise BrokenRecord(
            f"LightGBM {lightgbm.__version__} cannot read the trees ({error}): is it older than "
            f"the one that wrote them?"
        ) from error
