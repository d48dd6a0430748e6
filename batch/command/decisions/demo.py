"""Rank and reward, for a newcomer: ``make demo-decisions``.

The tutorial of the cloud service, played with the service's own SDK: ten thousand customers ask for
a coffee, policies are evaluated by what was logged, the best one is applied, and two thousand more
come in. Everything ends with this process.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from batch.command.decisions.container import Told
from batch.command.decisions.tutorial import CONFIGURATION, apply, ask, evaluate, play
from batch.command.decisions.up import running
from batch.command.output.table import table
from batch.command.stack.demo import begin, stack_of
from batch.command.stack.up import Stack, stay
from batch.datasets import coffee

EVENTS, MORE = 10_000, 2_000
PART = 1_000
"""So many decisions are a line of the curve."""
SHOWN = 6
WIDTH = 50


def main() -> int:
    """Run the demo; the exit code says whether all of it worked."""
    return begin("Rank and reward, by the SDK of the service that was switched off.", walk)


def walk(folder: Path, port: str, once: bool) -> None:
    """Serve, play, evaluate, apply and play on; stay until interrupted unless ``once``."""
    stack = stack_of(folder, port, "make demo-decisions PORT=8001", {})
    with running(stack, Told()) as stack:
        ask(stack.url, "PUT", "/configurations/service", CONFIGURATION)
        _play(stack, EVENTS, 1, "By the policy that Larder begins with")
        print("\nWhat would other policies have earned of these? An offline evaluation says:")
        evaluated = evaluate(stack.url)
        best = evaluated.best
        print(estimated(evaluated.policies))
        print(f"\nThe policy {best} is applied, and learns all that was logged:")
        print(f"  {apply(stack.url, best, stack.cache)}")
        _play(stack, MORE, 2, f"By the policy {best}")
        print("\nFrom your own application: app/decisions/README.md")
        if not once:
            print(f"The service answers on {stack.url} until you press Ctrl-C: {stack.url}/swagger")
            stay(stack)


def _play(stack: Stack, events: int, seed: int, by: str) -> None:
    print(f"\n{by}, {events:,} customers get a coffee, and some want another one:")
    for line in curve(play(stack.url, coffee.meet, events, seed)):
        print(line)


def curve(rewards: Iterable[float]) -> Iterator[str]:
    """A line for each thousand decisions: how many, their mean reward, and a bar of it."""
    rest, seen = iter(rewards), 0
    while part := list(islice(rest, PART)):
        seen += len(part)
        yield f"  {seen:6,}  {mean(part):.3f}  {'#' * round(mean(part) * WIDTH)}"


def estimated(policies: Sequence[Mapping[str, Any]]) -> str:
    """A table of the best policies, and of those that were not searched for."""
    rows = [
        [f"  {row['policy']}", f"{row['reward']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"]
        for place, row in enumerate(policies)
        if place < SHOWN or row["source"] != "OfflineExperimentation"
    ]
    return table(["  policy", "reward", "95 % sure"], rows)


if __name__ == "__main__":
    sys.exit(main())
