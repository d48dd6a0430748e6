"""``larder tune``: what was tried, what is best, and the command line that uses it."""

import json
import logging
import shlex
import signal
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from batch.command.options import Tuning
from batch.command.output import report
from batch.command.output.bars import for_this_terminal
from batch.command.output.table import table
from batch.command.recommendations.lists import keep_inputs
from batch.command.tracking import Run
from batch.events.inputs import Inputs
from batch.events.load import load_all
from batch.interactions.reading import Reading
from batch.recommendations.judge.evaluate import Metrics
from batch.recommendations.terms import Model
from batch.recommendations.tune import RANGES, Search, Trial, Tuned

log = logging.getLogger("larder")

SHOWN = 10
"""How many of the best trials are printed."""


def tune(inputs: Inputs, reading: Reading, tuning: Tuning, run: Run) -> None:
    """Search until the time is over or Ctrl-C, and tell what is best."""
    rejects = None if reading.rejects is None else reading.rejects_file
    outputs = [("--rejects", rejects), ("--json", tuning.json), ("--study", tuning.study)]
    inputs.check()
    keep_inputs(inputs.read(), None, outputs, rejects)
    if tuning.json is not None:
        tuning.json.open("a").close()  # what cannot be written is told before hours of work
    found = load_all(inputs, reading, rejects)
    click.echo(report.interactions(found.report, len(found.users), len(found.items)))
    search, progress = (
        Search.of(found, tuning.holdout, tuning.repeat, tuning.k),
        for_this_terminal(),
    )
    study = search.study(tuning.study)
    try:
        search.run(study, tuning.seconds, tuning.trials, progress)
    except SystemExit as stopped:
        if stopped.code != 128 + signal.SIGINT or not study.trials:
            raise
        log.warning("stopped: now the best so far is judged; Ctrl-C again ends that, too")
    tuned = search.end(study.trials, progress)
    told = _object(inputs, reading, tuned)
    click.echo(_text(tuned, told))
    text = json.dumps(told, ensure_ascii=False, indent=1)
    if tuning.json is not None:
        tuning.json.write_text(text, encoding="utf-8")
    run.tags["engine"] = tuned.model.engine
    run.settings = {**told["options"], **tuning.holdout.settings, "k": tuning.k}
    run.figures = {**told["quality"], "trials": len(tuned.trials)}
    run.texts["tuning.json"] = json.dumps({**told, "command": ""}, ensure_ascii=False)


def _object(inputs: Inputs, reading: Reading, tuned: Tuned) -> dict[str, Any]:
    options = _options(tuned.model)
    return {
        "engine": tuned.model.engine,
        "options": options,
        "command": _command(inputs.paths, reading.preset, tuned.model.engine, options),
        "quality": {name: asdict(metrics) for name, metrics in _judged(tuned).items()},
        "compared": [asdict(each) for each in tuned.compared],
        "trials": [asdict(each) for each in tuned.trials],
    }


def _judged(tuned: Tuned) -> dict[str, Metrics]:
    return {
        "model": tuned.best.model,
        "default": tuned.usual.model,
        "popular": tuned.best.popular,
    }


def _options(model: Model) -> dict[str, Any]:
    """What of the model is not as it would be anyway."""
    names = ["blend", *(name for some in RANGES.values() for name in some), "seed", "repeat"]
    usual = Model()
    return {
        name: getattr(model, name) for name in names if getattr(model, name) != getattr(usual, name)
    }


def _command(paths: Sequence[str], preset: str, engine: str, options: dict[str, Any]) -> str:
    layout = [] if preset == "larder" else ["--preset", preset]
    words = ["larder", "refresh", *paths, *layout, "--engine", engine]
    for name, value in options.items():
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(f"{value:g}" if isinstance(value, float) else str(value))
    return shlex.join(words)


def _text(tuned: Tuned, told: dict[str, Any]) -> str:
    best = sorted(tuned.trials, key=lambda each: each.ndcg, reverse=True)[:SHOWN]
    head = ["engine", "nDCG", "95 % interval", "seconds", "options"]
    judged = [
        [name, f"{each.ndcg:.4f}", report.ends(each.intervals["ndcg"]), f"{each.coverage:.4f}"]
        for name, each in _judged(tuned).items()
    ]
    users, k = tuned.best.model.users, tuned.best.model.k
    return "\n".join(
        [
            f"the best of {len(tuned.trials)} trials, on a part of what is trained on:",
            table(head, map(_row, best)),
            "",
            *report.compared(tuned.compared),
            f"judged once, on what no trial saw ({users:,} users); default is --engine auto:",
            table(["", f"nDCG@{k}", "95 % interval", "coverage"], judged),
            "",
            "to use it, with the other options by which your input is read:",
            told["command"],
        ]
    )


def _row(trial: Trial) -> list[str]:
    options = " ".join(f"{name}={value}" for name, value in trial.options.items())
    ends = report.ends(trial.interval)
    return [trial.engine, f"{trial.ndcg:.4f}", ends, f"{trial.seconds:.1f}", options]
