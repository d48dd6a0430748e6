"""The options of the ``larder`` command: names, ranges, defaults and a sentence each.

A group of options reaches its command as one typed object. Nothing heavy is imported here, so that
``larder rollback`` and ``--help`` need no model library.
"""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from app.contracts import environment, keys
from app.contracts.events import WEIGHTS
from app.contracts.filtering.columns import (
    AVAILABLE_FROM,
    AVAILABLE_UNTIL,
    MAX_COLUMNS,
    TYPES,
    Type,
)
from app.contracts.recommendations import MAX_HISTORY, MAX_K, PLAIN_ID_BYTES, Namespace
from batch.command.size import Deployment
from batch.errors import BadSettings
from batch.events.inputs import Weighing, moment_of
from batch.interactions.reading import ItemsFile, Reading
from batch.interactions.sources.layout import PRESETS
from batch.recommendations.published.wish import FORMATS, Wish
from batch.recommendations.terms import (
    BLEND,
    BUDGET,
    DEFAULTS,
    EASE_ITEMS,
    EASE_MOST,
    ENGINES,
    HISTORY,
    MAX_STORED,
    RULES,
    WEIGHTINGS,
    Gate,
    Holdout,
    Model,
    Terms,
    stored_of,
)
from batch.spark.options import SparkOptions

Command = TypeVar("Command", bound=Callable[..., Any])

STOPS_SILENTLY = "_LARDER_STOPS_SILENTLY"
"""No setting: it tells a run that whoever started it says when it is stopped."""

PATH = click.Path(path_type=Path)
DOCUMENT_TYPES = ("number", "boolean")
DEPLOYMENT = Deployment(users=1, items=1)


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Which cache, and whose part of it."""

    url: str = field(repr=False)  # it may hold a password
    namespace: Namespace


@dataclass(frozen=True, slots=True)
class Serving:
    """How the API is started."""

    bind: str
    workers: int
    server: str
    auth: str


@dataclass(frozen=True, slots=True)
class Tuning:
    """How long ``larder tune`` searches, where it keeps that, and how it judges."""

    seconds: float
    trials: int
    study: Path | None
    json: Path | None
    k: int
    holdout: Holdout
    repeat: bool


class Finite(click.FloatRange):
    """A number in a range; unlike click's own it refuses ``nan``, which compares with nothing."""

    def convert(self, *given: Any) -> Any:
        number = super().convert(*given)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", *given[1:])
        return number


def option(name: str, *others: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option that is also the variable ``LARDER_<NAME>``; others: see ``click.option``."""
    variable = environment.PREFIX + name.split("/")[0].lstrip("-").replace("-", "_").upper()
    return click.option(
        name,
        *others,
        **{"show_default": True, "envvar": variable, "show_envvar": True, **attributes},
    )


class Grouped(click.Command):
    """A command whose help shows its options in their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        titles: dict[str, str] = getattr(self.callback, "titles", {})
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:
                title = titles.get(parameter.name or "", "Other options")
                groups.setdefault(title, []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


def group(
    name: str,
    title: str,
    build: Callable[..., object],
    *given: Callable[[Command], Command],
) -> Callable[[Command], Command]:
    """Several options, shown in the order given, that a command takes as one object.

    name: of the command's parameter; title: of the group in the help; build: makes the object of
    the options' values.
    """

    def decorate(command: Command) -> Command:
        names: list[str] = []

        @wraps(command)
        def run(*arguments: Any, **values: Any) -> Any:
            made = build(**{each: values.pop(each) for each in names})
            return command(*arguments, **values, **{name: made})

        parameters = run.__dict__.setdefault("__click_params__", [])
        known = len(parameters)
        for each in reversed(given):
            run = each(run)
        names.extend(parameter.name for parameter in parameters[known:])
        run.__dict__.setdefault("titles", {}).update(dict.fromkeys(names, title))
        return run  # type: ignore[return-value]

    return decorate


def _reading(
    preset: str,
    delimiter: str | None,
    max_rejects: float,
    rejects: str | None = None,
    **columns: Any,
) -> Reading:
    layout = PRESETS[preset].choose(delimiter=cut(delimiter), **columns)
    if "item_column" in columns and layout.user_column == layout.item_column:
        raise BadSettings(
            f"--user-column and --item-column are both {layout.user_column!r}: name two columns"
        )
    return Reading(preset, layout, rejects, max_rejects)


def _items(
    items: str | None,
    items_id_column: str | None,
    items_delimiter: str | None,
    items_encoding: str | None,
    document_columns: str | None,
    document_types: str | None,
    filter_columns: str | None,
) -> ItemsFile | None:
    filters = _filters(filter_columns or "")
    if items is None:
        if filters:
            raise BadSettings("--filter-columns names columns of the items: add --items FILE")
        return None
    columns = [name.strip() for name in document_columns.split(",")] if document_columns else None
    return ItemsFile(
        Path(items),
        items_id_column,
        cut(items_delimiter),
        items_encoding,
        None if columns is None else tuple(columns),
        _types(document_types or ""),
        filters,
    )


def _types(text: str) -> dict[str, str]:
    pairs = [each.rpartition("=") for each in text.split(",") if each.strip()]
    types = {column.strip(): kind.strip() for column, _, kind in pairs}
    if len(types) < len(pairs) or "" in types or not set(types.values()) <= set(DOCUMENT_TYPES):
        raise BadSettings(
            "--document-types must name each column once, with number or boolean, such as "
            f"price=number,on_sale=boolean, not {text!r}"
        )
    return types


def _filters(text: str) -> dict[str, Type | None]:
    names = [each.strip() for each in text.split(",") if each.strip()]
    filters = dict(map(_filter, names))
    if len(filters) < len(names) or len(names) > MAX_COLUMNS:
        raise BadSettings(
            f"--filter-columns must name {MAX_COLUMNS} columns at most, each once, not {text!r}"
        )
    return filters


def _filter(text: str) -> tuple[str, Type | None]:
    name, _, kind = text.partition(":")
    found = next((each for each in TYPES if each == kind), None)
    if not name or name.startswith("-") or found is None and kind:
        raise BadSettings(
            "--filter-columns takes names of columns, which may have a type behind a colon "
            f"({', '.join(TYPES)}), such as genre,price:number, not {text!r}"
        )
    if name in (AVAILABLE_FROM, AVAILABLE_UNTIL) and found not in (None, "date"):
        raise BadSettings(f"--filter-columns: {name} says when items are shown, it must be a date")
    return name, found


def _weighing(
    weights: str | None, event_weights: str | None, half_life: str | None, **others: Any
) -> Weighing:
    if weights is not None and event_weights is not None:
        raise BadSettings("--event-weights is the older name of --weights: say one of them")
    said = event_weights if weights is None else weights
    return Weighing.of(said, half_life, **others)


def _holdout(values: dict[str, Any]) -> Holdout:
    """What `split_options` say, taken out of the values of all options."""
    after = moment_of(values.pop("after"), "--after")
    return Holdout(values.pop("split"), values.pop("holdout"), after)


def _terms(k: int, live: bool, stored: int | None, history: int | None, **others: Any) -> Terms:
    held_out = _holdout(others)
    gate = Gate(**{each.name: others.pop(each.name) for each in fields(Gate)})
    if stored is not None and not live:
        raise BadSettings(
            "--stored needs --live: a plain generation stores the --k items it serves"
        )
    if history and not live:
        raise BadSettings("--history needs --live: a plain generation stores lists alone")
    kept = (stored or stored_of(k)) if live else 0
    own = (HISTORY if history is None else history) if live else 0
    return Terms(k, held_out, gate, stored=kept, history=own, **others)


def _tuning(budget: str, trials: int | None, seed: int, **others: Any) -> Tuning:
    given = re.fullmatch(r"([0-9]*\.?[0-9]+)([smh])", budget)
    if given is None:
        raise BadSettings(
            f"--budget must be seconds, minutes or hours, such as 90s, 10m or 2h, not {budget!r}"
        )
    seconds = float(given[1]) * {"s": 1, "m": 60, "h": 3600}[given[2]]
    held_out = replace(_holdout(others), seed=seed)
    return Tuning(seconds, trials or sys.maxsize, holdout=held_out, **others)


def _spark(conf: tuple[str, ...], spark_log: str | None) -> SparkOptions | None:
    """None: nothing was said of Spark."""
    return SparkOptions.of(conf, spark_log or "off") if conf or spark_log else None


def _cache(cache_url: str, namespace: str) -> CacheOptions:
    try:
        return CacheOptions(cache_url, Namespace(namespace))
    except ValueError as error:
        raise BadSettings(str(error)) from error


def _plan(keep: int, replicas: int, live: bool, **said: Any) -> Deployment:
    said["stored"] = said["stored"] or stored_of(said["k"])
    if not live:
        said |= dict.fromkeys(("stored", "factors", "history"), 0)
    return Deployment(**said, generations=keep + 1, copies=replicas + 1)


class InputPath(click.ParamType[str]):
    """A file or folder; in a variable each has a line of its own, for names may hold anything."""

    name = "input"

    def split_envvar_value(self, rv: str) -> list[str]:
        return [line.strip() for line in rv.splitlines() if line.strip()]


inputs_argument = click.argument(
    "interactions", envvar="LARDER_INTERACTIONS", nargs=-1, required=True, type=InputPath()
)


def inputs_option(name: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option that names inputs."""
    return option(name, multiple=True, required=True, type=InputPath(), **attributes)


def cut(text: str | None) -> str | None:
    """What stands between columns; a tab may be written as two characters."""
    return "\t" if text == "\\t" else text


def _default(name: str) -> str:
    return f"[default: {getattr(DEFAULTS, name):g}; MLlib has its own]"


preset_option = option(
    "--preset", type=click.Choice(list(PRESETS)), default="larder", help="A known layout."
)
text_options = (
    option("--delimiter", help="Between columns, such as ';' '\\t' '::'.  [default: comma]"),
    option("--encoding", help="Of the text.  [default: utf-8]"),
    option("--header/--no-header", default=None, help="Whether the first line names the columns."),
)

reading_options = group(
    "reading",
    "How the interactions are written",
    _reading,
    preset_option,
    option("--user-column", help="The column of user ids.  [default: user]"),
    option("--item-column", help="The column of item ids.  [default: item]"),
    option("--rating-column", help="Ratings; of several for a pair the latest counts."),
    option("--weight-column", help="Weights; several for a pair add up."),
    option("--timestamp-column", help="When: epoch seconds or ISO 8601."),
    *text_options,
    option(
        "--rejects",
        help="Where rejected rows are listed: a file, with --engine spark a folder.  "
        "[default: rejects.csv, rejects; check lists them only when asked]",
    ),
    option(
        "--max-rejects",
        type=Finite(0, 1),
        default=0.01,
        help="The share of rejected rows to put up with; more stop the run.",
    ),
)

items_options = group(
    "items",
    "What answers show of each item",
    _items,
    option("--items", help="A file of items; its columns come with each answer."),
    option("--items-id-column", help="The column of item ids there.  [default: item]"),
    option("--items-delimiter", help="Between columns there.  [default: comma]"),
    option("--items-encoding", help="Of the text there.  [default: utf-8]"),
    option("--document-columns", help="Only these columns, such as title,year.  [default: all]"),
    option(
        "--document-types",
        help="Columns of texts that hold numbers or booleans, such as price=number,sold=boolean.",
    ),
    option(
        "--filter-columns",
        help="What requests may filter by, such as genre,price,in_stock:flag; the types (number, "
        "flag, date, category) are found where they are not said.",
    ),
)

seed_option = option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=DEFAULTS.seed,
    help="Where chance starts: the same data and seed give the same model.",
)
repeat_option = option(
    "--repeat/--no-repeat",
    default=False,
    help="Whether lists may hold what their user has had: for what is bought again.",
)

model_options = group(
    "model",
    "How the model is trained",
    Model,
    option(
        "--engine",
        type=click.Choice(ENGINES),
        default="auto",
        help="What makes the lists. auto tries als (factors), knn (item neighbours), ease and "
        "blends of them, and takes the best; spark and spark-knn train als and knn on a cluster.",
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
        "--neighbours",
        type=click.IntRange(1, 1000),
        help="How many neighbours of each item knn keeps.  [default: 100]",
    ),
    option(
        "--weighting",
        type=click.Choice(WEIGHTINGS),
        help="How knn compares items.  [default: cosine]",
    ),
    option(
        "--damping",
        type=Finite(0, 4),
        help="How much less knn heeds users who have much; 0: no less.  [default: 0.5]",
    ),
    option(
        "--shrinkage",
        type=Finite(0),
        help="How many users make knn believe that two items go together.  [default: 10]",
    ),
    option(
        "--ease-penalty",
        type=Finite(0, min_open=True),
        help="More makes ease less personal.  [default: 400]",
    ),
    option(
        "--ease-items",
        type=click.IntRange(1, 100_000),
        help="How many items ease models at most: memory grows with the square of their number, "
        f"its time with the cube. auto gives it the most popular ones.  [default: {EASE_ITEMS}; "
        f"of auto {EASE_MOST}]",
    ),
    option("--blend", help=f"The parts of a blend and their weights.  [default: {BLEND}]"),
    option(
        "--tune-budget",
        type=Finite(0, 1000),
        help="How much work auto may spend on finding an engine, in fits of als.  "
        f"[default: {BUDGET:g}]",
    ),
    seed_option,
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
        "--whole-mb",
        type=click.IntRange(0, 100_000),
        help="Factors of up to this size go to every executor whole, larger ones by blocks.  "
        "[default: 256]",
    ),
    repeat_option,
)

session_options = (
    option(
        "--conf",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting of Spark, such as spark.master=spark://host:7077; may come several times.",
    ),
    option(
        "--spark-log",
        type=click.Choice(["off", "error", "warn", "info"]),
        help="How much of Spark's own log to show.  [default: off]",
    ),
)
spark_options = group("spark", "Spark", _spark, *session_options)

events_options = group(
    "weighing",
    "Which rows and events count, and how much",
    _weighing,
    option("--type-column", help="What happened, where rows are of several types."),
    option(
        "--weights",
        help="How much a row or event of each type counts; others not at all.  "
        f"[default: {','.join(f'{kind}={weight:g}' for kind, weight in WEIGHTS.items())}]",
    ),
    option("--event-weights", help="The older name of --weights."),
    option(
        "--half-life",
        help="After how long a row counts half, such as 12h, 30d or 8w, back from the newest.  "
        "[default: all count the same]",
    ),
    option(
        "--since",
        help="Leave out what is older than this date (ISO 8601), or than a length such as 90d back "
        "from the newest row.",
    ),
    option(
        "--max-items-per-user",
        type=click.IntRange(1),
        help="Leave out what a user, perhaps a robot, has beyond so many items, the weakest and "
        "oldest first.  [default: no limit]",
    ),
    option("--items-allow", help="A file of item ids, one a line: no other item makes pairs."),
    option("--items-deny", help="A file of item ids, one a line: none of these makes pairs."),
)

events_url_option = option(
    "--events-url",
    default="",
    show_default=False,
    help="The server that has the events.  [default: the cache's]",
)

report_option = option(
    "--report", type=PATH, help="Write what was found into a page of HTML: report.html."
)

mlflow_option = option(
    "--mlflow",
    metavar="URI",
    help="Write the run into MLflow: http://host:port of a server, or sqlite:///runs.db. It needs "
    "pip install '.[mlflow]' in Larder's folder.",
)

cache_options = group(
    "cache",
    "Where the lists are",
    _cache,
    option(
        "--cache-url",
        default="redis://127.0.0.1:6379/0",
        help="redis://, rediss:// (TLS), unix://, or redis+cluster:// for a Redis Cluster.",
    ),
    option("--namespace", default="default", help="The tenant; several may share a server."),
)

JSON_HELP = "Print one JSON object; all else goes to stderr."

auth_option = option(
    "--auth",
    type=click.Choice(keys.MODES),
    default=keys.OFF,
    help="on: callers need a key (larder key add). proxy: a proxy in front lets them in.",
)


workers_option = option(
    "--workers", type=click.IntRange(1, 256), default=2, help="Processes that answer."
)


def _serving(bind: str) -> Callable[[Command], Command]:
    return group(
        "serving",
        "Who answers",
        Serving,
        option("--bind", default=bind, help="The address and port to listen on."),
        workers_option,
        option(
            "--server",
            type=click.Choice(["gunicorn", "granian"]),
            default="gunicorn",
            help="granian answers several times as many requests; it needs pip install "
            "'.[granian]' in Larder's folder.",
        ),
        auth_option,
    )


serving_options, deciding_options = _serving("127.0.0.1:8000"), _serving("127.0.0.1:5000")
json_option = option("--json", is_flag=True, help=JSON_HELP)
k_option = option(
    "--k", type=click.IntRange(1, MAX_K), default=10, help="How many items a list holds."
)
keep_option = option(
    "--keep", type=click.IntRange(2, 100), default=3, help="How many generations stay."
)

split_options = (
    option(
        "--split",
        type=click.Choice(RULES),
        default="random",
        help="What is held out: a share of each user's items at random, of each item's users at "
        "random (stratified), or of each user's items the latest (chronological).",
    ),
    option(
        "--holdout",
        type=Finite(0, 1, max_open=True),
        default=0.2,
        help="The share of the interactions to judge the model on; 0 judges nothing.",
    ),
    option(
        "--after",
        help="Judge on what users first met on this date (ISO 8601) or later, in place of --split "
        "and --holdout.",
    ),
)

terms_options = group(
    "terms",
    "What is published, and when it is not",
    _terms,
    k_option,
    *split_options,
    option("--min-ndcg", type=Finite(0, 1), default=0.0, help="Publish no model of a lower nDCG."),
    option(
        "--min-coverage",
        type=Finite(0, 1),
        default=0.0,
        help="Publish no model whose lists show a smaller share of all items.",
    ),
    option(
        "--max-drop",
        type=Finite(0, 1),
        default=0.1,
        help="Publish no model whose nDCG is lower than the live one's by more than this share.",
    ),
    option(
        "--max-shrink",
        type=Finite(0, 1),
        default=0.5,
        help="Publish nothing whose users, items or pairs are fewer than the live one's by more "
        "than this share.",
    ),
    option("--force/--no-force", default=False, help="Publish whatever the gate says."),
    keep_option,
    option(
        "--wait-replicas",
        type=click.IntRange(0),
        help="How many replicas must have the lists before they are live.  "
        "[default: all that are connected]",
    ),
    option("--similar/--no-similar", default=True, help="Whether to publish similar items, too."),
    option(
        "--live/--no-live",
        default=False,
        help="Whether to store what the API needs to follow what users do: longer lists, and what "
        "the model has learned.",
    ),
    option(
        "--stored",
        type=click.IntRange(1, MAX_STORED),
        help="How many items a list of a live generation stores, of which --k are served.  "
        "[default: 50, or twice --k]",
    ),
    option(
        "--history",
        type=click.IntRange(0, MAX_HISTORY),
        help="How many items of their own a live generation stores of each user, the strongest: "
        f"for filtered lists without them, and for why.  [default: {HISTORY}]",
    ),
)

users_options = group(
    "reading",
    "How the files of --users are written",
    _reading,
    preset_option,
    option("--user-column", help="The column of user ids; no other counts.  [default: user]"),
    *text_options,
    option(
        "--max-rejects",
        type=Finite(0, 1),
        default=0.01,
        help="The share of rows without a right id to put up with; more stop the run.",
    ),
)

wish_options = group(
    "wish",
    "What is exported",
    Wish,
    option("--generation", help="Which generation.  [default: the live one]"),
    option(
        "--k", type=click.IntRange(1, MAX_K), help="Cut lists to so many.  [default: as served]"
    ),
    option("--format", type=click.Choice(FORMATS), default=FORMATS[0], help="Of the files."),
    option("--similar/--no-similar", default=False, help="Whether to export similar items, too."),
    option(
        "--users",
        multiple=True,
        type=InputPath(),
        help="Files with the ids of users, such as the interactions: the cache holds none of more "
        f"than {PLAIN_ID_BYTES} bytes. May come several times.",
    ),
)


tuning_options = group(
    "tuning",
    "How long to search, and how to judge",
    _tuning,
    option("--budget", default="10m", help="How long to try settings: 90s, 10m, 2h."),
    option(
        "--trials",
        type=click.IntRange(1),
        help="End after so many trials, those in the study counted, though there is time left.",
    ),
    option("--study", type=PATH, help="A file that keeps the trials; the same command goes on."),
    option(
        "--json",
        type=PATH,
        envvar=f"{environment.PREFIX}TUNE_JSON",
        help="Write all trials and what is best into a file: tuning.json.",
    ),
    k_option,
    *split_options,
    seed_option,
    repeat_option,
)


def size_option(name: str, *others: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option of ``size``, whose variable says so: refresh has an ``--items`` of its own."""
    first = name.partition("/")[0].lstrip("-")
    variable = f"{environment.PREFIX}SIZE_{first.replace('-', '_').upper()}"
    return option(name, *others, envvar=variable, **attributes)


size_json_option = size_option("--json", is_flag=True, help=JSON_HELP)

size_options = group(
    "plan",
    "The deployment",
    _plan,
    size_option("--users", type=click.IntRange(1), required=True, help="How many users."),
    size_option("--items", type=click.IntRange(1), required=True, help="How many items."),
    size_option(
        "--k", type=click.IntRange(1, MAX_K), default=DEPLOYMENT.k, help="Items of a list."
    ),
    size_option(
        "--rps",
        "requests_per_second",
        type=Finite(0),
        default=DEPLOYMENT.requests_per_second,
        help="Requests a second at peak.",
    ),
    size_option(
        "--id-bytes", type=Finite(1), default=DEPLOYMENT.id_bytes, help="Of an average id."
    ),
    size_option(
        "--document-bytes",
        type=Finite(0),
        default=DEPLOYMENT.document_bytes,
        help="Of an average document.",
    ),
    size_option(
        "--keep", type=click.IntRange(2, 100), default=3, help="How many generations stay."
    ),
    size_option(
        "--replicas", type=click.IntRange(0), default=1, help="Further copies of the cache."
    ),
    size_option("--similar/--no-similar", default=True, help="Whether items have lists, too."),
    size_option("--live/--no-live", default=False, help="Whether it follows what users do."),
    size_option(
        "--stored",
        type=click.IntRange(1, MAX_STORED),
        help="Items that a list of a live generation stores.  [default: 50, or twice --k]",
    ),
    size_option(
        "--factors",
        type=click.IntRange(1, 4096),
        default=DEFAULTS.factors,
        help="Of a live generation, of each user and item.",
    ),
    size_option(
        "--history",
        type=click.IntRange(0, MAX_HISTORY),
        default=20,
        help="Items of a user's own in a live generation, on average.",
    ),
)
