"""What a training tells: tables of plain text for people."""

from collections.abc import Mapping, Sequence

from app.contracts.clicks import Manifest
from batch.clicks.judge import Quality
from batch.clicks.measure import Metrics, Slice
from batch.clicks.tune import Tuned
from batch.command.table import table

_SHOWN = 8
"""How many values of a column, and how many columns by importance, a terminal shows."""

NAMES = {
    "auc": "AUC",
    "log_loss": "log loss",
    "ne": "normalised entropy",
    "ece": "calibration error",
    "ratio": "mean prediction / CTR",
    "lift1": "lift at 1 %",
    "lift5": "lift at 5 %",
}


def quality(found: Quality) -> str:
    """The model beside the live one, by slices, and what matters to it."""
    lines = [metrics(found), f"({found.model.rows:,} rows judged, {found.model.clicks:,} clicks)"]
    if found.slices:
        lines += ["", slices(found.slices)]
    some = list(found.importance.items())[:_SHOWN]
    lines += ["", "what matters: " + ", ".join(f"{name} {share:.1%}" for name, share in some)]
    return "\n".join(lines)


def metrics(found: Quality) -> str:
    """A line for each metric: of the model, and of both on the rows of the comparison."""
    rows = [[NAMES[name], number(getattr(found.model, name))] for name in NAMES]
    if found.rival is None:
        return table(["", "model"], rows)
    beside: Sequence[Metrics] = [found.rival.live]
    head = ["", "model", "live model"]
    if found.rival.recorded is None:
        beside, head = [found.rival.live, found.rival.ours], [*head, "model on its rows"]
    for row, name in zip(rows, NAMES, strict=True):
        row += [number(getattr(each, name)) for each in beside]
    return "\n".join([table(head, rows), _compared(found)])


def _compared(found: Quality) -> str:
    rival = found.rival
    assert rival is not None
    if rival.recorded is None:
        told = f"compared on {rival.live.rows:,} rows that are newer than the live model"
    else:
        told = (
            f"the live model may have been trained on these rows; on rows that it had not seen its "
            f"normalised entropy was {rival.recorded[0]:.4f}"
        )
    return f"{told}; up to {rival.allowed:.4f} passes the gate"


def slices(found: Mapping[str, Mapping[str, Slice]]) -> str:
    """By column and value, with the 95 % interval of mean prediction over click-through rate."""
    head = ["slice", "rows", "clicks", "CTR", "AUC", "NE", "prediction / CTR", "95 % interval"]
    rows = []
    for column, values in found.items():
        for value, each in list(values.items())[:_SHOWN]:
            rows.append([f"{column}={value}"[:40], *cells(each)])
    return table(head, rows)


def cells(found: Slice) -> list[str]:
    """A slice as it stands in a table."""
    ends = f"{number(found.low)}-{number(found.high)}"
    measured = [number(each) for each in (found.ctr, found.auc, found.ne, found.ratio)]
    return [f"{found.rows:,}", f"{found.clicks:,}", *measured, ends]


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def trials(found: Tuned) -> str:
    """The settings that were tried, the best first of those that saw the most rows."""
    best = sorted(found.trials, key=lambda trial: (-trial.share, trial.log_loss))[:_SHOWN]
    rows = [
        [
            " ".join(f"{name}={value}" for name, value in each.options.items()),
            *(f"{each.share:.0%}", f"{each.trees:,}", f"{each.log_loss:.5f}"),
            f"{each.seconds:.1f}",
        ]
        for each in best
    ]
    head = ["settings", "rows", "trees", "log loss", "seconds"]
    return table(head, rows)


def published(manifest: Manifest, namespace: str) -> str:
    """What is live now."""
    users = f", columns of {manifest.users:,} users" if manifest.users else ""
    return (
        f"published click model {manifest.generation}: {manifest.trees:,} trees"
        f"{' and a linear member' * ('linear' in manifest.members)}, {len(manifest.columns)} "
        f"columns, {manifest.rows:,} rows{users}, {manifest.body_bytes / 1e6:,.1f} MB, in "
        f"namespace {namespace}"
    )
