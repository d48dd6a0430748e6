"""The quality report of a click model: one HTML file with its plots inside, and no scripts.

Plots are SVG in a plane of SIDE x SIDE, each with its numbers in a table beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.contracts.clicks import Manifest
from batch.clicks.judge import Quality
from batch.clicks.terms import told_of
from batch.pages import page

SIDE = 300
METRICS = {
    "auc": "AUC: how likely a row with a click is predicted above one without",
    "log_loss": "log loss",
    "ne": "normalised entropy: log loss over that of the share of clicks alone; below 1 is better",
    "ece": "calibration error, over 20 bins of equally many rows",
    "ratio": "mean prediction over share of clicks",
    "lift1": "lift of the best 1 % of rows",
    "lift5": "lift of the best 5 % of rows",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to tell of a run.

    verdict: one sentence; manifest: None where nothing was published; before: the models that were
    there, oldest first; settings: of the fit, whether or not it was published; read: what was said
    of the rows and their columns.
    """

    verdict: str
    quality: Quality | None
    manifest: Manifest | None
    before: Sequence[Manifest]
    settings: Mapping[str, Any]
    read: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """Points from 0 to most on both axes, and where they are in the plane."""

    name: str
    across: str
    up: str
    most: float
    points: Sequence[tuple[float, float]]

    @property
    def places(self) -> list[tuple[float, float]]:
        scale = SIDE / self.most
        return [(x * scale, SIDE - y * scale) for x, y in self.points]


def render(found: Found) -> str:
    """The page as HTML."""
    quality = found.quality
    return page("batch.clicks.report").render(
        found=found,
        side=SIDE,
        metrics=METRICS,
        plots=[_curve(quality), _gain(quality)] if quality else [],
        settings=told_of(found.settings),
        models=[*found.before, *([found.manifest] if found.manifest else [])],
    )


def _curve(quality: Quality) -> Plot:
    points = [(predicted, rate) for predicted, rate, _ in quality.curve]
    most = max(max(point) for point in points) or 1.0
    return Plot("Calibration", "mean prediction", "share of clicks", most, points)


def _gain(quality: Quality) -> Plot:
    points = [(share, clicks) for share, clicks in quality.gain]
    return Plot("Gain", "share of rows, best first", "share of all clicks", 1.0, points)
