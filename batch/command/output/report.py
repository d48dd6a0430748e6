"""What a run tells: tables of plain text for people, the same as JSON objects for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from batch.command.output.table import table
from batch.interactions.counting import LEFT_OUT
from batch.interactions.items import Items
from batch.interactions.pairs import Interactions, Report
from batch.recommendations.choose import Tried
from batch.recommendations.judge.evaluate import PER_USER, Metrics
from batch.recommendations.judge.ratings import RatingMetrics
from batch.recommendations.pipeline import Quality

SHOWN = 10
"""How many columns that are not used are named."""


def quality(measured: Quality) -> str:
    """The model beside most-popular, with the 95 % intervals over users."""
    both = zip(_rows(measured.model), _rows(measured.popular), strict=True)
    head = ["", "model", "95 % interval", "most popular", "95 % interval"]
    lines = [table(head, [[*ours, *theirs[1:]] for ours, theirs in both])]
    lines.append(f"({measured.model.users:,} users judged)")
    if measured.ratings is not None:
        lines.append(_ratings(measured.ratings))
    return "\n".join([*compared(measured.tried), *lines])


def compared(tried: Sequence[Tried]) -> list[str]:
    """What an engine was chosen from; nothing where it was not."""
    if not tried:
        return []
    rows = [
        [
            "*" * each.chosen,
            each.engine,
            f"{each.ndcg:.4f}",
            ends(each.interval),
            f"{each.coverage:.3f}",
            f"{each.work:.2f}",
            each.shown,
        ]
        for each in tried
    ]
    head = ["", "engine", "nDCG", "95 % interval", "coverage", "fits of als", "settings"]
    return ["engines compared on a part of what is trained on:", table(head, rows), ""]


def _rows(found: Metrics) -> list[list[str]]:
    """Of each metric its name, its value and its interval."""
    names = {"ndcg": "nDCG", "map": "MAP", "precision": "precision", "recall": "recall"}
    rows = [
        _row(f"{names[name]}@{found.k}", getattr(found, name), found.intervals[name])
        for name in PER_USER
    ]
    for name in ("coverage", "popularity", "novelty", "diversity"):
        rows.append(_row(name, getattr(found, name)))
    rows.append(["items that make half", f"{found.half:,}", ""])
    for name, users in found.slices.items():
        rows.append(_row(f"nDCG@{found.k}, {name} known", users.ndcg, users.interval))
    for name, part in found.items.items():
        rows.append(_row(f"{name}, share", part.share))
        rows.append(_row(f"{name}, recall@{found.k}", part.recall, part.interval))
    return rows


def _row(name: str, value: float, interval: Sequence[float] = ()) -> list[str]:
    return [name, f"{value:.4f}", ends(interval)]


def ends(interval: Sequence[float]) -> str:
    """An interval; nothing for none."""
    return "-".join(f"{end:.4f}" for end in interval)


def _ratings(found: RatingMetrics) -> str:
    return (
        f"predicted ratings of {found.pairs:,} pairs: RMSE {found.rmse:.4f}, MAE {found.mae:.4f}, "
        f"R2 {found.r2:.4f}, explained variance {found.explained_variance:.4f}"
    )


def interactions(found: Report, users: int, items: int) -> str:
    """What the input held and what became of it."""
    return (
        f"{found.rows:,} rows in {found.files:,} file(s): {found.pairs:,} pairs of "
        f"{users:,} users and {items:,} items; "
        f"{found.merged:,} merged, {found.zero:,} of weight 0 left out, "
        f"{_rejected(found.rejected)}{_left_out(found)}"
    )


def _left_out(found: Report) -> str:
    told = [f"left out: {rows:,} rows {LEFT_OUT[why]}" for why, rows in found.left_out.items()]
    for name, ids in found.unknown.items():
        some = ", ".join(map(repr, sorted(ids)[:3]))
        told += [f"--{name.replace('_', '-')} has {len(ids):,} ids without a row: {some}"] * bool(
            ids
        )
    if capped := found.capped:
        told.append(
            f"left out: {capped.pairs:,} pairs of {capped.users:,} users beyond "
            f"--max-items-per-user; {capped.worst!r} had the most, {capped.most:,}"
        )
    return "".join(f"\n{each}" for each in told)


def columns(report: Report) -> str:
    """Which columns were used and which were not."""
    used = ", ".join(
        role if role == column else f"{role} ({column})" for role, column in report.used.items()
    )
    unused = ", ".join(report.unused[:SHOWN]) or "none"
    more = f" and {len(report.unused) - SHOWN} more" if len(report.unused) > SHOWN else ""
    return f"columns used: {used}; not used: {unused}{more}"


def values(loaded: Interactions) -> str:
    """What range the values have."""
    period = loaded.period()
    weights = f"{loaded.weight.min():,g} to {loaded.weight.max():,g}"
    first_met = f"first met from {period[0]} to {period[1]}" if period else "no timestamps"
    user, most = _busiest(loaded)
    return f"pairs: weights {weights}; {first_met}; at most {most:,} of one user, {user!r}"


def _busiest(loaded: Interactions) -> tuple[str, int]:
    """The user who has the most pairs, perhaps a robot, and how many."""
    counts = np.bincount(loaded.user)
    return loaded.users[counts.argmax()], int(counts.max())


def _rejected(counts: Mapping[str, int]) -> str:
    reasons = [f"\n  {count:,} x {reason}" for reason, count in sorted(counts.items())]
    return f"{sum(counts.values()):,} rejected{''.join(reasons)}"


def items(loaded: Items, known: Sequence[str]) -> str:
    """How many items have a document, and what was wrong with the file."""
    counts, described = loaded.report, _described(loaded, known)
    told = (
        f"{counts.rows:,} rows of items in {counts.files:,} file(s): documents for "
        f"{described:,} of {len(known):,} items; {counts.replaced:,} replaced, "
        f"{_rejected(counts.rejected)}"
    )
    if untouched := sorted(loaded.texts.keys() - set(known)):
        told += (
            f"\n{len(untouched):,} items of the file that nobody has touched, or whose rows are "
            f"left out, are in no list: {', '.join(map(repr, untouched[:3]))}"
        )
    filters = [f"{each.name} ({each.type} of {len(each.values):,})" for each in loaded.columns]
    return told + f"\nrequests may filter by: {', '.join(filters)}" * bool(filters)


def _described(loaded: Items, known: Sequence[str]) -> int:
    return sum(1 for item in known if item in loaded.texts)


def check_json(loaded: Interactions, described: Items | None) -> dict[str, Any]:
    """All that ``larder check`` finds; documents is null without a file of items."""
    found, known, period = loaded.report, loaded.items, loaded.period()
    return {
        **asdict(found),
        "pairs": found.pairs,
        "users": len(loaded.users),
        "items": len(known),
        "unknown": {name: len(ids) for name, ids in found.unknown.items()},
        "weights": [float(loaded.weight.min()), float(loaded.weight.max())],
        "first_met": list(period) if period else None,
        "busiest": dict(zip(("user", "pairs"), _busiest(loaded))),
        "documents": None if described is None else _items_json(described, known),
    }


def _items_json(loaded: Items, known: Sequence[str]) -> dict[str, Any]:
    described = _described(loaded, known)
    return {
        **asdict(loaded.report),
        "described": described,
        "untouched": len(loaded.texts) - described,
        "columns": {each.name: each.type for each in loaded.columns},
    }
