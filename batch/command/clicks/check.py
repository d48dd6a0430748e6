"""``larder clicks check``: what the examples are, before anything is trained."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from batch.clicks.examples.layout import Reading
from batch.clicks.examples.read import read
from batch.clicks.rows import Examples, Seen
from batch.command.output.table import table
from batch.interactions.sources.files import keep

_EXAMPLE = 24
"""How many characters of a cell are shown."""


def check(inputs: Sequence[str], reading: Reading, as_json: bool) -> None:
    """Print it."""
    paths = tuple(map(Path, inputs))
    rejects = None if reading.texts.rejects is None else reading.texts.rejects_file
    keep(paths, [("--rejects", rejects)])
    say = partial(click.echo, err=as_json)
    with read(paths, reading, rejects) as rows:
        say(told(rows))
        if as_json:
            click.echo(json.dumps(_json(rows), ensure_ascii=False))


def told(rows: Examples) -> str:
    """How many rows there are, what was rejected, all columns, and what a model does not see."""
    report, good = rows.report, rows.rows
    lines = [
        f"read {report.rows:,} rows from {report.files} file(s): {good:,} examples, "
        f"{rows.clicks:,} of them clicks ({rows.clicks / good:.2%} by {rows.schema.label!r})"
    ]
    if rows.negatives_kept < 1:
        lines.append(f"of the rows without a click {rows.negatives_kept:.2%} are there")
    lines += [f"rejected {number:,} x {reason}" for reason, number in report.rejected.items()]
    head = ["column", "kind", "values, about", "missing", "example"]
    lines.append(table(head, map(_line, _columns(rows))))
    lines += [f"left out {name!r}: {why}" for name, why in rows.schema.ignored]
    lines += [
        f"leak? {name!r} alone has an AUC of {area:.3f}: if it is not known before the click, "
        f"--ignore {name}, for no gate stops a model that has it"
        for name, area in report.leaks.items()
    ]
    return "\n".join(lines)


def _columns(rows: Examples) -> list[tuple[str, str, Seen]]:
    """The name, the role and the cells of each column."""
    kinds: dict[str | None, str] = {each.name: each.kind for each in rows.schema.columns}
    roles: dict[str | None, str] = {rows.schema.label: "label", rows.schema.time: "time", **kinds}
    return [(each.name, roles.get(each.name, "left out"), each) for each in rows.seen]


def _line(column: tuple[str, str, Seen]) -> list[str]:
    name, kind, seen = column
    example = (
        seen.example if len(seen.example) <= _EXAMPLE else seen.example[: _EXAMPLE - 3] + "..."
    )
    return [" ".join(name.split()), kind, f"{seen.values:,}", f"{seen.missing:.1%}", repr(example)]


def _json(rows: Examples) -> dict[str, Any]:
    return {
        "files": rows.report.files,
        "rows": rows.report.rows,
        "rejected": rows.report.rejected,
        "clicks": rows.clicks,
        "label": rows.schema.label,
        "time_column": rows.schema.time,
        "negatives_kept": rows.negatives_kept,
        "columns": [
            {
                "name": name,
                "kind": kind,
                "values": seen.values,
                "missing": round(seen.missing, 6),
                "example": seen.example,
            }
            for name, kind, seen in _columns(rows)
        ],
        "left_out": dict(rows.schema.ignored),
        "leaks": rows.report.leaks,
    }
