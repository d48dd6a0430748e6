"""The ``larder`` command: what each subcommand does with its options, logging, exit codes.

Exit codes: 0 done; 2 terminal, the same run would fail again (bad input, bad settings, a model that
is not good enough); 75 transient, the cache or the cluster cannot take it now: retry.
"""

import json
import logging
import os
import signal
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from app.contracts import environment
from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import MAX_K, Namespace
from batch.command import report, walks
from batch.command.bars import for_this_terminal
from batch.command.options import (
    PATH,
    PLAN,
    Finite,
    cache_options,
    engine_options,
    items_options,
    k_option,
    keep_option,
    layout_options,
    option,
    size_option,
    spark_options,
)
from batch.command.size import Plan, figures
from batch.errors import BadSettings, LarderError
from batch.generations.connect import Client, connect
from batch.generations.lock import hold
from batch.generations.registry import Generations
from batch.interactions.files import find
from batch.interactions.rejects import beside
from batch.recommendations.pipeline import Gate, Holdout, check_holdout
from batch.recommendations.pipeline import refresh as run_refresh
from batch.recommendations.show import show as read_list
from batch.recommendations.split import RULES

Values = dict[str, Any]


@click.group(context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="larder")
def cli() -> None:
    """Recommendations computed ahead of time and kept ready.

    \b
    A first time:
      larder check ratings.csv                       what is in the file?
      larder refresh ratings.csv --items films.csv   judge, train, publish
      larder serve                                   GET /recommendations/<user>

    Every option is also an environment variable LARDER_<OPTION>. Exit codes: 0 done; 2 the same
    run would fail again (bad input, model not good enough); 75 the cache or cluster is away: retry.
    """


@cli.command()
@click.argument("interactions", envvar="LARDER_INTERACTIONS")
@layout_options
@items_options
@k_option
@option(
    "--split",
    type=click.Choice(RULES),
    default="random",
    help="What is held out: a share of each user's items at random, of each item's users at "
    "random (stratified), or of each user's items the latest (chronological).",
)
@option(
    "--holdout",
    type=Finite(0, 1, max_open=True),
    default=0.2,
    help="The share of the interactions to judge the model on; 0 judges nothing.",
)
@option(
    "--after",
    help="Judge on what users first met on this date (ISO 8601) or later, in place of --split and "
    "--holdout.",
)
@engine_options
@spark_options
@option("--min-ndcg", type=Finite(0, 1), default=0.0, help="Publish no model of a lower nDCG.")
@option(
    "--max-drop",
    type=Finite(0, 1),
    default=0.1,
    help="Publish no model whose nDCG is lower than the live one's by more than this share.",
)
@option("--force/--no-force", default=False, help="Publish whatever the gate says.")
@cache_options
@keep_option
def refresh(interactions: str, **values: Any) -> None:
    """Judge a model, train it on INTERACTIONS, publish its lists.

    INTERACTIONS is a file, or a folder of files, of users and items: CSV or TSV (.gz too) or
    Parquet; with --engine spark any URI that Spark reads. The model is judged on a part held out,
    then trained on all. One that does not beat the popular list, or is much worse than the live
    one, is not published.
    """
    space = _namespace(values)
    holdout = Holdout(values["split"], values["holdout"], _moment(values["after"]), values["seed"])
    limits = Gate(values["min_ndcg"], values["max_drop"], values["force"])
    check_holdout(holdout, limits)
    _check_outputs(values, interactions)
    client = connect(values["cache_url"])
    progress = for_this_terminal()
    with walks.opened(interactions, values, progress) as walk:
        manifest = run_refresh(
            walk,
            client,
            space,
            progress,
            k=values["k"],
            holdout=holdout,
            limits=limits,
            keep=values["keep"],
            report=lambda quality: click.echo(report.quality(quality)),
        )
    click.echo(
        f"published generation {manifest.generation}: {manifest.users:,} users, "
        f"{manifest.items:,} items, top {manifest.k}, in namespace {space.name}; "
        f"documents take {manifest.document_bytes / 1e6:,.1f} MB in each API worker"
    )


@cli.command()
@click.argument("interactions", envvar="LARDER_INTERACTIONS")
@layout_options
@items_options
def check(interactions: str, **values: Any) -> None:
    """Say what refresh would find in INTERACTIONS; publish nothing.

    With --items, in the items too.
    """
    _check_outputs(values, interactions)
    loaded = walks.loaded(Path(interactions), values)
    click.echo(report.details(loaded))
    walks.documents(loaded.items, walks.items_of(values), values)


@cli.command()
@option("--train", required=True, help="The interactions to train on.")
@option("--test", required=True, help="The interactions to score on.")
@layout_options
@k_option
@engine_options
@spark_options
@option("--json", type=PATH, help="Write the metrics here too.")
def evaluate(train: str, test: str, **values: Any) -> None:
    """Train on one file, score on another, beside most-popular."""
    _check_outputs(values, train, test)
    if values["json"] is not None:
        _write(values["json"], "", "a")  # fails now, rather than after an hour of training
    quality = walks.judged(train, test, values, for_this_terminal())
    click.echo(report.quality(quality))
    if values["json"] is not None:
        _write(values["json"], json.dumps(asdict(quality), indent=2) + "\n", "w")


@cli.command()
@cache_options
@option("--bind", default="127.0.0.1:8000", help="The address and port to listen on.")
@option("--workers", type=click.IntRange(1, 256), default=2, help="Processes that answer.")
def serve(**values: Any) -> None:
    """Answer GET /recommendations/<user> over HTTP until stopped.

    The other settings of the API are environment variables; the README has the table.
    """
    given = {f"LARDER_{name.upper()}": str(value) for name, value in values.items()}
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        "python:app.http.gunicorn_conf",
        "app.http.wsgi:app",
    ]
    os.execve(command[0], command, {**os.environ, **given})


@cli.command()
@cache_options
def generations(**values: Any) -> None:
    """List what is published, the newest first."""
    known = _generations(values)
    if manifests := known.all():
        click.echo(report.generations(manifests, known.live()))
    else:
        click.echo(f"nothing is published in namespace {values['namespace']!r}")


@cli.command()
@click.argument("generation", required=False)
@cache_options
def rollback(generation: str | None, **values: Any) -> None:
    """Serve GENERATION again, or the one before the live one."""
    manifest = _generations(values).roll_back(generation)
    click.echo(f"live is {manifest.generation}; the API follows within two seconds")


@cli.command()
@cache_options
@keep_option
def prune(keep: int, **values: Any) -> None:
    """Delete old generations and what dead runs left.

    The newest and the live one stay.
    """
    space = _namespace(values)
    client = connect(values["cache_url"])
    with hold(client, space):
        deleted = Generations(client, space).prune(keep)
    click.echo(f"deleted {', '.join(deleted) or 'nothing'}")


@cli.command()
@size_option("--users", type=click.IntRange(1), required=True, help="How many users.")
@size_option("--items", type=click.IntRange(1), required=True, help="How many items.")
@size_option("--k", type=click.IntRange(1, MAX_K), default=PLAN.k, help="Items of a list.")
@size_option(
    "--rps", type=Finite(0), default=PLAN.requests_per_second, help="Requests a second at peak."
)
@size_option("--id-bytes", type=Finite(1), default=PLAN.id_bytes, help="Of an average id.")
@size_option(
    "--document-bytes", type=Finite(0), default=PLAN.document_bytes, help="Of an average document."
)
@size_option("--keep", type=click.IntRange(2, 100), default=3, help="How many generations stay.")
@size_option("--replicas", type=click.IntRange(0), default=1, help="Further copies of the cache.")
def size(**values: Any) -> None:
    """Estimate the memory, cores and network that lists need."""
    plan = Plan(
        users=values["users"],
        items=values["items"],
        k=values["k"],
        requests_per_second=values["rps"],
        id_bytes=values["id_bytes"],
        document_bytes=values["document_bytes"],
        generations=values["keep"] + 1,
        copies=values["replicas"] + 1,
    )
    click.echo(report.sizes(figures(plan)))


@cli.command()
@click.argument("path", type=PATH)
def package(path: Path) -> None:
    """Write the zip of our code that Spark executors need.

    For spark-submit --py-files; refresh --engine spark sends it by itself.
    """
    from batch.spark.package import package as write

    write(path)
    click.echo(f"wrote {path}")


@cli.command()
@click.argument("user")
@cache_options
def show(user: str, **values: Any) -> None:
    """Print USER's list as the API would answer it now."""
    if not user:
        raise BadSettings("USER must be the id of a user, not ''")
    client = connect(values["cache_url"])
    head, *items = read_list(client, _namespace(values), user)
    click.echo(head)
    for line in items or ["(empty: this user has had every item)"]:
        click.echo(line)


def _check_outputs(values: Values, *inputs: str) -> None:
    """Refuse to write over an input, before anything is read."""
    rejects, items, metrics = walks.rejects(values), values.get("items"), values.get("json")
    outputs = [("--rejects", rejects), ("--json", metrics)]
    if items is not None:
        inputs = (*inputs, items)
        outputs.append(("--rejects", beside(rejects, "items")))
    elif len(inputs) > 1:
        outputs.append(("--rejects", beside(rejects, "test")))
    there = [Path(each) for each in inputs if os.path.exists(each)]
    for name, output in outputs:
        if output is None or not os.path.isfile(output):
            continue
        if any(output.samefile(file) for each in there for file in find(each)):
            raise BadSettings(f"{name} {output} is the input itself: name another file")


def _write(path: Path, text: str, mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(text)
    except OSError as error:
        raise BadSettings(f"--json {path} cannot be written: {error.strerror}") from error


def _namespace(values: Values) -> Namespace:
    try:
        return Namespace(values["namespace"])
    except ValueError as error:
        raise BadSettings(str(error)) from error


def _generations(values: Values) -> Generations:
    client: Client = connect(values["cache_url"])
    return Generations(client, _namespace(values))


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadSettings(f"--after must be a date such as 2026-01-31, not {text!r}") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def main() -> NoReturn:
    """Run the command; every error is one sentence on stderr and an exit code."""
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
    stopped = _note_stop(signal.SIGTERM, signal.SIGINT)
    try:
        if sentences := environment.unknown(os.environ):
            raise BadSettings("; ".join(sentences))
        cli(prog_name="larder")
    except LarderError as error:
        _end(str(error), error.exit_code)
    except BrokenRecord as error:
        _end(f"the cache holds what this version did not write: {error}", 2)
    except UnicodeEncodeError as error:
        _end(f"{error.object!r} cannot be written as {error.encoding}", 2)
    except MemoryError as error:
        _end(f"not enough memory ({error}): give the job more, or take fewer --factors", 2)
    except OSError as error:
        _end(f"{error.filename or 'the system'}: {error.strerror or error}", 2)
    except (RuntimeError, SystemExit):  # DuckDB makes a RuntimeError of what a signal raises in it
        if not stopped:
            raise
        _end(f"stopped by {stopped[0].name}", 128 + stopped[0])
    sys.exit(0)


def _note_stop(*signals: signal.Signals) -> list[signal.Signals]:
    """End the run at one of these signals, and note down which it was."""
    stopped: list[signal.Signals] = []

    def stop(number: int, frame: object) -> NoReturn:
        stopped.append(signal.Signals(number))
        sys.exit(128 + number)

    for each in signals:
        signal.signal(each, stop)
    return stopped


def _end(sentence: str, exit_code: int) -> NoReturn:
    click.echo(f"error: {sentence}", err=True)
    try:
        sys.stdout.flush()
    except OSError:  # a full disk; the flush at exit would fail too, and end with 120
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
