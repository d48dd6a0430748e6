"""Which policy to begin with: ``make bench-decisions`` plays tests/decisions/worlds.py.

What is decided by learns of 150 events at once (50 in the news and the tutorial). Means of three
seeds, and the worst of them; .85, of the news .83 and of the tutorial .87, are the most that a
policy reaches which explores by a fifth of its decisions. The last two columns are microseconds of
the processor for a decision among ten actions of 20 features, with 20 features of the context.
"""

from collections.abc import Callable, Iterator
from statistics import mean

from app.contracts.learning.policies import DEFAULT, ORIGINAL
from batch.command.output.table import table
from batch.datasets import coffee
from tests.decisions.worlds import World, drifting, learn, nested, news, shop, stamped, tutorial

SEEDS = (1, 2, 3)
_EPSILON = "--cb_explore_adf --epsilon 0.2 --cb_type mtr"
POLICIES = {
    "original": ORIGINAL.arguments,
    "pairs": f"{_EPSILON} -q ::",
    "all threes": f"{_EPSILON} -q :: --cubic :::",
    "threes with the id": f"{_EPSILON} --coin --interactions ::i",
    "default without --coin": DEFAULT.arguments.replace(" --coin", ""),
    "default": DEFAULT.arguments,
    "default, softmax": DEFAULT.arguments.replace("--epsilon 0.2", "--softmax --lambda 10"),
    "default, squarecb": DEFAULT.arguments.replace("--epsilon 0.2", "--squarecb"),
}
_HEAD = ["arguments", "coffee", "drifting", "stamped", "nested", "news", "tutorial", "shop"]


def main() -> None:
    """Print the table."""
    print(table([*_HEAD, "choose us", "learn us"], _rows()))


def _rows() -> Iterator[list[str]]:
    for name, arguments in POLICIES.items():
        timed = learn(arguments, shop, 3_000, 1)
        yield [
            name,
            _mean(arguments, lambda: coffee.meet, 10_000, 1_000, 150),
            _mean(arguments, lambda: drifting(coffee.meet, 4_000), 8_000, 1_000, 150),
            _mean(arguments, lambda: stamped(coffee.meet), 8_000, 1_000, 150),
            _mean(arguments, lambda: nested(coffee.meet), 10_000, 1_000, 150),
            _mean(arguments, lambda: news, 5_000, 5_000, 50),
            _mean(arguments, lambda: tutorial, 2_000, 2_000, 50),
            _mean(arguments, lambda: shop, 8_000, 4_000, 150),
            f"{timed.choosing_us:.0f}",
            f"{timed.learning_us:.0f}",
        ]


def _mean(arguments: str, world: Callable[[], World], events: int, last: int, export: int) -> str:
    found = [learn(arguments, world(), events, seed, export).last(last) for seed in SEEDS]
    return f"{mean(found):.3f} ({min(found):.3f})"


if __name__ == "__main__":
    main()
