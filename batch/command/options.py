"""The options of the ``larder`` command: names, ranges, defaults and a sentence each."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from app.contracts import environment
from app.contracts.recommendations import MAX_K
from batch.command.size import Plan
from batch.interactions import PRESETS
from batch.recommendations.engines.implicit_als import ImplicitALS

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


class Finite(click.FloatRange):
    """A number in a range; unlike click's own it refuses ``nan``, which compares with nothing."""

    def convert(self, *given: Any) -> Any:
        number = super().convert(*given)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", *given[1:])
        return number


DEFAULT = ImplicitALS()
PLAN = Plan(users=1, items=1)


def option(name: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option that is also the variable ``LARDER_<NAME>``."""
    variable = environment.PREFIX + name.split("/")[0].lstrip("-").replace("-", "_").upper()
    return click.option(
        name, **{"show_default": True, "envvar": variable, "show_envvar": True, **attributes}
    )


def _default(name: str) -> str:
    return f"[default: {getattr(DEFAULT, name):g}; MLlib has its own]"


def options(*group: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in the order given."""

    def decorate(command: Command) -> Command:
        for each in reversed(group):
            command = each(command)
        return command

    return decorate


layout_options = options(
    option("--preset", type=click.Choice(list(PRESETS)), default="larder", help="A known layout."),
    option("--user-column", help="The column of user ids.  [default: user]"),
    option("--item-column", help="The column of item ids.  [default: item]"),
    option("--rating-column", help="Ratings; of several for a pair the latest counts."),
    option("--weight-column", help="Weights; several for a pair add up."),
    option("--timestamp-column", help="When: epoch seconds or ISO 8601."),
    option("--delimiter", help="Between columns, such as ';' '\\t' '::'.  [default: comma]"),
    option("--encoding", help="Of the text.  [default: utf-8]"),
    option("--header/--no-header", default=None, help="Whether the first line names the columns."),
    option(
        "--rejects",
        help="Where rejected rows are listed: a file, with --engine spark a folder.  "
        "[default: rejects.csv, rejects]",
    ),
    option(
        "--max-rejects",
        type=Finite(0, 1),
        default=0.01,
        help="The share of rejected rows to put up with; more stop the run.",
    ),
)

items_options = options(
    option("--items", help="A file of items; its columns come with each answer."),
    option("--items-id-column", help="The column of item ids there.  [default: item]"),
    option("--items-delimiter", help="Between columns there.  [default: comma]"),
    option("--items-encoding", help="Of the text there.  [default: utf-8]"),
    option("--document-columns", help="Only these columns, such as title,year.  [default: all]"),
)

engine_options = options(
    option(
        "--engine",
        type=click.Choice(["implicit", "spark"]),
        default="implicit",
        help="What trains the model: the library implicit on this machine, or a Spark cluster.",
    ),
    option(
        "--factors",
        type=click.IntRange(1, 4096),
        help=f"How many numbers the model learns of each user and item.  {_default('factors')}",
    ),
    option(
        "--regularization",
        type=Finite(0),
        help="More makes factors smaller, lists less personal.  " + _default("regularization"),
    ),
    option(
        "--alpha",
        type=Finite(0, min_open=True),
        help=f"How much more an interaction counts than none.  {_default('alpha')}",
    ),
    option(
        "--iterations",
        type=click.IntRange(1, 1000),
        help=f"Passes of training over all users and items.  {_default('iterations')}",
    ),
    option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=DEFAULT.seed,
        help="Where chance starts: the same data and seed give the same model.",
    ),
)

spark_options = options(
    option(
        "--als",
        type=click.Choice(["blocked", "mllib"]),
        help="How Spark trains: with the routines of implicit, or by MLlib.  [default: blocked; "
        "mllib for explicit feedback]",
    ),
    option(
        "--feedback",
        type=click.Choice(["implicit", "explicit"]),
        default="implicit",
        help="Whether to learn what users choose, or (by MLlib) how they rate it.",
    ),
    option(
        "--conf",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting of Spark, such as spark.master=spark://host:7077; may come several times.",
    ),
    option(
        "--whole-mb",
        type=click.IntRange(0, 100_000),
        help="Factors of up to this size go to every executor whole, larger ones by blocks.  "
        "[default: 256]",
    ),
    option(
        "--spark-log",
        type=click.Choice(["off", "error", "warn", "info"]),
        help="How much of Spark's own log to show.  [default: off]",
    ),
)

cache_options = options(
    option(
        "--cache-url",
        default="redis://127.0.0.1:6379/0",
        help="redis://, rediss:// (TLS), unix://, or redis+cluster:// for a Redis Cluster.",
    ),
    option("--namespace", default="default", help="The tenant; several may share a server."),
)

k_option = option(
    "--k", type=click.IntRange(1, MAX_K), default=10, help="How many items a list holds."
)
keep_option = option(
    "--keep", type=click.IntRange(2, 100), default=3, help="How many generations stay."
)


def size_option(name: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option of ``size``, whose variable says so: refresh has an ``--items`` of its own."""
    variable = f"{environment.PREFIX}SIZE_{name.lstrip('-').replace('-', '_').upper()}"
    return option(name, envvar=variable, **attributes)
