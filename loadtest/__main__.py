"""``python -m loadtest``: run a scenario against a URL or a local stack, or compare reports.

The exit code is the verdict: 0 green, 1 red, 2 when it could not run, 130 when it was interrupted.
"""

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from loadtest import generator, graphs, population, report, scenarios, stack, verdict
from loadtest.api import Api, CannotRun

PUBLISH_EVERY_SECONDS = 10.0
SOAK_SECONDS = 120
"""A shorter soak says nothing about memory."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; every error is one sentence on stderr and an exit code."""
    asked = parser().parse_args(arguments)
    for each in STOPS:
        signal.signal(each, _stop)
    try:
        return _compare(asked) if asked.command == "compare" else _scenario(asked)
    except CannotRun as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
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
    for name, sentence in _SENTENCES.items():
        _add_scenario(
            commands.add_parser(name, help=sentence, description=sentence, allow_abbrev=False), name
        )
    compare = commands.add_parser(
        "compare", help="lay the graphs of several reports over each other"
    )
    compare.add_argument("reports", nargs="+", type=Path, metavar="REPORT")
    compare.add_argument("--out", type=Path, required=True, help="the PNG to write")
    return made


_SENTENCES = {
    "slo": "200 users, 180 requests/s: does the objective hold?",
    "capacity": "closed loop without wait, more and more users: where is the knee?",
    "ramp": "open loop, more and more arrivals: at which rate does the objective break?",
    "soak": "the load of slo for long: do memory and connections stay flat?",
    "refresh": "the load of slo while generations are published and rolled back",
}


def _add_scenario(parser: argparse.ArgumentParser, name: str) -> None:
    add = parser.add_argument
    add("--url", help="the deployment to test; without it a local stack is started")
    add("--strict", action="store_true", help="hold it against Larder's own objective")
    add("--report", type=Path, help="folder of the report  [loadtest-reports/<scenario>-<time>]")
    add("--users", type=_positive, default=200)
    add("--processes", type=_positive, default=1, help="of the load generator")
    add("--population", type=Path, help="a file of user ids, one a line  [the API's own sample]")
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


def _scenario(asked: argparse.Namespace) -> int:
    if asked.url:
        api = Api(asked.url)
        known = _look(api, asked)  # before the folder is made: nothing to report yet
    folder = _folder(asked)
    try:
        with contextlib.ExitStack() as left:
            local = None
            if not asked.url:
                print("starting cache, demo data and API on loopback ...", flush=True)
                local = left.enter_context(stack.local(folder))
                api = Api(local.url)
                known = _look(api, asked)
            return _run(asked, api.url, local, folder, known)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only when it is empty


def _look(api: Api, asked: argparse.Namespace) -> str:
    """See that Larder answers and that there are users; say which. Raises CannotRun."""
    api.k()
    found = population.load(asked.population) if asked.population else population.sample(api)
    return f"{found.source}, Zipf {asked.zipf:g}, {population.STRANGERS:.0%} strangers"


def _folder(asked: argparse.Namespace) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder: Path = asked.report or Path("loadtest-reports") / f"{asked.command}-{stamp}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / report.FIGURES).unlink(missing_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CannotRun(f"the report cannot be written to {folder}: {error.strerror}") from error
    return folder.resolve()


def _run(
    asked: argparse.Namespace,
    url: str,
    local: stack.Stack | None,
    folder: Path,
    known: str,
) -> int:
    seconds = _expected_seconds(asked)
    print(f"running {asked.command} against {url}, at most {seconds:,} seconds ...", flush=True)
    with contextlib.ExitStack() as left:
        publisher = None
        if local and asked.command == "refresh":
            publisher = left.enter_context(stack.Publisher(local, PUBLISH_EVERY_SECONDS))
        samples = left.enter_context(generator.running(asked, url, folder)).watch(
            local, seconds + 60
        )
    found = generator.figures(folder)
    found |= {"url": url, "population": known, "strict": asked.strict, "processes": asked.processes}
    _judge_more(asked.command, found, samples, local, publisher)
    (folder / report.FIGURES).write_text(json.dumps(found, indent=1), encoding="utf-8")
    graphs.draw(found, folder)
    print(f"\n{report.text(found, folder)}")
    passed: bool = found["verdict"]["passed"]
    return 0 if passed else 1


def _expected_seconds(asked: argparse.Namespace) -> int:
    step_seconds: int = getattr(asked, "step_seconds", scenarios.STEP_SECONDS)
    duration: int | None = getattr(asked, "duration", None)
    scenario = scenarios.make(asked.command, asked.users, duration, step_seconds, asked.strict)
    around: float = scenario.arrivals.settle_seconds + 3 + asked.users / 100
    return ceil(sum(step.seconds + around for step in scenario.steps))


def _judge_more(
    name: str,
    found: dict[str, Any],
    samples: list[verdict.Sample],
    local: stack.Stack | None,
    publisher: stack.Publisher | None,
) -> None:
    """Add what only the local stack shows: memory over time, and what was published."""
    found["memory"] = [dataclasses.asdict(sample) for sample in samples]
    sentences: list[str] = []
    if name == "soak" and local and found["steps"]:
        sentences = verdict.leaks(samples, *found["steps"][0]["window"])
    if publisher:
        found["published"], found["rolled_back"] = publisher.published, publisher.rolled_back
        found["went_live"] = publisher.went_live
        sentences += [publisher.failed] if publisher.failed else []
        if len(found["generations"]) < 2:
            sentences += ["the answers never showed a new generation"]
        if found["errors"]:
            sentences += ["requests failed, before or after the measured time if not in it"]
    if sentences:
        broke = [] if found["verdict"]["passed"] else found["verdict"]["sentences"]
        found["verdict"] = {"passed": False, "sentences": [*broke, *sentences]}
    else:
        found["verdict"]["sentences"] += _remarks(name, found, local, publisher)


def _remarks(
    name: str,
    found: dict[str, Any],
    local: stack.Stack | None,
    publisher: stack.Publisher | None,
) -> list[str]:
    if name == "soak" and local:
        start, end = found["steps"][0]["window"]
        if end - start < SOAK_SECONDS:
            return [f"too short to say whether memory is flat: give it {SOAK_SECONDS} s or more"]
        return ["memory and connections stayed flat after warm-up"]
    if name == "soak":
        return ["memory was not watched: the API runs elsewhere"]
    if publisher:
        return [
            f"{publisher.published} generations were published and {publisher.rolled_back} rolled "
            f"back meanwhile; answers came from {len(found['generations'])}"
        ]
    if name == "refresh":
        return ["nothing was published by this run: the API runs elsewhere"]
    return []


def _compare(asked: argparse.Namespace) -> int:
    try:
        runs = {str(folder): report.load(folder) for folder in asked.reports}
    except (OSError, ValueError) as error:
        raise CannotRun(f"not a report: {error}") from error
    try:
        graphs.compare(runs, asked.out)
    except (OSError, ValueError) as error:  # ValueError: a kind of picture that nobody knows
        raise CannotRun(f"{asked.out} cannot be written: {error}") from error
    print(f"wrote {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
