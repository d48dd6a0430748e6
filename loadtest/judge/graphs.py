"""The graphs of a run, or of several over each other, as PNG: latency above throughput."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from loadtest.api import CannotRun
from loadtest.judge.inside import MIB, Usage
from loadtest.judge.measured import Measured, MeasuredStep
from loadtest.judge.recording import Moment
from loadtest.judge.report import Result
from loadtest.slo import Objective

COLOURS = ("#0b5fa5", "#2a8a3e", "#e07b00", "#c62828", "#7b3fa0", "#00838f")
_, GREEN, _, RED, PURPLE, _ = COLOURS
GREY = "#777777"
SECONDS = "time since the start of the measurement (s)"
USERS = "concurrent users, none of them waiting (log scale)"
ARRIVALS = "arrivals offered (requests/s, log scale)"

Latency = Callable[[Moment | MeasuredStep | Objective], float]
PERCENTILES: Sequence[tuple[str, str, Latency]] = (
    ("median", "-", lambda of: of.median_ms),
    ("p95", "--", lambda of: of.p95_ms),
    ("p99", "-.", lambda of: of.p99_ms),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run measured at places on an axis, which is time or load."""

    axis: str
    places: Sequence[float]
    points: Sequence[Moment | MeasuredStep]
    rates: Sequence[float]
    """Good answers per second."""


def _over_time(run: Measured) -> Curve:
    start = _start(run)
    rates = [each.requests_per_second - each.errors_per_second for each in run.series]
    return Curve(SECONDS, [each.at - start for each in run.series], run.series, rates)


def _over_load(run: Measured) -> Curve:
    axis, places = USERS, [float(step.users) for step in run.steps]
    if run.scenario == "ramp":
        axis, places = ARRIVALS, [step.offered for step in run.steps]
    return Curve(axis, places, run.steps, [step.requests_per_second for step in run.steps])


def _start(run: Measured) -> float:
    """When the first step was measured from; before it the users start."""
    if run.steps:
        return run.steps[0].window[0]
    return run.series[0].at if run.series else 0.0


def draw(result: Result, folder: Path) -> None:
    """Draw all that a run can show."""
    run = result.measured
    if run.series:
        with _panels(folder / "over-time.png", 2, result) as panels:
            _chart(panels, {"": _over_time(run)})
            _promise(panels, run.objective, run.scenario)
            _mark_times(panels, result)
    if run.scenario in ("capacity", "ramp") and run.steps:
        with _panels(folder / "over-load.png", 2, result) as panels:
            _chart(panels, {"": _over_load(run)})
            _promise(panels, run.objective, run.scenario)
            _mark_load(panels, run)
    if usage := result.inside.usage:
        with _panels(folder / "memory-over-time.png", 1, result) as panels:
            _memory(panels[0], usage, _start(run))
            _mark_times(panels, result)


def compare(runs: Mapping[str, Measured], out: Path) -> None:
    """Lay runs over each other: over users when all of them are ``capacity``, else over time.

    Raises CannotRun when one of them measured nothing.
    """
    over_users = all(run.scenario == "capacity" for run in runs.values())
    curves = {name: (_over_load if over_users else _over_time)(run) for name, run in runs.items()}
    for name, curve in curves.items():
        if not curve.points:
            raise CannotRun(f"the report {name} holds nothing that was measured")
    with _panels(out, 2) as panels:
        _chart(panels, curves)


def _chart(panels: Sequence[Axes], curves: Mapping[str, Curve]) -> None:
    """Latency above throughput: a colour for each percentile of one run, or for each run."""
    above, below = panels
    axis, is_single = [*curves.values()][0].axis, len(curves) == 1
    marker = None if axis == SECONDS else "o"
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        label = f"{name} good answers".strip()
        below.plot(curve.places, curve.rates, marker=marker, color=colour, label=label)
        for place, (percentile, line, of) in enumerate(PERCENTILES):
            values, label = [of(point) for point in curve.points], f"{name} {percentile}".strip()
            hue = COLOURS[place] if is_single else colour
            above.plot(curve.places, values, line, marker=marker, color=hue, label=label)
    above.set(title="latency", yscale="log", ylabel="latency (ms, log scale)")
    above.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    above.yaxis.set_major_formatter("{x:g}")
    above.yaxis.set_minor_formatter(NullFormatter())
    below.set(title="throughput", ylabel="throughput (requests/s)", xlabel=axis)
    below.yaxis.set_major_formatter("{x:,g}")
    below.set_ylim(bottom=0)
    if axis != SECONDS:
        ticks = sorted({place for curve in curves.values() for place in curve.places})
        below.set_xscale("log")
        below.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        below.minorticks_off()


def _promise(panels: Sequence[Axes], objective: Objective, scenario: str) -> None:
    above, below = panels
    for colour, (percentile, _, of) in zip(COLOURS, PERCENTILES, strict=False):
        label = f"{percentile} promised: {of(objective):g} ms"
        above.axhline(of(objective), color=colour, linestyle=":", label=label)
    rate = objective.requests_per_second
    if rate and scenario != "ramp":
        below.axhline(rate, color=GREY, linestyle=":", label=f"promised: {rate:,.0f}/s")


def _memory(axes: Axes, usage: Sequence[Usage], start: float) -> None:
    pids = sorted({pid for each in usage for pid in each.workers}, key=int)
    for number, pid in enumerate(pids):
        seen = {each.at - start: each.workers[pid] / MIB for each in usage if pid in each.workers}
        label, colour = f"API worker {number + 1} (resident)", COLOURS[number % len(COLOURS)]
        axes.plot([*seen], [*seen.values()], color=colour, label=label)
    cache = [each.cache_bytes / MIB for each in usage]
    axes.plot([each.at - start for each in usage], cache, color=GREY, label="cache (used)")
    axes.set(title="memory", ylabel="memory (MiB)", xlabel=SECONDS)
    axes.set_ylim(bottom=0)


def _mark_times(panels: Sequence[Axes], result: Result) -> None:
    """Shade what is not measured (users start and settle); mark the changes of generation."""
    run, published = result.measured, result.inside.published
    if not run.steps:
        return
    start, end = _start(run), run.steps[-1].window[1]
    for axes in panels:
        axes.margins(x=0.01)
        left, right = axes.get_xlim()
        axes.set_xlim(left, right)
        for low, high in ((left, 0.0), (end - start, right)):
            if high > low:
                axes.axvspan(low, high, color=GREY, alpha=0.15, linewidth=0)
        for number, at in enumerate(published.went_live if published else ()):
            label = None if number else "generation goes live"
            axes.axvline(at - start, color=PURPLE, linestyle="--", alpha=0.6, label=label)


def _mark_load(panels: Sequence[Axes], run: Measured) -> None:
    """Mark the knee, or where the promise broke."""
    if run.knee is not None:
        bend = run.steps[run.knee]
        at = float(bend.users)
        label = f"knee: {bend.users} users,\n{bend.requests_per_second:,.0f} answers/s"
    elif run.scenario == "ramp" and run.held < len(run.steps):
        at = run.steps[run.held].offered
        label = f"broke at {at:,.0f} arrivals/s"
    else:
        return
    for axes in panels:
        axes.axvline(at, color=RED, linestyle="--", label=label)


@contextlib.contextmanager
def _panels(path: Path, count: int, result: Result | None = None) -> Iterator[Sequence[Axes]]:
    figure = Figure(figsize=(11, 1 + 4 * count), layout="tight")
    panels: list[Axes] = [*figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]]
    yield panels
    for axes in panels:
        axes.grid(True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    if result:  # what a graph that is passed around must say of itself
        run = result.measured
        word, colour = ("GREEN", GREEN) if run.verdict.passed else ("RED", RED)
        panels[0].set_title(f"{run.scenario}: verdict {word}", loc="right", color=colour)
        figure.text(0.01, 0.003, f"{result.url}; arrivals {run.arrivals}", size=6.5, color=GREY)
    figure.savefig(path, dpi=120)
