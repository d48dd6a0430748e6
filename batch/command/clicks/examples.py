"""``larder clicks examples``: make them, and say what became of the events."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from batch.clicks.examples.impressions import STEPS, Made, make
from batch.clicks.terms import Joining
from batch.command.output.bars import for_this_terminal
from batch.command.output.table import table

_SHOWN = 20
"""Positions in the table; the others are one line."""


def examples(events: Sequence[Path], joining: Joining, out: Path, as_json: bool) -> None:
    """Make a folder of examples and print what is in it."""
    with for_this_terminal().step("examples", STEPS, "steps") as advance:
        made = make(events, joining, out, advance)
    click.echo(json.dumps(asdict(made)) if as_json else _told(made, joining, out))


def _told(made: Made, joining: Joining, out: Path) -> str:
    older = made.impressions - made.young
    orphans = made.clicks - made.joined
    lines = [
        f"{made.impressions:,} impressions of an item, {made.clicks:,} clicks "
        f"({', '.join(joining.click_types)}); {made.again:,} events were sent again",
        f"joined {made.joined:,} clicks; {orphans:,} have no impression of their item within the "
        "window before them",
        f"left out {made.young:,} impressions so young that clicks may still come, and "
        f"{made.negatives_left_out:,} not clicked (--negatives-kept {joining.negatives_kept:g})",
        *(
            f"{number:,} of the {name} that were shown are not in the file of --{name}"
            for name, number in made.unknown.items()
            if number
        ),
        f"clicked: {made.clicked:,} of {older:,} ({made.clicked / older:.2%})",
        "",
        table(("position", "impressions", "clicked", "rate"), _by_position(made)),
        "",
        f"{made.rows:,} examples in {out}: larder clicks train {out}",
    ]
    return "\n".join(lines)


def _by_position(made: Made) -> list[tuple[str, str, str, str]]:
    first = [("not said" if p is None else str(p), n, hits) for p, n, hits in made.positions]
    if len(first) > _SHOWN + 1:
        rest = first[_SHOWN:]
        first = first[:_SHOWN] + [("others", sum(r[1] for r in rest), sum(r[2] for r in rest))]
    return [(name, f"{n:,}", f"{hits:,}", f"{hits / n:.2%}") for name, n, hits in first]
