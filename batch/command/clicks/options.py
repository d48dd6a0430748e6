"""The options that several subcommands of ``larder clicks`` share."""

from typing import Any

import click

from batch.clicks.layout import PRESETS, Reading
from batch.command.options import Finite, InputPath, cut, group, option
from batch.interactions.reading import Reading as Texts

examples_argument = click.argument(
    "examples",
    envvar="LARDER_EXAMPLES",
    nargs=-1,
    required=True,
    type=InputPath(),
    metavar="EXAMPLES...",
)


def _reading(
    preset: str,
    label: str | None,
    categorical: str | None,
    numeric: str | None,
    ignore: str | None,
    rejects: str | None,
    max_rejects: float,
    delimiter: str | None,
    **others: Any,
) -> Reading:
    said = {"encoding": others.pop("encoding"), "header": others.pop("header")}
    layout = PRESETS[preset].choose(delimiter=cut(delimiter), **said)
    texts = Texts(preset, layout, rejects, max_rejects)
    named = names(categorical), names(numeric), names(ignore)
    reading = Reading(texts, label, others.pop("time_column"), *named, **others)
    reading.check()
    return reading


def names(text: str | None) -> tuple[str, ...]:
    """Names of columns, between commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


reading_options = group(
    "reading",
    "How the examples are written",
    _reading,
    option(
        "--preset",
        type=click.Choice(list(PRESETS)),
        default="plain",
        help="A known layout. criteo: tabs, no header, a label, 13 numbers, 26 categories.",
    ),
    option("--label", help="The column that says 1 or true for a click.  [default: label]"),
    option("--categorical", help="Columns that are categories, such as zip,hour; ids, too."),
    option("--numeric", help="Columns that are numbers; a row with another cell is rejected."),
    option("--ignore", help="Columns that the model must not see."),
    option(
        "--time-column",
        help="When: epoch seconds or ISO 8601. The model is then judged on the newest rows.",
    ),
    option(
        "--negatives-kept",
        type=Finite(0, 1, min_open=True),
        help="Which share of the rows without a click are there; scores are corrected by it.  "
        "[default: 1]",
    ),
    option("--delimiter", help="Between columns, such as ';' '\\t'.  [default: comma]"),
    option("--encoding", help="Of the text.  [default: utf-8]"),
    option("--header/--no-header", default=None, help="Whether the first line names the columns."),
    option(
        "--rejects",
        help="Where rejected rows are listed.  [default: rejects.csv; check lists them only when "
        "asked]",
    ),
    option(
        "--max-rejects",
        type=Finite(0, 1),
        default=0.01,
        help="The share of rejected rows to put up with; more stop the run.",
    ),
)
