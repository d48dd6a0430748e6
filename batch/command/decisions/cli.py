"""The subcommands of ``larder decisions``; what each needs is imported when it runs."""

import os
from pathlib import Path

import click

from app.contracts import keys
from batch.command.decisions.container import OrUp
from batch.command.decisions.logs import logs
from batch.command.options import (
    PATH,
    CacheOptions,
    Grouped,
    Serving,
    auth_option,
    cache_options,
    deciding_options,
    events_url_option,
    json_option,
    keep_option,
    option,
    report_option,
)
from batch.errors import BadSettings


@click.group(cls=OrUp)
def decisions() -> None:
    """Choose one of some actions, and learn from rewards.

    It speaks the API of the cloud service that was switched off, and keeps its logs here.
    """


decisions.add_command(logs)


@decisions.command()
@cache_options
@deciding_options
def serve(cache: CacheOptions, serving: Serving) -> None:
    """Answer rank and reward over HTTP until stopped.

    It is larder serve with LARDER_DECISIONS=only: ready without lists, and it has none. Bodies may
    have 10 MB, for models that are brought, unless LARDER_MAX_BODY_BYTES says otherwise. It needs
    pip install '.[decisions]' in Larder's folder.
    """
    from batch.command.stack.serve import become

    most = os.environ.get("LARDER_MAX_BODY_BYTES", "10485760")
    become(cache, serving, LARDER_DECISIONS="only", LARDER_MAX_BODY_BYTES=most)


@decisions.command()
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@cache_options
@option("--folder", type=PATH, default="larder-decisions", help="Where all that stays is kept.")
@option("--bind", default="127.0.0.1:5000", help="The address and port of the API.")
@option("--workers", type=click.IntRange(1, 256), default=2, help="Processes that answer.")
@auth_option
def up(
    settings: tuple[str, ...],
    cache: CacheOptions,
    folder: Path,
    bind: str,
    workers: int,
    auth: str,
) -> None:
    """Start a cache, the trainer and the API of decisions, until Ctrl-C.

    NAME=VALUE are the arguments of the container that this takes the place of. Eula, Billing and
    ApiKey belong together; callers then need the key. The others are said to change nothing. It
    needs pip install '.[decisions-up]' in Larder's folder.

    \b
    larder decisions up Eula=accept Billing=any ApiKey=<a text of 16 characters or more>
    """
    from batch.command.decisions import container

    told = container.read(settings)
    auth = keys.ON if told.api_key else auth
    if problem := keys.problem_of(auth, bind):
        raise BadSettings(f"{problem}; Eula=accept Billing=any ApiKey=... is both in one")
    from batch.command.decisions import up as stack
    from batch.command.stack.up import Stack

    given = {
        "LARDER_CACHE_URL": cache.url,
        "LARDER_NAMESPACE": cache.namespace.name,
        "LARDER_AUTH": auth,
        "OPENBLAS_NUM_THREADS": "1",
    }
    stack.run(Stack(folder, cache, bind, workers, {**os.environ, **given}), told)


@decisions.command()
@click.argument("logs", type=PATH, required=False)
@cache_options
@events_url_option
@keep_option
@option("--follow/--no-follow", default=False, help="Go on until stopped.")
@option(
    "--guard/--no-guard",
    default=True,
    help="Go back to the policy before when a new one earns less than the baseline.",
)
def train(
    logs: Path | None,
    cache: CacheOptions,
    events_url: str,
    keep: int,
    follow: bool,
    guard: bool,
) -> None:
    """Learn from decisions and their rewards, and publish models.

    LOGS is a folder that gets all decisions with their rewards, as Parquet by day; without it
    nothing can be learned anew when the policy changes. A decision is learned once its wait for
    rewards is over. Without --follow what is over now is learned, and one model published; with
    it, evaluations that were asked for are answered, and better policies looked for. Beside the
    newest --keep models, the last one of each hour of a day stays, to go back to.

    Run it anywhere, and more than once: one trainer works, the others wait until it dies. A run
    that is killed loses and doubles nothing.

    \b
    larder decisions train logs/ --follow
    """
    from batch.command.decisions import train as work

    work.train(logs, cache, events_url, keep, follow, guard)


@decisions.command(cls=Grouped)
@click.argument("logs", type=PATH)
@option(
    "--policy",
    "policies",
    multiple=True,
    metavar='NAME="ARGUMENTS"',
    help="A policy to judge; may come several times.",
)
@option("--search", is_flag=True, help="Try others, too, and tell the best of them.")
@option("--from", "start", help="The first moment, ISO 8601.  [default: all]")
@option("--to", "end", help="The moment behind the last.  [default: all]")
@option("--id", help="Answer the evaluation of that id in the cache, as the trainer does.")
@option("--importance", help="Answer the question of that id for importances of features.")
@report_option
@json_option
@cache_options
def evaluate(
    logs: Path,
    policies: tuple[str, ...],
    search: bool,
    start: str | None,
    end: str | None,
    id: str | None,
    importance: str | None,
    report: Path | None,
    json: bool,
    cache: CacheOptions,
) -> None:
    """Say what policies would have earned, had they made the decisions that LOGS hold.

    LOGS is the folder that larder decisions train writes. Each policy begins without a model, says
    how likely it would have decided the same, and then learns what came of it. Nothing is changed.

    \b
    larder decisions evaluate logs/ --search --report report.html
    """
    from batch.command.decisions import evaluate as work

    if id or importance:
        work.queued(logs, id, importance, cache)
    else:
        asked = work.question(policies, search, start or "1970-01-01", end or "9999-01-01")
        work.by_hand(logs, asked, report, json)


MODEL = click.argument("model", required=False)


@decisions.command()
@cache_options
@json_option
def models(cache: CacheOptions, json: bool) -> None:
    """List the models of decisions that are published, the newest first."""
    from batch.command.decisions import models

    models.tell(cache, json)


@decisions.command()
@MODEL
@cache_options
def rollback(model: str | None, cache: CacheOptions) -> None:
    """Decide by MODEL again, or by the one before the live one.

    The trainer goes on from it, with what comes from now on.
    """
    from batch.command.decisions import models

    models.roll_back(model, cache)


@decisions.command()
@MODEL
@cache_options
@json_option
def show(model: str | None, cache: CacheOptions, json: bool) -> None:
    """Say what MODEL, or the live one, has learned, and what its decisions earned."""
    from batch.command.decisions import models

    models.show(model, cache, json)


@decisions.command("export")
@click.argument("file", type=PATH)
@option("--model", help="Which model.  [default: the live one]")
@cache_options
def export_model(file: Path, model: str | None, cache: CacheOptions) -> None:
    """Write a model into FILE, as Vowpal Wabbit reads it: vw -i FILE.

    \b
    larder decisions export model.vw
    """
    from batch.command.decisions import models

    models.export(file, model, cache)


@decisions.command("import")
@click.argument("file", type=PATH)
@cache_options
def import_model(file: Path, cache: CacheOptions) -> None:
    """Have the trainer publish the model of FILE, and learn on from it.

    FILE is what the cloud service exported, model.vw or the zip with its signature, or what Vowpal
    Wabbit saved.

    \b
    larder decisions import Personalizer_Model.zip
    """
    from batch.command.decisions import models

    models.bring(file, cache)
