"""Rows to train on, wherever they lie: what was read, and what a training asks of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.contracts.clicks import Column
from batch.clicks.model import Clicked, Floats, Model
from batch.clicks.terms import Fit, Part, Split
from batch.progress import Progress


@dataclass(frozen=True, slots=True)
class Seen:
    """What the cells of one column are.

    filled: those that are not missing; numbers: those of them that are numbers; values: about how
    many differ.
    """

    name: str
    type: str
    rows: int
    filled: int
    numbers: int
    values: int
    example: str

    @property
    def missing(self) -> float:
        """Which share of the cells are."""
        return 1 - self.filled / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Schema:
    """What the columns of examples are, and why those that no model sees are left out.

    label: None where the rows have none.
    """

    label: str | None
    time: str | None
    columns: tuple[Column, ...]
    ignored: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What was read. rejected: rows by reason; leaks: columns by their own AUC."""

    files: int
    rows: int
    rejected: Mapping[str, int]
    leaks: Mapping[str, float] = field(default_factory=dict)

    @property
    def good(self) -> int:
        """How many rows can be used."""
        return self.rows - sum(self.rejected.values())


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model says of some rows, beside what came of them.

    clicked: (rows,) bool; log_odds: (rows,) f64, those of the members before calibration and
    before the correction for negatives that were left out; slices: (rows,) of texts by column;
    moments: (rows,) microseconds, None without a column of time. Rows of a part come in one order.
    """

    clicked: Clicked
    log_odds: Floats
    slices: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    moments: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Examples(ABC):
    """Rows of impressions with a label: in DuckDB on this machine, or in Spark.

    seen: every column of the input, for who wants to look; clicks: how many rows have one;
    negatives_kept: which share of the rows without a click are there; 1 when none was left out.
    """

    report: Report
    schema: Schema
    seen: Sequence[Seen]
    clicks: int
    negatives_kept: float

    @property
    def rows(self) -> int:
        return self.report.good

    @property
    def columns(self) -> tuple[Column, ...]:
        """What a model sees."""
        return self.schema.columns

    @property
    def has_time(self) -> bool:
        """Whether rows are ordered by time: then parts and means are, too."""
        return self.schema.time is not None

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of all rows, whatever their order."""

    @abstractmethod
    def split(self, split: Split) -> Mapping[Part, int]:
        """Give each row its part; returns how many rows each has.

        Raises BadSettings when a part has no row with a click, or none without.
        """

    @abstractmethod
    def fit(
        self, parts: Sequence[Part], stop_on: Part | None, fit: Fit, progress: Progress
    ) -> Model:
        """Learn from these parts; with ``stop_on``, end when that part is not predicted better.

        Raises NotGoodEnough when the library fails, or finds no tree to grow.
        """

    @abstractmethod
    def predict(self, model: Model, part: Part, slices: Sequence[str] = ()) -> Scored:
        """What a model, this or another one, says of a part. Raises BadSettings.

        A column that the model has and the examples have not is missing in every row.
        """
