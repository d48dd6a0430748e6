"""The quality report of a refresh: one HTML file with its plots inside, for whoever asks how good.

Plots are SVG in a plane of WIDTH x HEIGHT, each with its numbers in a table beside it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.contracts.recommendations import Manifest
from batch.interactions.sources.files import write_whole
from batch.pages import page
from batch.recommendations.judge.evaluate import PER_USER, Metrics
from batch.recommendations.pipeline import Quality
from batch.recommendations.report.sample import Sample

WIDTH, HEIGHT = 640, 200
BARS = 20

Value = tuple[str, float, Sequence[float]]
"""A label, what was measured, and the ends of its interval."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to tell of a run.

    verdict: one sentence; manifest: None where nothing was published; before: the generations that
    were there, oldest first.
    """

    verdict: str
    quality: Quality | None
    manifest: Manifest | None
    sample: Sample
    before: Sequence[Manifest]


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with its interval, and where they are in the plot."""

    label: str
    value: float
    low: float
    high: float
    x: float
    x_low: float
    x_high: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram: from a score to a score, and how high it is in the plot."""

    low: float
    high: float
    count: int
    height: float


def write(path: Path, found: Found) -> None:
    """Write the page in one step. Raises OSError."""
    write_whole(path, render(found))


def render(found: Found) -> str:
    """The page as HTML."""
    quality, sample = found.quality, found.sample
    return page("batch.recommendations.report").render(
        found=found,
        width=WIDTH,
        height=HEIGHT,
        metrics=_metrics(quality) if quality else [],
        slices=_slices(quality) if quality else [],
        history=_history([*found.before, *([found.manifest] if found.manifest else [])]),
        histogram=_histogram(sample),
        personal=sum(each.is_personal for each in sample.lists),
        reach=[(_name(sample, item), count) for item, count in sample.reach()],
        examples=_examples(sample),
    )


def _metrics(quality: Quality) -> list[tuple[str, list[Dot]]]:
    """Of each metric the dots of the model and of what is popular, in one scale."""
    both = _both(quality)
    return [
        (
            f"{name}@{quality.model.k}",
            _dots([(label, getattr(each, name), each.intervals[name]) for label, each in both]),
        )
        for name in PER_USER
    ]


def _both(quality: Quality) -> list[tuple[str, Metrics]]:
    return [("model", quality.model), ("most popular", quality.popular)]


def _slices(quality: Quality) -> list[tuple[str, int, list[Dot]]]:
    """Of users who had so many items: how many they are, and the dots of their nDCG."""
    names = quality.model.slices
    found = [(label, each.slices[name]) for name in names for label, each in _both(quality)]
    dots = _dots([(label, part.ndcg, part.interval) for label, part in found])
    pairs = zip(names, dots[::2], dots[1::2], strict=True)
    return [(name, names[name].users, [ours, popular]) for name, ours, popular in pairs]


def _history(manifests: Iterable[Manifest]) -> list[Dot]:
    """The nDCG of each generation that was judged, oldest first."""
    values = []
    for each in manifests:
        ndcg, model = each.measured("ndcg"), each.metrics.get("model", {})
        if ndcg is not None:
            interval = model.get("intervals", {}).get("ndcg", (ndcg, ndcg))
            values.append((each.generation, ndcg, interval))
    return _dots(values)


def _dots(values: Sequence[Value]) -> list[Dot]:
    """Values with their intervals in one scale that begins at 0."""
    most = max((high for *_, (_, high) in values), default=0) or 1
    scale = WIDTH / most
    return [
        Dot(label, value, low, high, value * scale, low * scale, high * scale)
        for label, value, (low, high) in values
    ]


def _histogram(sample: Sample) -> list[Bar]:
    """How the scores of all entries are spread."""
    scores = [score for each in sample.lists if each.is_personal for _, score in each.entries]
    if not scores:
        return []
    counts, bounds = np.histogram(scores, BARS)
    heights = counts / counts.max() * HEIGHT
    rows = zip(bounds[:-1].tolist(), bounds[1:].tolist(), counts.tolist(), heights.tolist())
    return [Bar(low, high, count, height) for low, high, count, height in rows]


def _examples(sample: Sample) -> list[tuple[str, list[tuple[str, float]]]]:
    return [
        (each.user, [(_name(sample, item), score) for item, score in each.entries])
        for each in sample.examples()
    ]


def _name(sample: Sample, item: int) -> str:
    """The id of an item, and the first text that its document has beside it."""
    members = json.loads(sample.documents[item])
    texts = [value for name, value in members.items() if name != "item" and type(value) is str]
    return " · ".join([members["item"], *texts[:1]])
