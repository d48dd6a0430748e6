"""The members of a model together: trees, and with ``Fit.blend`` a linear one."""

from dataclasses import replace
from typing import Any

from batch.clicks.fit import linear, trees
from batch.clicks.fit.calibrate import losses
from batch.clicks.fit.matrix import Encoded
from batch.clicks.model import Floats, Model
from batch.clicks.terms import Fit
from batch.progress import Progress


def fitted(
    model: Model,
    rows: Encoded,
    held: Encoded | None,
    fit: Fit,
    progress: Progress,
    **extra: Any,
) -> Model:
    """The same model with members that learnt from rows that its tables have encoded.

    held: rows at which trees stop, and without whose approval the linear member is left away;
    extra: more of LightGBM's parameters.
    Raises NotGoodEnough when trees cannot be grown.
    """
    with progress.step("grow trees", fit.trees, "trees") as advance:
        judged = (held.matrix, held.clicked) if held else None
        grown = trees.fit(rows.matrix, rows.clicked, fit, advance, judged, **extra)
    alone = replace(model, trees=grown.text, tree_count=grown.count)
    if not fit.blend:
        return alone
    with progress.step("fit the linear member", 1, "fits") as advance:
        member, tables = linear.fit(rows, model.tables)
        advance(1)
    both = replace(alone, linear=member, tables=tables)
    return both if held is None or _log_loss(both, held) < _log_loss(alone, held) else alone


def log_odds(model: Model, rows: Encoded) -> Floats:
    """(rows,), the mean of what the members say."""
    found = trees.log_odds(model.trees, rows.matrix)
    if model.linear is None:
        return found
    return (found + linear.log_odds(model.linear, model.tables, rows)) / 2


def _log_loss(model: Model, rows: Encoded) -> float:
    """The mean over rows, before calibration."""
    return float(losses(log_odds(model, rows), rows.clicked).mean())
