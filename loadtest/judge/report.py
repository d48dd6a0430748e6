"""The report of a run: one table and the verdict in sentences; the figures as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtest.judge.inside import Inside
from loadtest.judge.measured import FILE, Measured, MeasuredStep
from loadtest.slo import digits

Line = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """All that there is to tell of a run."""

    measured: Measured
    url: str
    population: str
    strict: bool
    processes: int
    inside: Inside

    def write(self, folder: Path) -> None:
        """Write the figures as JSON. Raises OSError."""
        said = asdict(self.measured) | {
            "url": self.url,
            "population": self.population,
            "strict": self.strict,
            "processes": self.processes,
            "memory": [asdict(each) for each in self.inside.usage or ()],
        }
        if live := self.inside.published:
            said["published"], said["rolled_back"] = live.published, live.rolled_back
            said["went_live"] = live.went_live
        (folder / FILE).write_text(json.dumps(said, indent=1), encoding="utf-8")

    def text(self, folder: Path) -> str:
        """The result for a terminal: the arrivals, one table, the verdict."""
        run = self.measured
        several = len(run.steps) > 1 or run.scenario in ("capacity", "ramp")
        lines = [
            f"{run.scenario} against {self.url}, {self.population}",
            f"arrivals: {run.arrivals}",
            "",
            *_columns(_steps(run) if several else _limits(run)),
            "",
            *_lists(run),
            *_errors(run),
            *[f"  - {sentence}" for sentence in run.verdict.sentences],
            f"verdict: {'GREEN, the promise holds' if run.verdict.passed else 'RED'}",
            f"report: {folder}",
        ]
        return "\n".join(lines)


def _limits(run: Measured) -> list[Line]:
    rows: list[Line] = [("", "measured", "promised")]
    promised = run.objective
    for step in run.steps:
        rate, limit = step.requests_per_second, promised.requests_per_second
        rows += [
            ("users", f"{step.users:,}", f"{promised.users:,}"),
            ("measured for", f"{step.seconds:,.0f} s", ""),
            ("requests", f"{step.requests:,}", ""),
            ("requests/s", f"{rate:,.1f}", f"{limit:,.1f}"),
            ("median, ms", digits(step.median_ms), digits(promised.median_ms)),
            ("p95, ms", digits(step.p95_ms), digits(promised.p95_ms)),
            ("p99, ms", digits(step.p99_ms), digits(promised.p99_ms)),
            ("failed", f"{step.error_share:.2%}", f"{promised.error_share:.2%}"),
        ]
    return rows


def _steps(run: Measured) -> list[Line]:
    is_open = run.scenario == "ramp"
    head = ("arrivals/s" if is_open else "users", "answers/s", "median, ms", "p95, ms", "p99, ms")
    rows: list[Line] = [(*head, "failed", "")]
    for index, step in enumerate(run.steps):
        rows.append(
            (
                f"{step.offered:,.0f}" if is_open else f"{step.users:,}",
                f"{step.requests_per_second:,.0f}",
                digits(step.median_ms),
                digits(step.p95_ms),
                digits(step.p99_ms),
                f"{step.error_share:.2%}",
                _remark(step, "knee" if index == run.knee else ""),
            )
        )
    return rows


def _remark(step: MeasuredStep, knee: str) -> str:
    return ", ".join(filter(None, (knee, "limits broken" if step.broken else "")))


def _columns(rows: Sequence[Line]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
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


def _lists(run: Measured) -> list[str]:
    if run.scenario != "live" or not run.counts:
        return []
    named = "; ".join(f"{name}: {count:,}" for name, count in sorted(run.counts.items()))
    return [f"of the whole run: {named}", ""]


def _errors(run: Measured) -> list[str]:
    if not run.errors:
        return []
    named = "; ".join(f"{name}: {count:,}" for name, count in list(run.errors.items())[:8])
    return [f"failures of the whole run: {named}", ""]
