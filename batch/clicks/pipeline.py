"""From examples to a published click model: judge, gate, train on everything, publish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from app.contracts.clicks import Column
from batch.clicks.model import Model
from batch.clicks.terms import Fit, Split
from batch.progress import Progress

Part = Literal["train", "validation", "test"]
EVERYTHING: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model says of some rows, beside what came of them.

    clicked: (rows,) bool; log_odds: (rows,) f64, those of the members before calibration and
    before the correction for negatives that were left out; slices: (rows,) of texts by column;
    moments: (rows,) microseconds, None without a column of time. Rows of a part come in one order.
    """

    clicked: NDArray[np.bool_]
    log_odds: NDArray[np.float64]
    slices: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    moments: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was read of the examples. rejected: rows by reason; leaks: columns by their own AUC."""

    files: int
    rows: int
    rejected: Mapping[str, int]
    ignored: Sequence[str] = ()
    leaks: Mapping[str, float] = field(default_factory=dict)


class Examples(Protocol):
    """Rows of impressions with a label: in DuckDB on this machine, or in Spark."""

    @property
    def report(self) -> Report:
        """What became of the input."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """What a model sees."""

    @property
    def label(self) -> str:
        """What the column of the label is called."""

    @property
    def rows(self) -> int: ...

    @property
    def clicks(self) -> int: ...

    @property
    def negatives_kept(self) -> float:
        """Which share of the rows without a click are there; 1 when none was left out."""

    @property
    def has_time(self) -> bool:
        """Whether rows are ordered by time: then parts and means are, too."""

    def fingerprint(self) -> str:
        """A hash of all rows, whatever their order."""

    def split(self, split: Split) -> Mapping[Part, int]:
        """Give each row its part; returns how many rows each has.

        Raises BadSettings when a part has no row with a click, or none without.
        """

    def fit(
        self, parts: Sequence[Part], stop_on: Part | None, fit: Fit, progress: Progress
    ) -> Model:
        """Learn from these parts; with ``stop_on``, end when that part is not predicted better.

        Raises NotGoodEnough when the library fails, or finds no tree to grow.
        """

    def predict(self, model: Model, part: Part, slices: Sequence[str] = ()) -> Scored:
        """What a model, this or another one, says of a part. Raises BadSettings.

        A column that the model has and the examples have not is missing in every row.
        """
