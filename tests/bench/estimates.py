"""Do estimates hold what is true? ``make bench-estimates [BENCH_ARGS="--runs 20"]``.

Coffees are offered by a policy that learns, exploring by a fifth; what each other policy would have
earned is estimated of its logs. First the tutorial's world, logged by the service's own policy,
beside what each policy earns when it really decides; then seeded runs in the same world with
noise (who gets the coffee that they want takes it in 8 of 10 cases, any other in 2): how often the
95 % interval holds the truth, which is known there: what the policy, as it had learned then, earns
on average of each decision, and of the fixed ones what they earn of all that may come.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random as Chance
from typing import NamedTuple

from app.contracts.decisions import Slot
from app.contracts.learning.estimates import Sums
from app.contracts.learning.policies import DEFAULT, ORIGINAL
from app.decisions.context import encode
from batch.command.output.table import table
from batch.datasets import coffee
from batch.decisions import dsjson
from batch.decisions.judge.replay import (
    Baseline,
    Chances,
    Judged,
    Learning,
    Online,
    Policy,
    Random,
    Replay,
)
from batch.decisions.learner import Learner
from batch.decisions.terms import Joined
from tests.decisions.worlds import learn

EPSILON = "--cb_explore_adf --epsilon 0.2 --cb_type mtr"
POLICIES = {
    "original": ORIGINAL.arguments,
    "pairs": f"{EPSILON} -q ::",
    "all threes": f"{EPSILON} -q :: --cubic :::",
    "default": DEFAULT.arguments,
    "squarecb": "--cb_explore_adf --squarecb --cb_type mtr -q ::",
}
PUBLISHED = {"baselineRand": 1 / 4, "baseline1": 11 / 36}
Z_RUNS = 93


class Logged(NamedTuple):
    """A decision, and what each of its actions is worth on average."""

    joined: Joined
    worth: Sequence[float]


class Known:
    """A policy, and what it earns on average as it is at each decision."""

    def __init__(self, policy: Policy, logs: Sequence[Logged]) -> None:
        self._policy, self._worth = policy, iter([each.worth for each in logs])
        self.earned = 0.0

    def teach(self, joined: Joined, line: str) -> Sequence[Chances]:
        said, worth = self._policy.teach(joined, line), next(self._worth)
        self.earned += sum(chance * worth[action - 1] for action, chance in said[0].items())
        return said


def logged(count: int, seed: int, arguments: str, worth: Callable[[float], float]) -> list[Logged]:
    """Decisions of a policy that learns each at once; worth: of what a coffee is worth, on average,
    by whether it is the one that is wanted."""
    chance, model, found = Chance(seed), Learner.fresh(arguments), []
    for number in range(count):
        met = coffee.meet(chance)
        context = encode(met.context, [(each["id"], each["features"]) for each in met.actions])
        told = f'{{"a":[1,2,3,4],"c":{context.decode()},"p":[0.25,0.25,0.25,0.25]}}'
        said = model.teach(told)[0]  # without a label nothing is learned
        chosen = chance.choices(range(4), said)[0]
        order = [chosen, *(each for each in range(4) if each != chosen)]
        worths = [worth(met.rewards[each["id"]]) for each in met.actions]
        slot = Slot("", tuple(each + 1 for each in order), tuple(said[each] for each in order))
        reward = float(chance.random() < worths[chosen])
        joined = Joined(f"{number}-0", str(number), number * 1000, context, (slot,), (reward,))
        model.teach(dsjson.line(joined))
        found.append(Logged(joined, worths))
    return found


def judged(logs: Sequence[Logged], names: Sequence[str]) -> Iterator[tuple[str, Sums, float]]:
    """Of each policy its name, its sums, and what it earned in truth."""
    known = {
        "online": Known(Online(), logs),
        "baseline1": Known(Baseline(), logs),
        "baselineRand": Known(Random(), logs),
        **{name: Known(Learning(POLICIES[name]), logs) for name in names},
    }
    entered = [Judged(name, "", "Custom", each) for name, each in known.items()]
    Replay(entered, width_ms=1 << 50).run(each.joined for each in logs)
    for each in entered:
        yield each.name, each.total(), known[each.name].earned / len(logs)


def tutorial(events: int) -> Iterator[list[str]]:
    """The rows of the first table."""
    logs = logged(events, 1, ORIGINAL.arguments, lambda wanted: wanted)
    for name, sums, _ in judged(logs, list(POLICIES)):
        truth = PUBLISHED.get(name)
        if name in POLICIES:
            truth = learn(POLICIES[name], coffee.meet, events, 2, export=1).last(events)
        yield [
            name,
            f"{sums.ips:.4f}",
            f"{sums.snips:.4f} +- {sums.half_width:.4f}",
            f"{sums.doubly_robust:.4f} +- {sums.doubly_robust_half_width:.4f}",
            f"{sums.effective:,.0f}",
            "" if truth is None else f"{truth:.4f}",
        ]


def coverage(runs: int, events: int) -> Iterator[list[str]]:
    """The rows of the second table."""
    names, held = ["pairs", "default", "squarecb"], dict[str, list[tuple[bool, bool, float]]]()
    for seed in range(runs):
        logs = logged(events, seed, DEFAULT.arguments, lambda wanted: 0.2 + 0.6 * wanted)
        for name, sums, earned in judged(logs, names):
            fixed = PUBLISHED.get(name)
            truth = earned if fixed is None else 0.2 + 0.6 * fixed
            low, high = sums.interval
            off = abs(sums.doubly_robust - truth) <= sums.doubly_robust_half_width
            held.setdefault(name, []).append((low <= truth <= high, off, high - low))
    for name, found in held.items():
        snips, robust, widths = zip(*found)
        yield [name, str(sum(snips)), str(sum(robust)), f"{sum(widths) / len(widths) / 2:.4f}"]


def main() -> None:
    """Print both tables; end with 1 where fewer intervals hold the truth than should."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--events", type=int, default=2_000)
    told = parser.parse_args()
    head = ["10,000 coffees", "IPS", "SNIPS, 95 %", "DR, 95 %", "effective", "decides itself"]
    print(table(head, tutorial(10_000)))
    began = time.process_time()
    rows = [*coverage(told.runs, told.events)]
    head = [f"truth within, of {told.runs} runs of {told.events:,}", "SNIPS", "DR", "+-"]
    print(f"\n{table(head, rows)}\n{time.process_time() - began:.0f} seconds of a core")
    least = Z_RUNS * told.runs // 100
    if min(int(row[1]) for row in rows) < least:
        raise SystemExit(f"expected at least {least} of {told.runs} for each policy")


if __name__ == "__main__":
    main()
