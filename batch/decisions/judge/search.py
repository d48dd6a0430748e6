"""Policies that others do well with, all tried in the one pass over the logs.

The best of several estimates is too good on average, for luck has helped to choose it: the winner's
curse. So every other decision only chooses, and the winner is judged by those between them.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from itertools import count

from app.contracts.learning import policies
from app.contracts.learning.estimates import Sums
from batch.decisions.judge.replay import Judged, Learning

BY_SHARE = (
    "--coin --interactions ::i",
    "--coin -q :: --cubic :::",
    "--interactions ::i",
    "-q :: --cubic :::",
    "-q ::",
)
"""Those that explore as much as they are told."""
BY_THEMSELVES = (
    "--squarecb --coin --interactions ::i",
    "--squarecb -q :: --cubic :::",
    "--cover 3 --coin --interactions ::i",
)
"""Those that explore the less, the more they know: for one slot alone."""
MOST_WORK = 500_000_000_000
"""So many weights may be read in all: an hour or two, of some nanoseconds each."""
TIMES = 20
"""What costs so many times as much as the cheapest one is left out."""
_ANYWAY = 10_000
"""What a decision costs beside: to be read, and to be weighed."""


def by_share(slotted: bool, exploration: float) -> list[str]:
    """Arguments of policies that explore a share of the decisions."""
    kind = "--ccb_explore_adf" if slotted else "--cb_explore_adf"
    return [f"{kind} --epsilon {exploration:g} --cb_type mtr {each}" for each in BY_SHARE]


def by_themselves(slotted: bool) -> list[str]:
    """Arguments of policies that heed no share."""
    found = [] if slotted else BY_THEMSELVES
    return [f"--cb_explore_adf --cb_type mtr {each}" for each in found]


def affordable(tried: Sequence[str], contexts: Sequence[bytes]) -> list[str]:
    """Those that none of these contexts keeps busy for long, nor much longer than another one."""
    found = [each for each in tried if all(policies.is_bounded(each, one) for one in contexts)]
    most = TIMES * min((work([each], contexts) for each in found), default=0)
    return [each for each in found if work([each], contexts) <= most]


def work(arguments: Iterable[str], contexts: Sequence[bytes]) -> int:
    """What a decision of such contexts costs, by all of these policies."""
    read = [json.loads(each) for each in contexts]
    return sum(
        _ANYWAY + sum(policies.products(each, one) for one in read) // len(read)
        for each in arguments
    )


def entered(tried: Iterable[str], known: Collection[str]) -> list[Judged]:
    """To be judged; known: names that others have."""
    names = (name for number in count(1) if (name := f"hyper{number}") not in known)
    return [
        Judged(name, arguments, "OfflineExperimentation", Learning(arguments), chooses=Sums())
        for arguments, name in zip(tried, names)
    ]


def best(judged: Sequence[Judged]) -> list[Judged]:
    """Those that were asked for, and of those that were tried the one that did best."""
    tried = {each.name: each.chooses.snips for each in judged if each.chooses}
    winner = max(tried, key=tried.__getitem__, default="")
    return [each for each in judged if not each.chooses or each.name == winner]
