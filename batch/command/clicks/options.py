"""The options that several subcommands of ``larder clicks`` share."""

from pathlib import Path
from typing import Any

import click

from app.contracts import environment
from batch.clicks.examples.layout import PRESETS, Reading
from batch.clicks.terms import (
    SHARE_OF_TEST,
    SHARE_OF_VALIDATION,
    Cluster,
    ColumnsFile,
    Fit,
    Gate,
    Split,
    Terms,
)
from batch.command.options import (
    PATH,
    Finite,
    InputPath,
    cut,
    group,
    keep_option,
    option,
    seed_option,
    session_options,
)
from batch.errors import BadSettings
from batch.interactions.reading import Reading as Texts
from batch.spark.options import SparkOptions

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


max_rejects_option = option(
    "--max-rejects",
    type=Finite(0, 1),
    default=0.01,
    help="The share of rejected rows to put up with; more stop the run.",
)

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
    max_rejects_option,
)


def _terms(
    validation_share: float,
    test_share: float,
    slices: str | None,
    max_worse: float,
    max_off: float,
    force: bool,
    keep: int,
    wait_replicas: int | None,
) -> Terms:
    if validation_share + test_share > MOST_HELD_OUT:
        raise BadSettings(
            f"--validation-share and --test-share leave less than {1 - MOST_HELD_OUT:.0%} of the "
            "rows to train on: make them smaller"
        )
    return Terms(
        split=Split(validation_share, test_share),
        gate=Gate(max_worse, max_off, force),
        keep=keep,
        wait_replicas=wait_replicas,
        slices=names(slices) if slices else None,
    )


def _users(users: Path | None, users_id_column: str) -> ColumnsFile | None:
    return None if users is None else ColumnsFile("users", users, users_id_column)


MOST_HELD_OUT = 0.8
SHARE = Finite(0, 0.5, min_open=True)
COUNT = click.IntRange(1, 100_000)
FIT = Fit()

fit_options = group(
    "fit",
    "How the model is fitted",
    Fit,
    option("--trees", type=COUNT, default=FIT.trees, help="At most so many; fewer may do."),
    option(
        "--leaves", type=click.IntRange(2, 4096), default=FIT.leaves, help="Of a tree, at most."
    ),
    option(
        "--learning-rate",
        type=Finite(0, 1, min_open=True),
        default=FIT.learning_rate,
        help="How much each tree corrects those before it.",
    ),
    option(
        "--feature-fraction",
        type=Finite(0, 1, min_open=True),
        default=FIT.feature_fraction,
        help="The share of columns that each tree may use.",
    ),
    option(
        "--bagging-fraction",
        type=Finite(0, 1, min_open=True),
        default=FIT.bagging_fraction,
        help="The share of rows that each tree is grown on.",
    ),
    option("--l2", type=Finite(0), default=FIT.l2, help="More makes trees more careful."),
    option("--min-rows-of-a-leaf", type=COUNT, default=FIT.min_rows_of_a_leaf, help="At least."),
    option(
        "--stop-after",
        type=COUNT,
        default=FIT.stop_after,
        help="End when so many trees have not made the validation part any better predicted.",
    ),
    option(
        "--smoothing",
        type=Finite(0),
        default=FIT.smoothing,
        help="How many rows of the mean stand beside those of a value of a category.",
    ),
    option(
        "--min-count",
        type=COUNT,
        default=FIT.min_count,
        help="In how many rows a value of a category must be, to be told from an unknown one.",
    ),
    option(
        "--folds",
        type=click.IntRange(2, 100),
        default=FIT.folds,
        help="Each fold of rows is encoded by the labels of the others; with a time column each "
        "block of time by those before it.",
    ),
    option(
        "--blend/--no-blend",
        envvar=f"{environment.PREFIX}CLICKS_BLEND",
        default=FIT.blend,
        help="Whether to train a logistic regression beside the trees, and take the mean where "
        "that predicts better.",
    ),
    seed_option,
    option("--threads", type=click.IntRange(0, 1024), default=FIT.threads, help="0: all cores."),
)


def _cluster(
    engine: str, spark_workers: int | None, conf: tuple[str, ...], spark_log: str | None
) -> Cluster | None:
    if engine == "spark":
        return Cluster(SparkOptions.of(conf, spark_log or "off"), spark_workers or 1)
    given = {"--conf": conf, "--spark-log": spark_log, "--spark-workers": spark_workers}
    for name, value in given.items():
        if value:
            raise BadSettings(f"{name} needs --engine spark")
    return None


cluster_options = group(
    "cluster",
    "Where the rows are worked on",
    _cluster,
    option(
        "--engine",
        type=click.Choice(["local", "spark"]),
        default="local",
        envvar=f"{environment.PREFIX}CLICKS_ENGINE",
        help="This machine, or a Spark cluster: then files are any URI that Spark reads.",
    ),
    option(
        "--spark-workers",
        type=click.IntRange(1, 1000),
        help="Tasks that grow trees together, for rows that one executor cannot hold.  "
        "[default: 1]",
    ),
    *session_options,
)

clicks_terms_options = group(
    "terms",
    "What is published, and when it is not",
    _terms,
    option(
        "--validation-share",
        type=SHARE,
        default=SHARE_OF_VALIDATION,
        help="The share of the rows by which training ends and scores are calibrated.",
    ),
    option(
        "--test-share",
        type=SHARE,
        default=SHARE_OF_TEST,
        help="The share of the rows to judge on: the newest where there is a time column.",
    ),
    option(
        "--slices",
        help="Columns by whose values the metrics are told apart.  [default: categories of few "
        "values]",
    ),
    option(
        "--max-worse",
        type=Finite(0, 1),
        default=Gate().max_worse,
        help="Publish no model whose normalised entropy is worse than the live one's on the same "
        "rows by more than this share.",
    ),
    option(
        "--max-off",
        type=Finite(0, 1),
        default=Gate().max_off,
        help="Publish no model whose mean prediction differs from the share of clicks by more, and "
        "by more than chance makes of so many clicks.",
    ),
    option("--force/--no-force", default=False, help="Publish whatever the gate says."),
    keep_option,
    option(
        "--wait-replicas",
        type=click.IntRange(0),
        help="How many replicas must have the model before it is live.  "
        "[default: all that are connected]",
    ),
)

users_file_options = group(
    "users",
    "What is known of users",
    _users,
    option(
        "--users",
        envvar=f"{environment.PREFIX}CLICKS_USERS",
        type=PATH,
        help="A file of users: the columns that the model knows are stored, so that requests may "
        "name a user alone.",
    ),
    option("--users-id-column", default="user", help="The column of user ids there."),
)
