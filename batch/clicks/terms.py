"""On what terms a click model is read, trained, judged and published.

The command makes these from its options before anything heavy is loaded, so this imports no numpy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from batch.spark.options import SparkOptions

Part = Literal["train", "validation", "test"]
EVERYTHING: tuple[Part, ...] = ("train", "validation", "test")

SHARE_OF_VALIDATION = 0.1
SHARE_OF_TEST = 0.1
CLICK_TYPES = ("click", "cart", "purchase")


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model is fitted. LightGBM's own names are in its documentation, "Parameters".

    trees: at most so many; early stopping may find that fewer do. smoothing: how many rows of the
    mean stand beside those of a value (m of the m-estimate; Micci-Barreca, 2001). min_count: in how
    many rows a value must be seen to have a place in a table. folds: of the out-of-fold means;
    with a time column there are twice as many, in its order, each of which sees only those before
    it.
    """

    trees: int = 1_000
    leaves: int = 15
    learning_rate: float = 0.05
    feature_fraction: float = 0.5
    bagging_fraction: float = 0.8
    l2: float = 10.0
    min_rows_of_a_leaf: int = 50
    stop_after: int = 30
    """Trees without a better log loss on the validation part, before it ends early."""
    smoothing: float = 50.0
    min_count: int = 5
    folds: int = 5
    blend: bool = False
    seed: int = 42
    threads: int = 0
    """0: all cores that this process may use."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where rows are not on this machine. workers: tasks of Spark that grow trees together."""

    session: SparkOptions = field(default_factory=SparkOptions)
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Split:
    """Parts of the rows: by time where there is a column of it, the newest being judged on."""

    validation: float = SHARE_OF_VALIDATION
    test: float = SHARE_OF_TEST
    seed: int = 42


@dataclass(frozen=True, slots=True)
class Gate:
    """What a model must reach to be published.

    max_worse: how much larger than the live model's its normalised entropy may be, relatively;
    max_off: how far mean prediction over click-through rate may be from 1.
    """

    max_worse: float = 0.005
    max_off: float = 0.05
    force: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    fit: Fit = field(default_factory=Fit)
    split: Split = field(default_factory=Split)
    gate: Gate = field(default_factory=Gate)
    keep: int = 3
    wait_replicas: int | None = None
    slices: tuple[str, ...] | None = None
    """Columns by whose values metrics are told apart; None: categories of few values."""


_YEAR_10000 = 253_402_300_800_000_000
"""In microseconds."""


def told_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a manifest as people read them."""
    told = dict(settings)
    if type(until := told.get("until")) is int and 0 <= until < _YEAR_10000:
        told["until"] = f"{datetime.fromtimestamp(until / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return told


@dataclass(frozen=True, slots=True)
class ColumnsFile:
    """Where the columns of items or of users are, CSV or Parquet.

    kind: ``items`` or ``users``; columns: None for all but that of the ids; rejects: where rows
    without an id are listed; max_rejects: the share of them to put up with.
    """

    kind: str
    path: Path
    id_column: str
    columns: tuple[str, ...] | None = None
    delimiter: str | None = None
    encoding: str | None = None
    rejects: Path | None = None
    max_rejects: float = 0.01


@dataclass(frozen=True, slots=True)
class Joining:
    """How impressions become examples.

    window_ms: for so long after an impression a click is one on it; click_types: of the events
    that count as clicks; negatives_kept: the share of impressions without a click that stay;
    positions_hidden: the share of rows that do not say their position.
    """

    window_ms: int = 30 * 60_000
    click_types: tuple[str, ...] = CLICK_TYPES
    negatives_kept: float = 1.0
    positions_hidden: float = 0.1
    seed: int = 42
    items: ColumnsFile | None = None
    users: ColumnsFile | None = None
