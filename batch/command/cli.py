"""The ``larder`` command: its subcommands, logging, exit codes.

Exit codes: 0 done; 2 terminal, the same run would fail again (bad input, bad settings, a model that
is not good enough); 75 transient, cache, cluster or disk cannot take it now: retry.

What a subcommand needs is imported when it runs: in an emergency ``larder rollback`` loads neither
the model library nor anything else that may be broken.
"""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import click

from app.contracts import environment
from app.contracts.generations import BrokenRecord
from batch.command.options import (
    PATH,
    CacheOptions,
    cache_options,
    items_options,
    k_option,
    keep_option,
    model_options,
    option,
    reading_options,
    size_options,
    spark_options,
    terms_options,
)
from batch.command.size import Deployment
from batch.errors import DISK_TROUBLE, BadSettings, LarderError, Terminal, Transient
from batch.interactions.reading import ItemsFile, Reading
from batch.recommendations.terms import Model, Terms
from batch.spark.options import SparkOptions


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
    run would fail again (bad input, model not good enough); 75 cache, cluster or disk away: retry.
    """


@cli.command()
@click.argument("interactions", envvar="LARDER_INTERACTIONS")
@reading_options
@items_options
@terms_options
@model_options
@spark_options
@cache_options
def refresh(
    interactions: str,
    reading: Reading,
    items: ItemsFile | None,
    terms: Terms,
    model: Model,
    spark: SparkOptions | None,
    cache: CacheOptions,
) -> None:
    """Judge a model, train it on INTERACTIONS, publish its lists.

    INTERACTIONS is a file, or a folder of files, of users and items: CSV or TSV (.gz too) or
    Parquet; with --engine spark any URI that Spark reads. The model is judged on a part held out,
    then trained on all. One that does not beat the popular list, or is much worse than the live
    one, is not published.
    """
    from batch.command import lists

    lists.refresh(interactions, reading, items, terms, model, spark, cache)


@cli.command()
@click.argument("interactions", envvar="LARDER_INTERACTIONS")
@reading_options
@items_options
def check(interactions: str, reading: Reading, items: ItemsFile | None) -> None:
    """Say what refresh would find in INTERACTIONS; publish nothing.

    With --items, in the items too.
    """
    from batch.command import lists

    lists.check(interactions, reading, items)


@cli.command()
@option("--train", required=True, help="The interactions to train on.")
@option("--test", required=True, help="The interactions to score on.")
@reading_options
@k_option
@model_options
@spark_options
@option("--json", type=PATH, help="Write the metrics here too.")
def evaluate(
    train: str,
    test: str,
    reading: Reading,
    k: int,
    model: Model,
    spark: SparkOptions | None,
    json: Path | None,
) -> None:
    """Train on one file, score on another, beside most-popular."""
    from batch.command import lists

    lists.evaluate(train, test, reading, k, model, spark, json)


@cli.command()
@click.argument("user")
@cache_options
def show(user: str, cache: CacheOptions) -> None:
    """Print USER's list as the API would answer it now."""
    from batch.generations.connect import connect
    from batch.recommendations.show import show as lines

    if not user:
        raise BadSettings("USER must be the id of a user, not ''")
    head, *items = lines(connect(cache.url), cache.namespace, user)
    click.echo(head)
    for line in items or ["(empty: this user has had every item)"]:
        click.echo(line)


@cli.command()
@cache_options
@option("--bind", default="127.0.0.1:8000", help="The address and port to listen on.")
@option("--workers", type=click.IntRange(1, 256), default=2, help="Processes that answer.")
def serve(cache: CacheOptions, bind: str, workers: int) -> None:
    """Answer GET /recommendations/<user> over HTTP until stopped.

    The other settings of the API are environment variables; app/README.md has the table.
    """
    given = {
        "LARDER_CACHE_URL": cache.url,
        "LARDER_NAMESPACE": cache.namespace.name,
        "LARDER_BIND": bind,
        "LARDER_WORKERS": str(workers),
    }
    configured = ["-c", "python:app.http.gunicorn_conf", "app.http.wsgi:app"]
    command = [sys.executable, "-m", "gunicorn", *configured]
    os.execve(command[0], command, {**os.environ, **given})


@cli.command()
@cache_options
def generations(cache: CacheOptions) -> None:
    """List what is published, the newest first."""
    from batch.command import published

    published.tell(cache)


@cli.command()
@click.argument("generation", required=False)
@cache_options
def rollback(generation: str | None, cache: CacheOptions) -> None:
    """Serve GENERATION again, or the one before the live one."""
    from batch.command import published

    published.roll_back(generation, cache)


@cli.command()
@cache_options
@keep_option
def prune(cache: CacheOptions, keep: int) -> None:
    """Delete old generations and what dead runs left.

    The newest and the live one stay.
    """
    from batch.command import published

    published.prune(cache, keep)


@cli.command()
@size_options
def size(plan: Deployment) -> None:
    """Estimate the memory, cores and network that lists need."""
    from batch.command.size import figures, text

    click.echo(text(figures(plan)))


@cli.command()
@click.argument("path", type=PATH)
def package(path: Path) -> None:
    """Write the zip of our code that Spark executors need.

    For spark-submit --py-files; refresh --engine spark sends it by itself.
    """
    from batch.spark.package import package as write

    write(path)
    click.echo(f"wrote {path}")


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
        code = Transient.exit_code if error.errno in DISK_TROUBLE else Terminal.exit_code
        _end(f"{error.filename or 'the system'}: {error.strerror or error}", code)
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
