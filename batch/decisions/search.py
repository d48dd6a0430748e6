"""Policies that others do well with, all tried in the one pass over the logs.

The best of several estimates is too good on average, for luck has helped to choose it: the winner's
curse. So every other decision only chooses, and the winner is judged by those between them.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import count

from app.contracts.estimates import Sums
from batch.decisions.replay import Judged, Learning

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


def by_share(slotted: bool, exploration: float) -> list[str]:
    """Arguments of policies that explore a share of the decisions."""
    kind = "--ccb_explore_adf" if slotted else "--cb_explore_adf"
    return [f"{kind} --epsilon {exploration:g} --cb_type mtr {each}" for each in BY_SHARE]


def by_themselves(slotted: bool) -> list[str]:
    """Arguments of policies that heed no share."""
    found = [] if slotted else BY_THEMSELVES
    return [f"--cb_explore_adf --cb_type mtr {each}" for each in found]


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
