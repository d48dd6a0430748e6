"""``larder clicks generate``: examples whose truth is known."""

from pathlib import Path

import click

from batch.clicks.examples.generate import Format, Truth, generate


def generated(out: Path, rows: int, seed: int, form: Format, has_time: bool) -> Truth:
    """Write them, and say how well they can be predicted."""
    found = generate(out, rows, seed, form, has_time)
    click.echo(
        f"wrote {found.rows:,} rows to {out}: {found.clicks / found.rows:.4f} are clicks; "
        f"best possible AUC {found.auc:.4f}, log loss {found.log_loss:.4f}"
    )
    return found
