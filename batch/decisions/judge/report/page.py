"""The report of an evaluation: one HTML file with its plot inside, and no scripts.

The plot is SVG in a plane of WIDTH x HEIGHT: of each policy the mean reward over time.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.contracts.learning.estimates import Sums
from batch.decisions.judge.evaluate import Found
from batch.decisions.judge.replay import Judged
from batch.pages import page

WIDTH, HEIGHT = 640, 240
POINTS = 40
"""So many stretches of time has the plot at most."""
_HUES = 67
"""Degrees between the colours of policies."""


@dataclass(frozen=True, slots=True)
class Line:
    """A policy: its sums, its colour, and its points in the plane."""

    judged: Judged
    sums: Sums
    hue: int
    points: Sequence[tuple[float, float]]


def render(found: Found, asked: str) -> str:
    """The page as HTML; asked: of which logs, and which time."""
    times = sorted({at for each in found.judged for at in each.rows[""]})
    first, last = times[0], times[-1]
    stretch = (last - first) // POINTS + 1
    curves = [_curve(each, first, stretch) for each in found.judged]
    values = [value for curve in curves for value in curve.values()]
    low, high = min(0.0, *values), max(0.0, *values)
    lines = [
        Line(each, each.total(), at * _HUES % 360, _places(curve, low, high))
        for at, (each, curve) in enumerate(zip(found.judged, curves, strict=True))
    ]
    return page("batch.decisions.judge.report").render(
        found=found,
        asked=asked,
        lines=lines,
        width=WIDTH,
        height=HEIGHT,
        ends=[low, high],
        times=[_day(first), _day(last)],
    )


def _curve(judged: Judged, first: int, stretch: int) -> dict[int, float]:
    """By stretch of time the mean reward, where the policy matches anything."""
    merged: defaultdict[int, Sums] = defaultdict(Sums)
    for at, sums in judged.rows[""].items():
        merged[(at - first) // stretch] += sums
    return {at: sums.snips for at, sums in sorted(merged.items()) if sums.w}


def _places(curve: dict[int, float], low: float, high: float) -> list[tuple[float, float]]:
    across, up = WIDTH / POINTS, HEIGHT / ((high - low) or 1.0)
    return [((at + 0.5) * across, HEIGHT - (value - low) * up) for at, value in curve.items()]


def _day(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
