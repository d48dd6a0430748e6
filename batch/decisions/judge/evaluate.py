"""Judge policies by the logs: what would each have earned?

Beside those that are asked for stand what was in use, what an application would have shown alone,
and chance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from app.contracts.decisions import Evaluation, Importance, Policy
from app.contracts.learning import policies
from app.contracts.learning.estimates import Sums
from batch.decisions import logs
from batch.decisions.judge.replay import (
    FIVE_MINUTES,
    REWARDS,
    Baseline,
    Judged,
    Learning,
    Online,
    Random,
    Replay,
    is_slotted,
)
from batch.decisions.judge.search import (
    MOST_WORK,
    affordable,
    best,
    by_share,
    by_themselves,
    entered,
    work,
)
from batch.decisions.learner import problem_of
from batch.decisions.terms import utc
from batch.errors import BadInteractions, BadSettings
from batch.progress import Advance

ONLINE = "online"
OURS = (ONLINE, "baseline1", "baselineRand")
MOST_ROWS = 2_016
"""A week of five minutes; of a longer time a row is of more."""
SAMPLE = 30
"""Of so many decisions is known how large the contexts are."""
LEAST = 100
"""Of a smaller effective sample, an interval is not to be relied on."""


@dataclass(frozen=True, slots=True)
class Found:
    """judged: in the order of ``OURS``, then those asked for, then the best of a search.

    optimal: the name of the best that can be used; decided, passed: how many decisions were judged,
    and how many could not be; limits: what a search left out so that it ends, "" for nothing.
    """

    judged: Sequence[Judged]
    optimal: str
    decided: int
    passed: int
    limits: str = ""


def evaluate(
    folder: Path, asked: Evaluation, online: Policy, exploration: float, advance: Advance
) -> Found:
    """Answer what was asked.

    online: what is in use now, by name; exploration: its share, for a search. Raises BadSettings
    for a policy that cannot be read, BadInteractions where the logs say nothing of that time.
    """
    start, end = (ms_of(each) for each in (asked.start, asked.end))
    rows = (joined for joined in logs.read(folder, start, end) if joined.counts)
    first = [*islice(rows, SAMPLE)]
    if not first:
        raise BadInteractions(
            f"the logs hold no decision that counts from {asked.start} to {asked.end}: see "
            "'larder decisions logs show' for the days that they have"
        )
    replay = Replay(
        [
            Judged(ONLINE, online.arguments, "Online", Online()),
            Judged(OURS[1], "", "Baseline", Baseline()),
            Judged(OURS[2], "", "Random", Random()),
            *map(_custom, asked.policies),
        ],
        _slotted(asked, default=is_slotted(first[0])),
        _width(folder, start, end),
    )
    skipped, limits = 0, ""
    if asked.search:
        tried = by_share(replay.slotted, exploration)
        if not asked.automatic:  # how much is explored is for operators to say
            tried += by_themselves(replay.slotted)
        contexts = [each.context for each in first if not problem_of(each)]
        usable, there = affordable(tried, contexts), count(folder, asked)
        every = [*usable, *(arguments for _, arguments in asked.policies), REWARDS]
        skipped = max(0, there - MOST_WORK // work(every, contexts)) if contexts else 0
        limits = _limits(there, skipped, [each for each in tried if each not in usable])
        known = {name for name, _ in asked.policies}
        replay.judged += entered(usable, known)
    replay.run(islice(chain(first, rows), skipped, None), lambda: advance(1))
    judged = best(replay.judged)
    _expect_some(replay)
    return Found(judged, _optimal(judged), replay.decided, replay.passed, limits)


def _expect_some(replay: Replay) -> None:
    """Raise BadInteractions where no decision has judged anybody."""
    if not replay.decided and replay.imitated:
        raise BadInteractions(
            f"all {replay.imitated:,} decisions were made in mode Apprentice, as the baseline "
            "would make them: nothing is known of others. Use mode Online, then ask again"
        )
    if not replay.decided:
        raise BadInteractions(
            f"none of {replay.passed:,} decisions can be judged: these policies are for "
            f"{'several slots' if replay.slotted else 'one slot'}, the decisions are not"
        )


def _limits(there: int, skipped: int, left_out: Sequence[str]) -> str:
    told = []
    if skipped:
        told.append(f"of {there:,} decisions the newest {there - skipped:,} were judged")
    if left_out:
        told.append(f"too slow for such contexts, so not tried: {'; '.join(left_out)}")
    return ". ".join(told)


def count(folder: Path, asked: Evaluation | Importance) -> int:
    """How many decisions that count are asked about. Raises BadSettings."""
    return logs.count(folder, ms_of(asked.start), ms_of(asked.end))


def told(asked: Evaluation, found: Found) -> Evaluation:
    """The evaluation with what was found."""
    results = [result for each in found.judged for result in each.results()]
    done = replace(asked, status="succeeded", optimal=found.optimal, results=results)
    return replace(done, problem=found.limits)


def is_better(policy: Sums, online: Sums) -> bool:
    """Whether a policy is worth a change: the lower end of its interval is above what is earned.

    (Two lower ends say little: which of two alike policies has the higher one is a toss.)
    """
    return policy.effective >= LEAST and policy.interval[0] > online.snips


def ms_of(moment: str) -> int:
    """A time in ms since 1970; UTC where it names no zone. Raises BadSettings."""
    try:
        return math.floor(utc(moment).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise BadSettings(f"expected a time in ISO 8601, not {moment!r}") from error


def _custom(named: Sequence[str]) -> Judged:
    name, arguments = named
    try:
        policies.check(arguments)
        return Judged(name, arguments, "Custom", Learning(arguments))
    except policies.BadPolicy as error:
        raise BadSettings(f"policy {name!r} cannot be used: {error}") from error


def _slotted(asked: Evaluation, default: bool) -> bool:
    kinds = {policies.is_for_slots(arguments) for _, arguments in asked.policies}
    if len(kinds) == 2:
        raise BadSettings("policies for one slot and for several cannot be compared: ask twice")
    return kinds.pop() if kinds else default


def _width(folder: Path, start: int, end: int) -> int:
    first, last = logs.span(folder) or (start, end)
    rows = (min(end, last) - max(start, first)) / FIVE_MINUTES
    return FIVE_MINUTES * max(1, math.ceil(rows / MOST_ROWS))


def _optimal(judged: Sequence[Judged]) -> str:
    online, *others = judged
    usable = [each for each in others if each.name not in OURS]
    better = [each for each in usable if is_better(each.total(), online.total())]
    return max(better, key=lambda each: each.total().snips, default=online).name
