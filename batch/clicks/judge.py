"""How good a click model is, beside the live one on the same rows, and whether it may be live."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contracts.clicks import Column
from batch.clicks.measure import Metrics, Predictions, Slice, slices
from batch.clicks.model import Clicked, Floats, Model
from batch.clicks.terms import Gate

FEW_VALUES = 20
MOST_SLICED = 8
"""Columns by whose values metrics are told apart where nobody names any."""

_GAINS = re.compile(r"^split_feature=(.*)\nsplit_gain=(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rival:
    """The live model and the new one on the same rows.

    live: None where it cannot be read, or the rows lack columns that it needs; max_worse: see
    ``Gate``; recorded: the normalised entropy with which the live one was judged, of rows that it
    had not seen then, and its standard error; None where all of these rows are newer than what it
    was trained on.
    """

    generation: str
    live: Metrics | None
    ours: Metrics
    max_worse: float
    recorded: tuple[float, float] | None = None

    @property
    def allowed(self) -> float:
        """The largest normalised entropy of the new model that may pass.

        A live model is flattered by rows that it was trained on, so what was recorded counts where
        it is worse. That is of other rows, and two standard errors of the difference are chance.
        """
        found = [] if self.live is None else [self.live.ne * (1 + self.max_worse)]
        if self.recorded is not None:
            ne, error = self.recorded
            chance = 2 * math.hypot(error, self.ours.ne_error)
            found.append(ne * (1 + self.max_worse) + chance)
        return max(found)


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured on the test rows, of scores as they are served.

    curve, gain: see ``Predictions``; slices: by column, by value; importance: of each column the
    share of what all splits of the trees gained; leaks: columns by their AUC alone; warnings: where
    the gate lets pass more than its terms say.
    """

    model: Metrics
    curve: list[list[float]]
    gain: list[list[float]]
    slices: Mapping[str, Mapping[str, Slice]] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    leaks: Mapping[str, float] = field(default_factory=dict)
    rival: Rival | None = None
    warnings: Sequence[str] = ()

    @property
    def worth(self) -> str:
        """What normalised entropy means, in words."""
        less = "lower" if self.model.ne < 1 else "higher"
        return (
            f"the log loss is {abs(1 - self.model.ne):.1%} {less} than that of predicting the "
            f"click-through rate for every row"
        )

    def entry(self) -> dict[str, Any]:
        """As it stands in a manifest; beside_live: the new model on the rows of the live one."""
        told = asdict(self)
        rival = told.pop("rival")
        live, ours = (rival["live"], rival["ours"]) if rival else (None, None)
        return {**told, "live": live, "beside_live": ours if live else None}


def measured(
    model: Model,
    clicked: Clicked,
    log_odds: Floats,
    kept: float,
    columns: Mapping[str, NDArray[np.object_]],
    leaks: Mapping[str, float],
) -> Quality:
    """Measure a model by its served log-odds of rows.

    kept: the share of rows without a click that are there; columns: by whose values to tell apart.
    """
    found = Predictions.of(clicked, log_odds, kept)
    return Quality(
        model=found.metrics(),
        curve=found.curve(),
        gain=found.gains(),
        slices=slices(clicked, log_odds, columns, kept),
        importance=importance(model),
        leaks=leaks,
    )


def importance(model: Model) -> dict[str, float]:
    """Of each column the share of the gain of all splits, the largest first."""
    columns = _columns_of_rows(model.columns)
    gains = dict.fromkeys((each.name for each in model.columns), 0.0)
    for features, gain in _GAINS.findall(model.trees):
        for feature, amount in zip(map(int, features.split()), map(float, gain.split())):
            gains[columns[feature]] += amount
    total = sum(gains.values()) or 1.0
    return {name: gains[name] / total for name in sorted(gains, key=lambda name: -gains[name])}


def _columns_of_rows(columns: Sequence[Column]) -> list[str]:
    """Which column each number of a row that trees see is made of."""
    numbers = [each.name for each in columns if each.kind == "number"]
    return numbers + [each.name for each in columns if each.kind == "category" for _ in range(2)]


def sliced_by(model: Model) -> list[str]:
    """Categories of few values, to tell metrics apart where nobody names columns."""
    names = [each.name for each in model.columns if each.kind == "category"]
    few = [n for n, table in zip(names, model.tables) if 2 <= len(table.keys) <= FEW_VALUES]
    return few[:MOST_SLICED]


def reasons_against(quality: Quality, gate: Gate) -> list[str]:
    """Give every reason why the model must not be published; none when it may be."""
    model, rival, reasons = quality.model, quality.rival, []
    if not model.ne < 1:  # and so below: NaN passes none of them
        reasons.append(
            f"normalised entropy {model.ne:.4f} is not below 1: the click-through rate alone "
            f"predicts as well"
        )
    if not abs(model.ratio - 1) <= max(gate.max_off, model.chance):
        reasons.append(
            f"mean prediction over click-through rate is {model.ratio:.4f}, further from 1 than "
            f"{gate.max_off:g} (--max-off) and than the {model.chance:.4f} that chance makes of "
            f"{model.clicks:,} clicks{_few(model, gate)}"
        )
    if rival is not None and not rival.ours.ne <= rival.allowed:
        reasons.append(
            f"normalised entropy {rival.ours.ne:.4f} is worse than the live model's: "
            f"{rival.allowed:.4f} is allowed, by {_allowed_by(rival)}"
        )
    return reasons


def _few(model: Metrics, gate: Gate) -> str:
    few = model.chance > gate.max_off
    return ": judge on more of the rows (--test-share), or allow more" if few else ""


def _allowed_by(rival: Rival) -> str:
    worse, live = f"{rival.max_worse:.1%} (--max-worse)", rival.live
    if live is not None and rival.allowed == live.ne * (1 + rival.max_worse):
        return f"its {live.ne:.4f} on these rows and {worse}"
    assert rival.recorded is not None
    return f"its {rival.recorded[0]:.4f} on others that it had not seen, {worse} and chance"


def warnings(model: Metrics, gate: Gate) -> list[str]:
    """Say where few clicks make the gate wider than its terms."""
    if model.chance <= gate.max_off:
        return []
    enough = f"; from {4 / gate.max_off**2:,.0f} on --max-off counts" if gate.max_off else ""
    return [
        f"only {model.clicks:,} clicks were judged: by chance mean prediction over click-through "
        f"rate is off by up to {model.chance:.4f}, and the gate allowed that in place of "
        f"{gate.max_off:g} (--max-off){enough}"
    ]
