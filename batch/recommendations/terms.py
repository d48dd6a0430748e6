"""On what terms a model is trained, judged and published.

The command makes these from its options before anything heavy is loaded, so this imports no numpy.
"""

from dataclasses import dataclass
from typing import Any

from app.contracts.events import MAX_RECENT
from app.contracts.recommendations import MAX_HISTORY, MAX_K
from batch.errors import BadSettings

MAX_STORED = MAX_K - MAX_RECENT
"""So that what is popular, which is longer, is a record too."""

HISTORY = 1000
"""How many items of a user's own a live generation stores where nobody says."""

RULES = ("random", "stratified", "chronological")


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The hyper-parameters of implicit feedback; ``engines.implicit_als`` says what they mean."""

    factors: int = 128
    regularization: float = 1.2
    alpha: float = 6.0
    iterations: int = 15
    seed: int = 42
    threads: int = 0


DEFAULTS = Hyperparameters()

ENGINES = ("auto", "als", "knn", "ease", "blend", "spark", "spark-knn")
WEIGHTINGS = ("cosine", "tfidf", "bm25")
EASE_ITEMS = 20_000
EASE_MOST = 8_000
BUDGET = 3.0
BLEND = "als=0.3,knn=0.7"

_OF_ALS = ("factors", "regularization", "alpha", "iterations")
_OF_KNN = ("neighbours", "weighting", "damping", "shrinkage")
_OF_EASE = ("ease_penalty", "ease_items")

_KNOWN_TO = {
    **dict.fromkeys(_OF_ALS, ("auto", "als", "blend", "spark")),
    **dict.fromkeys(_OF_KNN, ("auto", "knn", "blend", "spark-knn")),
    **dict.fromkeys(_OF_EASE, ("auto", "ease", "blend")),
    "blend": ("blend",),
    "tune_budget": ("auto",),
    "als": ("spark",),
    "whole_mb": ("spark",),
}
"""Which engines an option of the model means something to."""


@dataclass(frozen=True, slots=True)
class Model:
    """Which model to train, and where. None: the engine's own default.

    neighbours, weighting, damping, shrinkage: see ``engines.knn``; ease_penalty, ease_items:
    ``engines.ease``; blend: the parts of a blend and their weights; tune_budget: see ``choose``.
    als, feedback, whole_mb: see ``cluster.learners``; Spark's alone. repeat: whether lists may hold
    what their user has had.
    """

    engine: str = "auto"
    factors: int | None = None
    regularization: float | None = None
    alpha: float | None = None
    iterations: int | None = None
    neighbours: int | None = None
    weighting: str | None = None
    damping: float | None = None
    shrinkage: float | None = None
    ease_penalty: float | None = None
    ease_items: int | None = None
    blend: str | None = None
    tune_budget: float | None = None
    seed: int = DEFAULTS.seed
    als: str | None = None
    feedback: str = "implicit"
    whole_mb: int | None = None
    repeat: bool = False

    def __post_init__(self) -> None:
        """Raise BadSettings for an option that means nothing to the engine."""
        for name, engines in _KNOWN_TO.items():
            if getattr(self, name) is not None and self.engine not in engines:
                option = "--" + name.replace("_", "-")
                raise BadSettings(
                    f"{option} means nothing to --engine {self.engine}, but to {', '.join(engines)}"
                )
        if self.feedback == "explicit" and self.engine != "spark":
            raise BadSettings("--feedback explicit needs --engine spark (and its --als mllib)")

    @property
    def on_spark(self) -> bool:
        """Whether a cluster trains it."""
        return self.engine.startswith("spark")

    @property
    def of_als(self) -> dict[str, Any]:
        """The hyper-parameters of ALS that somebody chose."""
        return self._said(*_OF_ALS, "seed")

    @property
    def of_knn(self) -> dict[str, Any]:
        """Those of item neighbours."""
        return self._said(*_OF_KNN)

    @property
    def of_ease(self) -> dict[str, Any]:
        """Those of EASE."""
        return self._said(*_OF_EASE)

    def _said(self, *names: str) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Holdout:
    """How to judge: what share is held out by which rule (see ``split``); 0 judges nothing.

    after: hold out what happened at this moment (epoch seconds) or later, in place of a share.
    """

    split: str = "random"
    share: float = 0.2
    after: float | None = None
    seed: int = 42

    @property
    def judges(self) -> bool:
        """Whether anything is held out."""
        return self.share > 0 or self.after is not None

    @property
    def by_time(self) -> bool:
        """Whether what happened last is held out."""
        return self.after is not None or self.split == "chronological"

    @property
    def settings(self) -> dict[str, str | float | int]:
        """What was held out, as the manifest records it."""
        if self.after is not None:
            return {"after": self.after}
        return {"split": self.split, "holdout": self.share, "holdout_seed": self.seed}


@dataclass(frozen=True, slots=True)
class Gate:
    """What a model must reach to be published, unless forced.

    max_drop, max_shrink: shares of what the live generation has; min_coverage: see ``Metrics``.
    """

    min_ndcg: float = 0.0
    max_drop: float = 0.1
    force: bool = False
    max_shrink: float = 0.5
    min_coverage: float = 0.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How long lists are, how they are judged and gated, and how many generations stay.

    wait_replicas: how many must have a generation before it is live; None for all.
    similar: whether the neighbours of each item are published too. stored: how many items a user's
    list has in a live generation, of which k are served; 0 publishes a plain one. history: how many
    items of their own are stored of a user there, at most.
    """

    k: int = 10
    holdout: Holdout = Holdout()
    gate: Gate = Gate()
    keep: int = 3
    wait_replicas: int | None = None
    similar: bool = True
    stored: int = 0
    history: int = 0

    def __post_init__(self) -> None:
        """Raise BadSettings for a k or share that is none, or when nobody would judge."""
        check_k(self.k)
        if self.stored and not self.k <= self.stored <= MAX_STORED:
            raise BadSettings(
                f"a live generation stores --k ({self.k}) to {MAX_STORED} items of a user, "
                f"not {self.stored} (--stored)"
            )
        if not 0 <= self.history <= (MAX_HISTORY if self.stored else 0):
            raise BadSettings(
                f"a live generation stores up to {MAX_HISTORY} items of a user's own, not "
                f"{self.history} (--history)"
            )
        if self.holdout.after is not None:
            return
        if not 0 <= self.holdout.share < 1:
            raise BadSettings(
                f"--holdout must be 0 or more and less than 1, not {self.holdout.share:g}"
            )
        if not self.holdout.judges and not self.gate.force:
            raise BadSettings("--holdout 0 publishes a model that nobody judged: add --force")


def stored_of(k: int) -> int:
    """How many items a live generation stores of a user where nobody says: room to re-rank."""
    return max(50, min(2 * k, MAX_STORED))


def popular_entries(k: int, stored: int) -> int:
    """How long the popular list is: so long that it stays full without all that somebody did."""
    return min((stored or k) + MAX_RECENT, MAX_K)


def check_k(k: int) -> None:
    """Raise BadSettings for a list length that the contract does not take."""
    if not 1 <= k <= MAX_K:
        raise BadSettings(f"--k must be 1 to {MAX_K}, not {k}")
