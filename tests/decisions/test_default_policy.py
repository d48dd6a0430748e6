"""The policy that Larder begins with learns what there is to learn; ``make bench-decisions``."""

import pytest

from app.contracts.learning.policies import DEFAULT, ORIGINAL
from batch.datasets import coffee
from tests.decisions.worlds import World, learn, news, tutorial


@pytest.mark.parametrize(
    ("world", "events", "counted", "least"),
    [(coffee.meet, 10_000, 1_000, 0.8), (news, 5_000, 5_000, 0.8), (tutorial, 2_000, 2_000, 0.8)],
)
def test_it_learns_each_world(world: World, events: int, counted: int, least: float) -> None:
    assert learn(DEFAULT.arguments, world, events, 1, export=50).last(counted) >= least


def test_the_original_is_worse() -> None:
    assert learn(ORIGINAL.arguments, news, 5_000, 1).last(500) < 0.6
