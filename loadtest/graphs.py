"""The graphs of a run, as PNG: readable at a glance, axes with units, the objective as a line."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402 - the backend is chosen first
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

from loadtest.api import CannotRun  # noqa: E402

BLUE, ORANGE, GREEN, RED, GREY = "#0b5fa5", "#e07b00", "#2a8a3e", "#c62828", "#777777"
PERCENTILES = {"p99_ms": ("p99", ORANGE), "p95_ms": ("p95", GREEN), "median_ms": ("median", BLUE)}
PURPLE = "#7b3fa0"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, "#00838f")
MIB = 2**20
LATENCY = "latency (ms, log scale)"


def draw(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw all that the figures of a run can show."""
    graphs = []
    if found["series"]:
        graphs += [
            _save(_latency_over_time(found), folder / "latency-over-time.png"),
            _save(_throughput_over_time(found), folder / "throughput-over-time.png"),
        ]
    if found["scenario"] in ("capacity", "ramp") and found["steps"]:
        graphs += [
            _save(_latency_over_load(found), folder / "latency-over-load.png"),
            _save(_throughput_over_load(found), folder / "throughput-over-load.png"),
        ]
    if found.get("memory"):
        graphs.append(_save(_memory(found), folder / "memory-over-time.png"))
    return graphs


def compare(runs: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Lay runs over each other: over users when all of them are ``capacity``, else over time.

    Raises CannotRun when one of them measured nothing.
    """
    over_users = all(found.get("scenario") == "capacity" for found in runs.values())
    for name, found in runs.items():
        if not found.get("steps" if over_users else "series"):
            raise CannotRun(f"the report {name} holds nothing that was measured")
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(11, 9), sharex=True)
    for (name, found), colour in zip(runs.items(), COLOURS * len(runs), strict=False):
        if over_users:
            _lay_over_users(above, below, name, found, colour)
        else:
            _lay_over_time(above, below, name, found, colour)
    if over_users:
        _user_axis(below, max(step["users"] for run in runs.values() for step in run["steps"]))
    else:
        below.set_xlabel("time since the start of the measurement (s)")
    _latency_axis(above)
    above.set_xlabel("")
    _throughput_axis(below)
    below.set_ylim(bottom=0)
    _finish(above, "Latency: median (solid) and p95 (dashed)")
    _finish(below, "Throughput")
    _save(figure, out)


def _lay_over_users(
    above: Axes, below: Axes, name: str, found: Mapping[str, Any], colour: str
) -> None:
    users = [step["users"] for step in found["steps"]]
    for key, style in (("median_ms", "o-"), ("p95_ms", "o--")):
        label = name if style == "o-" else None
        above.plot(users, [step[key] for step in found["steps"]], style, color=colour, label=label)
    rates = [step["requests_per_second"] for step in found["steps"]]
    below.plot(users, rates, "o-", color=colour, label=name)


def _lay_over_time(
    above: Axes, below: Axes, name: str, found: Mapping[str, Any], colour: str
) -> None:
    times = _times(found)
    above.plot(times, _column(found, "median_ms"), color=colour, label=name)
    above.plot(times, _column(found, "p95_ms"), "--", color=colour, alpha=0.7)
    below.plot(times, _column(found, "requests_per_second"), color=colour, label=name)


def _latency_over_time(found: Mapping[str, Any]) -> Figure:
    figure, axes = pyplot.subplots(figsize=(11, 5))
    for key, (label, colour) in PERCENTILES.items():
        axes.plot(_times(found), _column(found, key), color=colour, label=label, linewidth=1.8)
        _promise(axes, found["objective"][key], colour, f"{label} promised: ")
    _latency_axis(axes)
    _time_axis(axes, found)
    _finish(axes, f"{found['scenario']}: latency over time", found)
    return figure


def _throughput_over_time(found: Mapping[str, Any]) -> Figure:
    figure, axes = pyplot.subplots(figsize=(11, 5))
    times, errors = _times(found), _column(found, "errors_per_second")
    axes.plot(times, _column(found, "requests_per_second"), color=BLUE, label="answers")
    if any(errors):
        axes.fill_between(times, errors, color=RED, alpha=0.5, label="failed of these")
    if found["objective"]["requests_per_second"] and found["scenario"] != "ramp":
        rate = found["objective"]["requests_per_second"]
        axes.axhline(rate, color=GREY, linestyle=":", label=f"promised: {rate:,.0f}/s")
    axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], 1) * 1.15)
    _throughput_axis(axes)
    _time_axis(axes, found)
    _finish(axes, f"{found['scenario']}: throughput over time", found)
    return figure


def _latency_over_load(found: Mapping[str, Any]) -> Figure:
    figure, axes = pyplot.subplots(figsize=(11, 5))
    load = _load(found)
    for key, (label, colour) in PERCENTILES.items():
        values = [step[key] for step in found["steps"]]
        axes.plot(load, values, "o-", color=colour, label=label)
        _promise(axes, found["objective"][key], colour, f"{label} promised: ")
    _latency_axis(axes)
    _load_axis(axes, found)
    _finish(axes, f"{found['scenario']}: latency against {_load_name(found)}", found)
    return figure


def _throughput_over_load(found: Mapping[str, Any]) -> Figure:
    figure, axes = pyplot.subplots(figsize=(11, 5))
    load = _load(found)
    rates = [step["requests_per_second"] for step in found["steps"]]
    axes.plot(load, rates, "o-", color=BLUE, label="good answers")
    for at, rate in zip(load, rates, strict=True):
        axes.annotate(f"{rate:,.0f}", (at, rate), (0, 8), textcoords="offset points", ha="center")
    axes.set_ylim(bottom=0, top=max(*rates, 1) * 1.2)
    _throughput_axis(axes)
    _load_axis(axes, found)
    _finish(axes, f"{found['scenario']}: throughput against {_load_name(found)}", found)
    return figure


def _memory(found: Mapping[str, Any]) -> Figure:
    figure, axes = pyplot.subplots(figsize=(11, 5))
    samples = found["memory"]
    start = _start(found)
    pids = sorted({pid for sample in samples for pid in sample["workers"]}, key=int)
    for number, (pid, colour) in enumerate(zip(pids, COLOURS * len(pids), strict=False), start=1):
        seen = [sample for sample in samples if pid in sample["workers"]]
        times = [sample["at"] - start for sample in seen]
        memory = [sample["workers"][pid] / MIB for sample in seen]
        axes.plot(times, memory, color=colour, label=f"API worker {number} (resident)")
    cache = [sample["cache_bytes"] / MIB for sample in samples]
    axes.plot([sample["at"] - start for sample in samples], cache, color=GREY, label="cache (used)")
    axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], 1) * 1.25)
    axes.set_ylabel("memory (MiB)")
    _time_axis(axes, found)
    _finish(axes, f"{found['scenario']}: memory over time", found)
    return figure


def _start(found: Mapping[str, Any]) -> float:
    """When the first step was measured from; before it the users start."""
    if found["steps"]:
        return float(found["steps"][0]["window"][0])
    return float(found["series"][0]["at"]) if found["series"] else 0.0


def _times(found: Mapping[str, Any]) -> list[float]:
    start = _start(found)
    return [row["at"] - start for row in found["series"]]


def _column(found: Mapping[str, Any], key: str) -> list[float]:
    return [row[key] for row in found["series"]]


def _load(found: Mapping[str, Any]) -> list[float]:
    key = "offered" if found["scenario"] == "ramp" else "users"
    return [step[key] for step in found["steps"]]


def _load_name(found: Mapping[str, Any]) -> str:
    return "arrivals" if found["scenario"] == "ramp" else "users"


def _promise(axes: Axes, limit_ms: float, colour: str, label: str) -> None:
    axes.axhline(limit_ms, color=colour, linestyle=":", label=f"{label}{limit_ms:g} ms")


def _latency_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.set_ylabel(LATENCY)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _throughput_axis(axes: Axes) -> None:
    axes.set_ylabel("throughput (requests/s)")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _time_axis(axes: Axes, found: Mapping[str, Any]) -> None:
    """Time in seconds; what is not measured (users start and settle) is shaded."""
    axes.set_xlabel("time since the start of the measurement (s)")
    if not found["steps"]:
        return
    axes.margins(x=0.01)
    start, end = _start(found), found["steps"][-1]["window"][1]
    left, right = axes.get_xlim()
    axes.set_xlim(left, right)
    for low, high in ((left, 0.0), (end - start, right)):
        if high > low:
            axes.axvspan(low, high, color=GREY, alpha=0.15, linewidth=0)
    label: str | None = "generation goes live"
    for at in found.get("went_live", []):
        axes.axvline(at - start, color=PURPLE, linestyle="--", alpha=0.6, label=label)
        label = None


def _load_axis(axes: Axes, found: Mapping[str, Any]) -> None:
    if found["scenario"] == "ramp":
        _arrival_axis(axes, found)
        return
    _user_axis(axes, max(step["users"] for step in found["steps"]))
    if found["knee"] is not None:
        bend = found["steps"][found["knee"]]
        label = f"knee: {bend['users']} users,\n{bend['requests_per_second']:,.0f} answers/s"
        axes.axvline(bend["users"], color=RED, linestyle="--", label=label)


def _arrival_axis(axes: Axes, found: Mapping[str, Any]) -> None:
    axes.set_xlabel("arrivals offered (requests/s, log scale)")
    axes.set_xscale("log")
    load = _load(found)
    ticks = [tick for tick in (50, 100, 200, 500, 1000, 2000, 5000, 10_000) if tick <= load[-1]]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    if found["held"] < len(load):
        at = load[found["held"]]
        axes.axvline(at, color=RED, linestyle="--", label=f"broke at {at:,.0f} arrivals/s")


def _user_axis(axes: Axes, most: int) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlabel("concurrent users, none of them waiting (log scale)")
    ticks = [2**power for power in range(most.bit_length()) if 2**power < most / 1.3] + [most]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()


def _finish(axes: Axes, title: str, found: Mapping[str, Any] | None = None) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    if found is not None:
        passed = found["verdict"]["passed"]
        word, colour = ("GREEN", GREEN) if passed else ("RED", RED)
        axes.set_title(f"verdict: {word}", loc="right", color=colour, fontweight="bold")
        _footer(axes, found)
    axes.grid(True, alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)


def _footer(axes: Axes, found: Mapping[str, Any]) -> None:
    """What a graph that is passed around must say of itself."""
    said = textwrap.fill(f"{found['url']}; arrivals {found['arrivals']}", 180)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.supxlabel(said, fontsize=7.5, color=GREY, x=0.01, ha="left")


def _save(figure: Figure, path: Path) -> Path:
    try:
        figure.tight_layout()
        figure.savefig(path, dpi=120)
    finally:
        pyplot.close(figure)
    return path
