"""``larder decisions evaluate``: what policies would have earned, as a table and a page."""

import json as jsons
from collections.abc import Sequence
from pathlib import Path

import click

from app.contracts.decisions import Configuration, Decisions, Evaluation, Policy
from batch.command.options import CacheOptions
from batch.command.output.bars import for_this_terminal
from batch.command.output.table import table
from batch.command.output.writable import expect_writable
from batch.decisions.judge import jobs
from batch.decisions.judge.evaluate import Found, count, evaluate
from batch.decisions.judge.report.page import render
from batch.errors import BadSettings
from batch.generations.connect import connect
from batch.interactions.sources.files import write_whole

HEAD = ["policy", "reward", "95 % interval", "effective", "matched", "decisions", "IPS", "DR"]
FIGURES = "interval", "effective", "ips", "doubly_robust", "events", "matched"


def by_hand(folder: Path, asked: Evaluation, page: Path | None, json: bool) -> None:
    """Judge policies, and tell of it."""
    expect_writable(page)
    with for_this_terminal().step("judge", count(folder, asked), "decisions") as advance:
        found = evaluate(folder, asked, Policy("", ""), Configuration().exploration, advance)
    click.echo(jsons.dumps(_figures(found)) if json else _text(found))
    if page:
        write_whole(page, render(found, f"{folder}, {asked.start} to {asked.end}"))


def question(policies: Sequence[str], search: bool, start: str, end: str) -> Evaluation:
    """What is asked by hand: NAME=ARGUMENTS of each policy, ISO 8601. Raises BadSettings."""
    named = [each.partition("=")[::2] for each in policies]
    if not all(name.strip() and arguments.strip() for name, arguments in named):
        raise BadSettings('--policy must be NAME="ARGUMENTS", such as fast="--cb_explore_adf"')
    if len({name for name, _ in named}) < len(named):
        raise BadSettings("--policy: two have the same name")
    return Evaluation("", "by hand", start, end, "", named, search)


def queued(
    folder: Path, evaluation: str | None, importance: str | None, cache: CacheOptions
) -> None:
    """Answer what stands in the cache: that evaluation, or that question for importances."""
    space = Decisions(cache.namespace.name)
    key = space.importances if importance else space.evaluations
    jobs.answer(connect(cache.url), space, folder, key, importance or evaluation or "")


def _text(found: Found) -> str:
    rows = []
    for each in found.judged:
        for slot in each.rows:
            sums = each.total(slot)
            low, high = sums.interval
            figures = f"{sums.snips:.4f}", f"{low:.4f} to {high:.4f}", f"{sums.effective:,.0f}"
            counts = f"{sums.matched:,}", f"{sums.events:,}"
            others = f"{sums.ips:.4f}", f"{sums.doubly_robust:.4f}"
            rows.append([f"{each.name} {slot}".strip(), *figures, *counts, *others])
    told = [table(HEAD, rows), f"the best that can be used: {found.optimal}"]
    told += [f"{each.name}: {each.arguments}" for each in found.judged if each.arguments]
    if found.passed:
        why = "some are of one slot and some of several, or are too large for a policy"
        told.append(f"{found.passed:,} decisions could not be judged: {why}")
    told += [found.limits] if found.limits else []
    return "\n".join(told)


def _figures(found: Found) -> dict[str, object]:
    policies = {
        each.name: {
            "arguments": each.arguments,
            "source": each.source,
            "reward": each.total().snips,
            **{name: getattr(each.total(), name) for name in FIGURES},
        }
        for each in found.judged
    }
    told = {"optimal": found.optimal, "passed": found.passed, "limits": found.limits}
    return told | {"policies": policies}
