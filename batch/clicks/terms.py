"""On what terms a click model is read, trained, judged and published.

The command makes these from its options before anything heavy is loaded, so this imports no numpy.
"""

from dataclasses import dataclass, field

SHARE_OF_VALIDATION = 0.1
SHARE_OF_TEST = 0.1


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model is fitted. LightGBM's own names are in its documentation, "Parameters".

    trees: at most so many; early stopping may find that fewer do. smoothing: how many rows of the
    mean stand beside those of a value (m of the m-estimate; Micci-Barreca, 2001). min_count: in how
    many rows a value must be seen to have a place in a table. folds: of the out-of-fold means;
    with a time column, blocks of time, each of which sees only those before it.
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
    wait_replicas: int = 0
    slices: tuple[str, ...] | None = None
    """Columns by whose values metrics are told apart; None: categories of few values."""
