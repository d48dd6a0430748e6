"""The report of a run: figures as JSON, one table, the verdict in sentences."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.recording import Recording
from loadtest.scenarios import Scenario
from loadtest.slo import Outcome, broken, figure
from loadtest.verdict import Verdict, held, knee

FIGURES = "figures.json"
POINTS = 120
LATENCIES = (("median, ms", "median_ms"), ("p95, ms", "p95_ms"), ("p99, ms", "p99_ms"))


def figures(
    scenario: Scenario,
    outcomes: Sequence[Outcome],
    verdict: Verdict,
    recording: Recording,
    windows: Sequence[tuple[int, int]],
    generations: Sequence[str],
) -> str:
    """All that was measured, as JSON; times are seconds since the epoch."""
    measured = sum(step.seconds for step in scenario.steps[: len(outcomes)])
    bin_seconds = max(1, measured // POINTS)
    rows = zip(scenario.steps, outcomes, windows, strict=False)
    said = {
        "scenario": scenario.name,
        "arrivals": scenario.arrivals.sentence,
        "objective": asdict(scenario.objective),
        "verdict": asdict(verdict),
        "steps": [
            {
                **asdict(outcome),
                "offered": step.objective.requests_per_second,
                "requests_per_second": round(outcome.requests_per_second, 2),
                "error_share": outcome.error_share,
                "window": window,
                "broken": broken(step.objective, outcome),
            }
            for step, outcome, window in rows
        ],
        "knee": knee(outcomes) if scenario.name == "capacity" and outcomes else None,
        "held": len(held(scenario, outcomes)),
        "errors": dict(recording.errors().most_common()),
        "generations": list(generations),
        "series": recording.series(bin_seconds),
    }
    return json.dumps(said, indent=1)


def load(folder: Path) -> dict[str, Any]:
    """Read the figures of a report. Raises OSError or ValueError."""
    found = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
    if not isinstance(found, dict) or "series" not in found:
        raise ValueError(f"{folder / FIGURES} holds no figures of a run")
    return found


def text(found: dict[str, Any], folder: Path) -> str:
    """The result for a terminal: the arrivals, one table, the verdict."""
    several = len(found["steps"]) > 1 or found["scenario"] in ("capacity", "ramp")
    table = _steps(found) if several else _limits(found)
    verdict = found["verdict"]
    lines = [
        f"{found['scenario']} against {found['url']}, {found['population']}",
        f"arrivals: {found['arrivals']}",
        "",
        *_columns(table),
        "",
        *_errors(found),
        *[f"  - {sentence}" for sentence in verdict["sentences"]],
        f"verdict: {'GREEN, the promise holds' if verdict['passed'] else 'RED'}",
        f"report: {folder}",
    ]
    return "\n".join(lines)


def _limits(found: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("", "measured", "promised")]
    promised = found["objective"]
    for step in found["steps"]:
        rows += [
            ("users", f"{step['users']:,}", f"{promised['users']:,}"),
            ("measured for", f"{step['seconds']:,.0f} s", ""),
            ("requests", f"{step['requests']:,}", ""),
            (
                "requests/s",
                f"{step['requests_per_second']:,.1f}",
                f"{promised['requests_per_second']:,.1f}",
            ),
            *[(name, figure(step[key]), figure(promised[key])) for name, key in LATENCIES],
            ("failed", f"{step['error_share']:.2%}", f"{promised['error_share']:.2%}"),
        ]
    return rows


def _steps(found: dict[str, Any]) -> list[tuple[str, ...]]:
    is_open = found["scenario"] == "ramp"
    rows: list[tuple[str, ...]] = [
        ("arrivals/s" if is_open else "users", "answers/s", "median, ms", "p95, ms", "p99, ms")
        + ("failed", "")
    ]
    for index, step in enumerate(found["steps"]):
        rows.append(
            (
                f"{step['offered']:,.0f}" if is_open else f"{step['users']:,}",
                f"{step['requests_per_second']:,.0f}",
                figure(step["median_ms"]),
                figure(step["p95_ms"]),
                figure(step["p99_ms"]),
                f"{step['error_share']:.2%}",
                _remark(found, index, step),
            )
        )
    return rows


def _remark(found: dict[str, Any], index: int, step: dict[str, Any]) -> str:
    said = ["knee"] if index == found["knee"] else []
    return ", ".join(said + (["limits broken"] if step["broken"] else []))


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            (
                cell.ljust(width)
                if column in (0, len(row) - 1) and not cell[:1].isdigit()
                else cell.rjust(width)
            )
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _errors(found: dict[str, Any]) -> list[str]:
    if not found["errors"]:
        return []
    named = "; ".join(f"{name}: {count:,}" for name, count in list(found["errors"].items())[:8])
    return [f"failures of the whole run: {named}", ""]
