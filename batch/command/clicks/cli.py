"""The subcommands of ``larder clicks``; what each needs is imported when it runs."""

import os
from functools import partial
from pathlib import Path
from typing import Literal

import click

from app.contracts.refreshes import TRAINING
from batch.clicks.examples.layout import Reading
from batch.clicks.terms import Cluster, ColumnsFile, Fit, Joining, Terms
from batch.command.clicks.joined import events_argument, joining_options, out_option
from batch.command.clicks.options import (
    clicks_terms_options,
    cluster_options,
    examples_argument,
    fit_options,
    names,
    reading_options,
    users_file_options,
)
from batch.command.endings import noted
from batch.command.options import (
    PATH,
    CacheOptions,
    Grouped,
    Serving,
    cache_options,
    json_option,
    keep_option,
    mlflow_option,
    option,
    report_option,
    seed_option,
    serving_options,
)


@click.group()
def clicks() -> None:
    """Learn and say how likely users are to click items.

    A model is trained on a table of impressions, judged, published, and answers over HTTP.
    """
    # Read once, when OpenMP is loaded: threads that spin while others wait for a core take ten
    # times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@clicks.command(cls=Grouped)
@events_argument
@joining_options
@out_option
@json_option
def examples(events: tuple[Path, ...], joining: Joining, out: Path, json: bool) -> None:
    """Make examples to train on of EVENTS: impressions, joined with the clicks that came of them.

    EVENTS are folders that larder events export has made. An impression of an item is one row:
    whether it was clicked, when, at which position, the columns of its item and user, and how
    often both were shown and had clicked before.

    \b
    larder clicks examples events/ --items items.parquet --users users.csv --out examples/
    """
    from batch.command.clicks import examples as work

    work.examples(events, joining, out, json)


@clicks.command(cls=Grouped)
@examples_argument
@reading_options
@json_option
def check(examples: tuple[str, ...], reading: Reading, json: bool) -> None:
    """Say what EXAMPLES are: their columns, the share of clicks, what a model does not see.

    EXAMPLES are files or folders of CSV, TSV (.gz too) or Parquet: a row for each time that an item
    was shown, with a label, and whatever is known of user, item and moment.

    \b
    larder clicks check impressions/ --label clicked --time-column shown_at --ignore dwell_time
    """
    from batch.command.clicks import check

    check.check(examples, reading, json)


@clicks.command(cls=Grouped)
@examples_argument
@reading_options
@users_file_options
@fit_options
@option(
    "--tune",
    type=click.IntRange(0, 10_000),
    default=0,
    help="Try so many other settings first, and take the best.",
)
@clicks_terms_options
@cluster_options
@cache_options
@report_option
@mlflow_option
def train(
    examples: tuple[str, ...],
    reading: Reading,
    users: ColumnsFile | None,
    fit: Fit,
    tune: int,
    terms: Terms,
    cluster: Cluster | None,
    cache: CacheOptions,
    report: Path | None,
    mlflow: str | None,
) -> None:
    """Judge a click model, train it on EXAMPLES, publish it.

    EXAMPLES are as for larder clicks check. The model is judged on rows that it has not seen, the
    newest ones where there is a time column, then trained on all. One that predicts no better than
    the share of clicks, that is off on average, or that is worse than the live model on the same
    rows, is not published.

    \b
    larder clicks train impressions/ --label clicked --time-column shown_at --users users.parquet
    """
    from batch.command import tracking
    from batch.command.clicks import train

    given = examples, reading, fit, terms, tune, users, cluster, cache, report
    tags = {"kind": "click model", "namespace": cache.namespace.name}
    work = partial(train.train, *given)
    tracking.track(mlflow, tags, lambda run: noted(cache, partial(work, run=run), TRAINING))


@clicks.command()
@click.argument("out", type=PATH)
@option("--rows", type=click.IntRange(1), default=100_000, help="How many.")
@seed_option
@option(
    "--format",
    type=click.Choice(["csv", "parquet", "criteo"]),
    help="criteo: tabs, no header.  [default: parquet where OUT ends with it, else csv]",
)
@option("--time/--no-time", default=False, help="Add a column time, with which the rate drifts.")
@json_option
def generate(
    out: Path,
    rows: int,
    seed: int,
    format: Literal["csv", "parquet", "criteo"] | None,
    time: bool,
    json: bool,
) -> None:
    """Write examples of our own making into the file OUT, and say how well they can be predicted.

    13 numbers and 26 categories like Criteo's, with a truth that is known. The rows of another seed
    are a test set to these.

    \b
    larder clicks generate train.parquet --rows 1000000 --seed 1
    """
    from batch.command.clicks.generated import generated

    form = format or ("parquet" if out.suffix == ".parquet" else "csv")
    generated(out, rows, seed, form, time, json)


@clicks.command(cls=Grouped)
@click.argument("rows")
@click.argument("out")
@option("--keep-columns", help="Columns of ROWS that OUT has beside the score, such as user,item.")
@option("--model", type=PATH, help="A folder that clicks export wrote, in place of the live model.")
@reading_options
@cluster_options
@cache_options
def score(
    rows: str,
    out: str,
    keep_columns: str | None,
    model: Path | None,
    reading: Reading,
    cluster: Cluster | None,
    cache: CacheOptions,
) -> None:
    """Write into OUT how likely a click is for each row of ROWS, by the model that is live.

    ROWS is a file or folder like those to train on; it needs no label. OUT ends with .parquet, .csv
    or .tsv and has the columns row, from 0, those to keep, and score. A column of the model that is
    not in ROWS is missing in every row. With --engine spark OUT is a folder of Parquet.

    Where rows of a text were rejected, and where Spark reads several files, nobody knows which row
    one is: then row is empty, and --keep-columns must name what tells rows apart.

    \b
    larder clicks score candidates.parquet scores.parquet --keep-columns user,item
    """
    from batch.command.clicks import score

    if cluster:
        score.on_cluster(rows, out, reading, names(keep_columns), cluster, cache, model)
    else:
        score.score(Path(rows), Path(out), reading, names(keep_columns), cache, model)


@clicks.command()
@cache_options
@json_option
def models(cache: CacheOptions, json: bool) -> None:
    """List the click models that are published, the newest first."""
    from batch.command.clicks import models

    models.tell(cache, json)


MODEL = click.argument("model", required=False)


@clicks.command()
@MODEL
@cache_options
def rollback(model: str | None, cache: CacheOptions) -> None:
    """Score by MODEL again, or by the one before the live one."""
    from batch.command.clicks import models

    models.roll_back(model, cache)


@clicks.command()
@MODEL
@cache_options
@json_option
def show(model: str | None, cache: CacheOptions, json: bool) -> None:
    """Say what MODEL, or the live one, was trained on, how good it was, and what matters to it."""
    from batch.command.clicks import models

    models.show(model, cache, json)


@clicks.command("export")
@click.argument("folder", type=PATH)
@option("--model", help="Which model.  [default: the live one]")
@cache_options
def export_model(folder: Path, model: str | None, cache: CacheOptions) -> None:
    """Write a model into plain files of FOLDER: JSON, and the text of LightGBM.

    \b
    larder clicks export model/
    """
    from batch.command.clicks import models

    models.export(folder, model, cache)


@clicks.command("import")
@click.argument("folder", type=PATH)
@keep_option
@cache_options
def import_model(folder: Path, keep: int, cache: CacheOptions) -> None:
    """Publish the model that larder clicks export has written into FOLDER.

    No gate judges it here; it is marked as forced. Files that do not belong together are refused.
    """
    from batch.command.clicks import models

    models.import_(folder, keep, cache)


@clicks.command()
@cache_options
@serving_options
def serve(cache: CacheOptions, serving: Serving) -> None:
    """Answer POST /rank/click over HTTP until stopped.

    It is larder serve with LARDER_CLICKS=only: ready without lists, though it also answers from
    those of the namespace, if there are any. It needs pip install '.[clicks]' in Larder's folder.
    """
    from batch.command.stack.serve import become

    become(cache, serving, LARDER_CLICKS="only")
