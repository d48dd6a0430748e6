"""The options of ``larder clicks examples``."""

import re
from pathlib import Path
from typing import Any

import click

from app.contracts.events import HIDE, IMPRESSION, is_type
from batch.clicks.terms import CLICK_TYPES, ColumnsFile, Joining
from batch.command.clicks.options import max_rejects_option, names
from batch.command.options import PATH, Finite, cut, group, option, seed_option
from batch.errors import BadSettings
from batch.interactions.reading import beside

_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _joining(
    window: str,
    click_types: str,
    negatives_kept: float,
    positions_hidden: float,
    seed: int,
    **given: Any,
) -> Joining:
    items, users = (_file(kind, **given) for kind in ("items", "users"))
    types = tuple(each.strip() for each in click_types.split(","))
    if not all(is_type(each) and each not in (IMPRESSION, HIDE) for each in types):
        raise BadSettings(
            "--click-types must be types of events that say that an item was chosen, such as "
            f"click,purchase, not {click_types!r}"
        )
    return Joining(_window_ms(window), types, negatives_kept, positions_hidden, seed, items, users)


def _window_ms(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text)
    if found is None:
        raise BadSettings(
            f"--window must be seconds, minutes, hours or days, such as 30m or 12h, not {text!r}"
        )
    return int(found[1]) * _MS[found[2]]


def _file(kind: str, rejects: Path | None, max_rejects: float, **given: Any) -> ColumnsFile | None:
    path = given[kind]
    if path is None:
        return None
    told = given[f"{kind[:-1]}_columns"]
    columns = names(told) or None
    if told and columns is None:
        raise BadSettings(f"--{kind[:-1]}-columns must name columns, such as a,b, not {told!r}")
    return ColumnsFile(
        kind,
        path,
        given[f"{kind}_id_column"] or kind[:-1],
        columns,
        cut(given[f"{kind}_delimiter"]),
        given[f"{kind}_encoding"],
        beside(rejects, kind) if rejects else None,
        max_rejects,
    )


def _of_file(kind: str) -> tuple[Any, ...]:
    one = kind[:-1]
    return (
        option(f"--{kind}", type=PATH, help=f"A file of {kind}, CSV or Parquet."),
        option(f"--{kind}-id-column", help=f"The column of {one} ids there.  [default: {one}]"),
        option(f"--{one}-columns", help="Only these columns of it, such as a,b.  [default: all]"),
        option(f"--{kind}-delimiter", help="Between columns there.  [default: comma]"),
        option(f"--{kind}-encoding", help="Of the text there.  [default: utf-8]"),
    )


joining_options = group(
    "joining",
    "How examples are made",
    _joining,
    option("--window", default="30m", help="So long after an impression a click is one on it."),
    option("--click-types", default=",".join(CLICK_TYPES), help="Types of events that are clicks."),
    option(
        "--negatives-kept",
        type=Finite(0, 1, min_open=True),
        default=1.0,
        help="The share of impressions without a click that stay; training corrects for it.",
    ),
    option(
        "--positions-hidden",
        type=Finite(0, 1),
        default=0.1,
        help="The share of rows that do not say their position, so that items without one can be "
        "scored.",
    ),
    seed_option,
    *_of_file("items"),
    *_of_file("users"),
    option("--rejects", type=PATH, help="Where rejected rows of the two files are listed."),
    max_rejects_option,
)

events_argument = click.argument("events", nargs=-1, required=True, type=PATH)
out_option = option("--out", type=PATH, required=True, help="The folder of examples to make.")
