"""``python -m loadtest``: run a scenario against a URL or a local stack, or compare reports.

The exit code is the verdict: 0 green, 1 red, 2 when it could not run, 130 when it was interrupted.
"""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

from loadtest import generator, stack
from loadtest.api import Api, CannotRun
from loadtest.dawdlers import Dawdlers
from loadtest.judge import graphs
from loadtest.judge.inside import Inside, complete
from loadtest.judge.measured import FILE, read
from loadtest.judge.report import Result
from loadtest.load import candidates, decisions, population, scenarios
from loadtest.load.scenarios import Asked
from loadtest.stack import CLICKS, DECISIONS, LIVE, PLAIN, Kind

PUBLISH_EVERY_SECONDS = 10.0
KINDS: dict[str, Kind] = {"live": LIVE, "clicks": CLICKS, "decisions": DECISIONS}
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SENTENCES = {
    "slo": "200 users, 180 requests/s: does the objective hold?",
    "capacity": "closed loop without wait, more and more users: where is the knee?",
    "ramp": "open loop, more and more arrivals: at which rate does the objective break?",
    "soak": "the load of slo for long: do memory and connections stay flat?",
    "refresh": "the load of slo while generations are published and rolled back",
    "live": "the load of slo, a tenth of it events: does what was bought or clicked stay away?",
    "slow": "the load of slo beside 1,000 connections that dawdle",
    "decisions": "200 users, 180 decisions/s, each rewarded later: is all of it learned, once?",
    "clicks": "200 users, each with ten candidates for a click model, while models are swapped",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; every error is one sentence on stderr and an exit code."""
    said = parser().parse_args(arguments)
    for each in STOPS:
        signal.signal(each, _stop)
    try:
        if said.command == "compare":
            return _compare(said.reports, said.out)
        asked = Asked(**vars(said))
        return _elsewhere(asked, Api(asked.url)) if asked.url else _here(asked)
    except (CannotRun, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return 130


def _stop(number: int, frame: object) -> None:
    """Stop once: what ends the processes must not be interrupted by a second signal."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    """The command line; public so that a test can hold the README against it."""
    made = argparse.ArgumentParser(
        "python -m loadtest", description="Does the promise hold?", allow_abbrev=False
    )
    commands = made.add_subparsers(dest="command", required=True)
    for name, sentence in SENTENCES.items():
        _add_scenario(
            commands.add_parser(name, help=sentence, description=sentence, allow_abbrev=False), name
        )
    compare = commands.add_parser(
        "compare", help="lay the graphs of several reports over each other"
    )
    compare.add_argument("reports", nargs="+", type=Path, metavar="REPORT")
    compare.add_argument("--out", type=Path, required=True, help="the PNG to write")
    return made


def _add_scenario(parser: argparse.ArgumentParser, name: str) -> None:
    add = parser.add_argument
    add("--url", help="the deployment to test; without it a local stack is started")
    add("--strict", action="store_true", help="hold it against Larder's own objective")
    add("--report", type=Path, help="folder of the report  [loadtest-reports/<scenario>-<time>]")
    add("--users", type=_positive, default=200)
    add("--processes", type=_positive, default=1, help="of the load generator")
    ids = "a file of user ids, one a line  [the API's own sample]"
    rows = "a CSV file of examples, of which candidates are made  [those of the local stack]"
    add("--population", type=Path, help=rows if name == "clicks" else ids)
    add(
        "--zipf", type=_exponent, default=1.0, help="exponent of the law by which users come  [1.0]"
    )
    add("--seed", type=int, default=1, help="of chance  [1]")
    if name in scenarios.DURATION_SECONDS:
        seconds = scenarios.DURATION_SECONDS[name]
        add("--duration", type=_positive, default=seconds, help=f"seconds measured  [{seconds}]")
    else:
        seconds = scenarios.STEP_SECONDS
        add("--step-seconds", type=_positive, default=seconds, help=f"of each step  [{seconds}]")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def _exponent(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 10:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be from 0 (all alike) to 10, not {text!r}")


def _elsewhere(asked: Asked, api: Api) -> int:
    known = _look(api, asked)  # before the folder is made: nothing to report yet
    with _folder(asked) as folder:
        return _run(asked, api, folder, known)


def _here(asked: Asked) -> int:
    with _folder(asked) as folder:
        print("starting cache, demo data and API on loopback ...", flush=True)
        with stack.local(folder, KINDS.get(asked.command, PLAIN)) as local:
            asked = replace(asked, population=asked.population or local.population)
            api = Api(local.url)
            return _run(asked, api, folder, _look(api, asked), local)


def _run(asked: Asked, api: Api, folder: Path, known: str, local: stack.Stack | None = None) -> int:
    """Load the API, tell what came of it, and return the exit code."""
    seconds, publisher = _announced_seconds(asked, api.url), None
    if local and asked.command in ("refresh", "clicks"):
        publisher = stack.Publisher(local, PUBLISH_EVERY_SECONDS)
    dawdlers = Dawdlers(api.url) if asked.command == "slow" else None
    ledger = decisions.Ledger(api) if asked.command == "decisions" else None
    with publisher or dawdlers or contextlib.nullcontext():
        usage = generator.run(asked, api.url, folder, seconds, local.usage if local else None)
    left = generator.left(folder)
    inside = Inside(
        usage=usage if local else None,
        published=publisher.published() if publisher else None,
        dawdled=dawdlers.seen() if dawdlers else None,
        settled=ledger.settle(left.counts) if ledger else None,
    )
    measured = complete(left, inside)
    result = Result(measured, api.url, known, asked.strict, asked.processes, inside)
    result.write(folder)
    graphs.draw(result, folder)
    print(f"\n{result.text(folder)}")
    return 0 if measured.verdict.passed else 1


def _look(api: Api, asked: Asked) -> str:
    """See that Larder answers and that there are users; say which. Raises CannotRun."""
    scenario = scenarios.make(asked)
    if scenario.decides:
        decisions.settling_seconds(api)
        actions, features = decisions.ACTIONS, decisions.FEATURES
        return f"{actions} actions and a context, each with {features} features"
    if scenario.ranks:
        made = len(candidates.of(api, asked.population))
        return f"{made:,} requests of {candidates.CANDIDATES} candidates from {asked.population}"
    api.k()
    if scenario.events_share:
        api.check_events()
    found = population.read(asked.population) if asked.population else population.sample(api)
    return f"{found.source}, Zipf {asked.zipf:g}, {population.STRANGERS:.0%} strangers"


@contextlib.contextmanager
def _folder(asked: Asked) -> Iterator[Path]:
    """The folder of the report; it goes again when nothing was left in it. Raises CannotRun."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = asked.report or Path("loadtest-reports") / f"{asked.command}-{stamp}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).unlink(missing_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CannotRun(f"the report cannot be written to {folder}: {error.strerror}") from error
    try:
        yield folder.resolve()
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only when it is empty


def _announced_seconds(asked: Asked, url: str) -> int:
    """How long the run may last, which is printed."""
    scenario = scenarios.make(asked)
    around = scenario.arrivals.steady_seconds + 3 + asked.users / 100
    seconds = ceil(sum(step.seconds + around for step in scenario.steps))
    said = f"running {asked.command} against {url}, at most {seconds:,} seconds ..."
    print(said, flush=True)
    return seconds


def _compare(reports: Sequence[Path], out: Path) -> int:
    try:
        runs = {str(folder): read(folder) for folder in reports}
    except (OSError, ValueError) as error:
        raise CannotRun(f"not a report: {error}") from error
    try:
        graphs.compare(runs, out)
    except (OSError, ValueError) as error:  # ValueError: a kind of picture that nobody knows
        raise CannotRun(f"{out} cannot be written: {error}") from error
    print(f"wrote {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
