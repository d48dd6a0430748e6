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
from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from app.contracts import environment
from app.contracts import keys as contract
from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import MAX_K
from batch.command.clicks.cli import clicks
from batch.command.decisions.cli import decisions
from batch.command.endings import ending, noted
from batch.command.options import (
    PATH,
    STOPS_SILENTLY,
    CacheOptions,
    Grouped,
    Serving,
    Tuning,
    auth_option,
    cache_options,
    events_options,
    events_url_option,
    inputs_argument,
    inputs_option,
    items_options,
    json_option,
    k_option,
    keep_option,
    mlflow_option,
    model_options,
    option,
    reading_options,
    report_option,
    serving_options,
    size_json_option,
    size_options,
    spark_options,
    terms_options,
    tuning_options,
    users_options,
    wish_options,
    workers_option,
)
from batch.command.size import Deployment
from batch.errors import BadSettings, LarderError
from batch.events.inputs import Inputs, Weighing
from batch.interactions.reading import ItemsFile, Reading
from batch.recommendations.published.wish import Wish
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


cli.add_command(clicks)
cli.add_command(decisions)


@cli.command(cls=Grouped)
@inputs_argument
@reading_options
@events_options
@items_options
@terms_options
@model_options
@spark_options
@cache_options
@events_url_option
@report_option
@mlflow_option
def refresh(
    interactions: tuple[str, ...],
    reading: Reading,
    weighing: Weighing,
    items: ItemsFile | None,
    terms: Terms,
    model: Model,
    spark: SparkOptions | None,
    cache: CacheOptions,
    events_url: str,
    report: Path | None,
    mlflow: str | None,
) -> None:
    """Judge a model, train it on INTERACTIONS, publish its lists.

    INTERACTIONS is a file, or a folder of files, of users and items: CSV or TSV (.gz too) or
    Parquet; with --engine spark any URI that Spark reads. Several add up; a folder of exported
    events (see larder events) first gets what users did until now. The model is judged on a part
    held out, then trained on all. One that does not beat the popular list, or is much worse than
    the live one, is not published.

    \b
    Orders with columns of their own names, and what answers show of each product:
      larder refresh orders.csv --user-column customer_id --item-column sku \\
        --items products.csv --items-id-column sku --document-columns title,price
    Orders, and what users do on the pages, which counts half after a month:
      larder refresh orders.csv events/ --weights click=1,cart=3,purchase=5 --half-life 30d
    Plays, judged on those since New Year, for a shop that shares its cache with others:
      larder refresh plays/ --after 2026-01-01 --min-ndcg 0.1 --namespace music
    """
    from batch.command import tracking
    from batch.command.recommendations import lists

    inputs = Inputs(interactions, weighing)
    given = inputs, reading, items, terms, model, spark, cache, events_url, report
    refresh = partial(lists.refresh, *given)
    tags = {"kind": "refresh", "namespace": cache.namespace.name}
    tracking.track(mlflow, tags, lambda run: noted(cache, partial(refresh, run=run)))


@cli.command(cls=Grouped)
@inputs_argument
@tuning_options
@reading_options
@events_options
@mlflow_option
def tune(
    interactions: tuple[str, ...],
    tuning: Tuning,
    reading: Reading,
    weighing: Weighing,
    mlflow: str | None,
) -> None:
    """Search for the engine and settings that suit INTERACTIONS.

    Nothing is published. Trials are compared on a part of what a model may train on. The best of
    them, or a blend, is judged once on what no trial saw, beside what refresh makes by itself; the
    command line that uses it is printed. Ctrl-C ends the search with the best so far. It runs on
    one machine.

    \b
    larder tune orders.csv --budget 2h --study orders.study --json tuning.json
    """
    from batch.command import tracking
    from batch.command.recommendations.tune import tune as search

    inputs = Inputs(interactions, weighing)
    tracking.track(mlflow, {"kind": "tuning"}, lambda run: search(inputs, reading, tuning, run))


@cli.command(cls=Grouped)
@inputs_argument
@reading_options
@events_options
@items_options
@json_option
def check(
    interactions: tuple[str, ...],
    reading: Reading,
    weighing: Weighing,
    items: ItemsFile | None,
    json: bool,
) -> None:
    """Say what refresh would find in INTERACTIONS; publish nothing.

    With --items, in the items too.
    """
    from batch.command.recommendations import lists

    lists.check(Inputs(interactions, weighing), reading, items, json)


@cli.command(cls=Grouped)
@inputs_option("--train", help="The interactions to train on; may come several times.")
@inputs_option("--test", help="The interactions to score on; may come several times.")
@reading_options
@events_options
@k_option
@model_options
@spark_options
@json_option
def evaluate(
    train: tuple[str, ...],
    test: tuple[str, ...],
    reading: Reading,
    weighing: Weighing,
    k: int,
    model: Model,
    spark: SparkOptions | None,
    json: bool,
) -> None:
    """Train on one input, score on another, beside most-popular."""
    from batch.command.recommendations import lists

    inputs = Inputs(train, weighing), Inputs(test, weighing)
    lists.evaluate(*inputs, reading, k, model, spark, json)


@cli.command()
@click.argument("user")
@cache_options
@option("--n", type=click.IntRange(1, MAX_K), help="How many items.  [default: the whole list]")
@json_option
def show(user: str, cache: CacheOptions, n: int | None, json: bool) -> None:
    """Print USER's list as the last refresh published it."""
    from batch.command import published
    from batch.generations.connect import connect
    from batch.recommendations.published.show import show as find

    if not user:
        raise BadSettings("USER must be the id of a user, not ''")
    found = find(connect(cache.url), cache.namespace, user, n)
    click.echo(published.list_json(found) if json else published.list_text(found))


@cli.command()
@cache_options
@serving_options
def serve(cache: CacheOptions, serving: Serving) -> None:
    """Answer GET /recommendations/<user> over HTTP until stopped.

    The other settings of the API are environment variables; app/README.md has the table.
    """
    from batch.command.stack.serve import become

    become(cache, serving)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("refresh", nargs=-1, type=click.UNPROCESSED, metavar="[INTERACTIONS] [OPTIONS]...")
@cache_options
@option("--folder", type=PATH, default="larder-data", help="Where the cache keeps its data.")
@option("--bind", default="127.0.0.1:8000", help="The address and port of the API.")
@workers_option
@auth_option
def up(
    refresh: tuple[str, ...], cache: CacheOptions, folder: Path, bind: str, workers: int, auth: str
) -> None:
    """Start a cache, refresh INTERACTIONS, serve, until Ctrl-C.

    All in one: a Valkey server of its own, which keeps its data in a folder, then larder refresh,
    whose options it takes too, then larder serve. Without INTERACTIONS it serves the lists that lie
    in the folder. It needs pip install '.[demo]' in Larder's folder.

    \b
    larder up orders.csv --user-column customer_id --items products.csv
    """
    from batch.command.stack import up as stack

    if problem := contract.problem_of(auth, bind):
        raise BadSettings(problem)
    if not refresh and (interactions := os.environ.get("LARDER_INTERACTIONS")):
        refresh = tuple(interactions.splitlines())
    if refresh:
        cli.commands["refresh"].make_context("refresh", list(refresh))  # what is wrong is told now
    given = {
        "LARDER_CACHE_URL": cache.url,
        "LARDER_NAMESPACE": cache.namespace.name,
        "LARDER_AUTH": auth,
        "OPENBLAS_NUM_THREADS": "1",
    }
    variables = {"LARDER_EVENTS": "true", **os.environ, **given}
    stack.up(stack.Stack(folder, cache, bind, workers, variables), refresh)


@cli.command()
@option("--notebooks", type=PATH, default="larder-notebooks", help="The folder that you work in.")
@option("--jupyter-host", default="127.0.0.1", help="The address that JupyterLab listens on.")
@option("--jupyter-port", type=click.IntRange(1, 65535), default=8888, help="And its port.")
@option(
    "--jupyter-token", help="What lets people in, better given as the variable.  [default: new]"
)
@option("--once", is_flag=True, help="Execute the first notebook and end.")
def workbench(
    notebooks: Path, jupyter_host: str, jupyter_port: int, jupyter_token: str | None, once: bool
) -> None:
    """Start JupyterLab with notebooks, until Ctrl-C.

    They show all of Larder, and are copied to a folder of yours; what is there already stays as it
    is. Beside it runs a cache, which keeps its data there, too, unless LARDER_CACHE_URL names one.
    It needs pip install '.[workbench]' in Larder's folder; batch/workbench/README.md says more.
    """
    from batch.command.stack import workbench as lab

    given = os.environ.get("LARDER_JUPYTER_TOKEN") if jupyter_token is None else jupyter_token
    cache = os.environ.get("LARDER_CACHE_URL", "")
    lab.run(lab.Workbench(notebooks, cache, jupyter_host, jupyter_port, given), once)


@cli.group()
def events() -> None:
    """Export, watch and count what users do."""


@events.command("export")
@click.argument("folder", type=PATH)
@cache_options
@events_url_option
@option(
    "--take-over/--no-take-over",
    default=False,
    help="Let this folder have what comes from now on, although another one had it so far.",
)
def export_events(folder: Path, cache: CacheOptions, events_url: str, take_over: bool) -> None:
    """Move all events that there are now into FOLDER, as Parquet by day, each exactly once.

    Only what is in files leaves the server. A run that dies loses and doubles nothing; schedule it
    as often as the server's memory asks for. Refresh does it too, before it reads such a folder.
    """
    from batch.command import events

    events.export(folder, cache, events_url, take_over)


@events.command("tail")
@cache_options
@events_url_option
@option("--count", type=click.IntRange(1), help="End after so many.  [default: at Ctrl-C]")
def tail_events(cache: CacheOptions, events_url: str, count: int | None) -> None:
    """Print the last ten events, then those to come, as lines of JSON."""
    from batch.command import events

    events.tail(cache, events_url, count)


@events.command("status")
@cache_options
@events_url_option
@json_option
def events_status(cache: CacheOptions, events_url: str, json: bool) -> None:
    """Say how many events there are, how many are in no file yet, and how fast they come."""
    from batch.command import events

    events.status(cache, events_url, json)


@cli.group()
def users() -> None:
    """Delete what is known of a user."""


@users.command("delete")
@click.argument("user")
@cache_options
@events_url_option
@click.option(  # without a variable: the API has another of that name
    "--events", type=PATH, metavar="FOLDER", help="Take the user out of exported events at once."
)
@json_option
def delete_user(
    user: str, cache: CacheOptions, events_url: str, events: Path | None, json: bool
) -> None:
    """Delete what is known of USER: lists, columns of click models, events, what the API remembers.

    Files of events lose the user at once with --events, else at their next export. What a refresh
    reads from elsewhere is yours to clean, or the next one brings the user back.
    """
    from batch.command.recommendations import users

    users.delete(user, cache, events_url, events, json)


@cli.command(cls=Grouped)
@click.argument("folder", type=PATH)
@wish_options
@users_options
@cache_options
@json_option
def export(folder: Path, wish: Wish, reading: Reading, cache: CacheOptions, json: bool) -> None:
    """Write all lists that are published into files of FOLDER.

    A file has its name once it is whole: recommendations-GENERATION.parquet, with the columns user,
    rank (from 1), item, score, source (personal or popular).

    \b
    For e-mails, where ids of users are longer than 16 bytes:
      larder export campaign/ --format csv --k 5 --users orders.csv --user-column customer_id
    """
    from batch.command.recommendations import whole

    whole.export(folder, wish, reading, cache, json)


@cli.command()
@click.argument("before", required=False)
@click.argument("after", required=False)
@cache_options
@json_option
def compare(before: str | None, after: str | None, cache: CacheOptions, json: bool) -> None:
    """Say what changed from generation BEFORE to AFTER.

    AFTER is the live one if it is not given, BEFORE the older good one before that.
    """
    from batch.command.recommendations import whole

    whole.compare(before, after, cache, json)


@cli.command()
@cache_options
@json_option
def generations(cache: CacheOptions, json: bool) -> None:
    """List what is published, the newest first."""
    from batch.command import published

    published.tell(cache, json)


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


@cli.group()
def key() -> None:
    """Make, list and revoke the keys that the API asks for.

    It asks for keys where LARDER_AUTH is on; app/README.md says more.

    \b
    larder key add --scope read --expires 90d --note "the shop's pages" > shop.key
    """


@key.command("add")
@option(
    "--scope", required=True, help="What it may do: one or more of read,events,rules,admin,decide."
)
@option("--expires", help="How long it holds: 90d, 12h, 30m.  [default: until it is revoked]")
@option("--note", default="", show_default=False, help="Who has it; larder key list shows this.")
@option("--key-file", type=PATH, help="Make what this file holds a key, - for standard input.")
@cache_options
def add_key(
    scope: str, expires: str | None, note: str, key_file: Path | None, cache: CacheOptions
) -> None:
    """Make a key and print it, this once.

    read: ask for lists. events: send events, and no more, so it may stand in a web page. rules:
    change and try rules. decide: ask for decisions and say what they were worth. admin: all. Only
    its digest is kept.

    With --key-file it is a key that applications have already, of 16 characters or more, and its id
    is printed; they send it as Ocp-Apim-Subscription-Key.
    """
    from batch.command import keys

    if key_file:
        keys.add_foreign(key_file, scope, expires, note, cache)
    else:
        keys.add(scope, expires, note, cache)


@key.command("list")
@cache_options
@json_option
def list_keys(cache: CacheOptions, json: bool) -> None:
    """List the keys, the newest first."""
    from batch.command import keys

    keys.tell(cache, json)


@key.command("revoke")
@click.argument("name", metavar="ID")
@cache_options
def revoke_key(name: str, cache: CacheOptions) -> None:
    """Let nobody in with the key of this ID any more."""
    from batch.command import keys

    keys.revoke(name, cache)


@cli.group()
def rules() -> None:
    """Hide, pin and boost items, and mix lists.

    Rules are a JSON file; batch/README.md says what it may hold. Each version is kept, so that
    there is a way back. What larder show prints is without them.

    \b
    echo '{"hide": ["sku-7"]}' | larder rules set - --note "recalled"
    """


RULES_FILE = click.argument("path", type=PATH, metavar="FILE")


@rules.command("set")
@RULES_FILE
@option("--note", default="", show_default=False, help="Why; larder rules history shows this.")
@cache_options
def set_rules(path: Path, note: str, cache: CacheOptions) -> None:
    """Put the rules of FILE in force, in place of all there were; - reads standard input."""
    from batch.command.recommendations import rules

    rules.put(path, note, cache)


@rules.command("check")
@RULES_FILE
@cache_options
@option("--api", default="", show_default=False, help="URL of an API that tries them on users.")
@option("--api-key", default="", show_default=False, help="A key of scope rules for that API.")
@json_option
def check_rules(path: Path, cache: CacheOptions, api: str, api_key: str, json: bool) -> None:
    """Say whether the rules of FILE hold, and with --api whose lists they would change, and how.

    Nothing is put in force. --api-key is better given as the variable.
    """
    from batch.command.recommendations import rules

    rules.check(path, cache, api, api_key, json)


@rules.command("show")
@click.argument("version", type=click.IntRange(0), required=False)
@cache_options
@json_option
def show_rules(version: int | None, cache: CacheOptions, json: bool) -> None:
    """Print the rules in force, or those of VERSION."""
    from batch.command.recommendations import rules

    rules.show(version, cache, json)


@rules.command("history")
@cache_options
@json_option
def rules_history(cache: CacheOptions, json: bool) -> None:
    """List the versions that are kept, the newest first."""
    from batch.command.recommendations import rules

    rules.history(cache, json)


@rules.command("rollback")
@click.argument("version", type=click.IntRange(0))
@cache_options
def roll_back_rules(version: int, cache: CacheOptions) -> None:
    """Put the rules of VERSION in force again, as a new version; 0 is that without any."""
    from batch.command.recommendations import rules

    rules.roll_back(version, cache)


@cli.command()
@size_options
@size_json_option
def size(plan: Deployment, json: bool) -> None:
    """Estimate the memory, cores and network that lists need."""
    from batch.command.size import as_json, figures, text

    click.echo((as_json if json else text)(figures(plan)))


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
    except (LarderError, BrokenRecord, UnicodeEncodeError, MemoryError, OSError) as error:
        if not stopped:  # else DuckDB has made another error of the signal
            _end(*ending(error))
    except (RuntimeError, SystemExit) as error:  # the first is what DuckDB makes of a signal
        done = isinstance(error, SystemExit) and not error.code  # though stopped: larder up
        if done or not stopped:
            raise
    if stopped and STOPS_SILENTLY not in os.environ:
        _end(f"stopped by {stopped[0].name}", 128 + stopped[0])
    sys.exit(128 + stopped[0] if stopped else 0)


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
