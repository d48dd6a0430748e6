"""``larder clicks generate``: examples whose truth is known."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from batch.clicks.examples.generate import Format, Truth, generate


def generated(
    out: Path, rows: int, seed: int, form: Format, has_time: bool, as_json: bool = False
) -> Truth:
    """Write them, and say how well they can be predicted."""
    found = generate(out, rows, seed, form, has_time)
    click.echo(json.dumps(asdict(found)) if as_json else _told(found, out))
    return found


def _told(found: Truth, out: Path) -> str:
    return (
        f"wrote {found.rows:,} rows to {out}: {found.clicks / found.rows:.4f} are clicks; "
        f"best possible AUC {found.auc:.4f}, log loss {found.log_loss:.4f}"
    )
