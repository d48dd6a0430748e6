"""What a training tells: tables of plain text for people."""

from collections.abc import Mapping, Sequence

from app.contracts.clicks import Manifest
from batch.clicks.judge import Quality, Rival
from batch.clicks.measure import Metrics, Slice
from batch.clicks.tune import Tuned
from batch.command.clicks.models import NAMES
from batch.command.output.table import table

_SHOWN = 8
"""How many slices, settings, and columns by importance a terminal shows."""


def quality(found: Quality) -> str:
    """The model beside the live one, by slices, and what matters to it."""
    lines = [metrics(found), f"({found.model.rows:,} rows judged, {found.model.clicks:,} clicks)"]
    lines.append(found.worth)
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
    if found.rival.live is None:
        return "\n".join([table(["", "model"], rows), _compared(found.rival)])
    beside: Sequence[Metrics] = [found.rival.live]
    head = ["", "model", "live model"]
    if found.rival.ours.rows < found.model.rows:
        beside = [found.rival.live, found.rival.ours]
        head = ["", "model", "live model on newer rows", "model on newer rows"]
    for row, name in zip(rows, NAMES, strict=True):
        row += [number(getattr(each, name)) for each in beside]
    return "\n".join([table(head, rows), _compared(found.rival)])


def _compared(rival: Rival) -> str:
    return f"{_how(rival)}; up to {rival.allowed:.4f} passes the gate"


def _how(rival: Rival) -> str:
    if rival.recorded is None:
        return f"compared on {rival.ours.rows:,} rows that are newer than the live model"
    seen = "may have been trained on" if rival.live else "cannot be compared on"
    return (
        f"the live model {seen} these rows; on rows that it had not seen its normalised entropy "
        f"was {rival.recorded[0]:.4f}"
    )


def slices(found: Mapping[str, Mapping[str, Slice]]) -> str:
    """Those whose 95 % interval of mean prediction over click-through rate is beside 1."""
    every = [(f"{c}={v or '(missing)'}", each) for c, of in found.items() for v, each in of.items()]
    off = [(name, each) for name, each in every if each.is_off]
    told = (
        f"{len(off)} of {len(every)} slices ({', '.join(found)}) are predicted off, by intervals "
        f"of 95 %; chance alone makes about {len(every) / 20:.0f}"
    )
    largest = sorted(off, key=lambda named: -named[1].rows)[:_SHOWN]
    head = ["slice", "rows", "clicks", "CTR", "AUC", "NE", "prediction / CTR", "95 % interval"]
    rows = [[name[:40], *cells(each)] for name, each in largest]
    return "\n".join([told, table(head, rows)] if rows else [told])


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
