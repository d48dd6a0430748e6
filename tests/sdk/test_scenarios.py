"""The service's quickstart and its tutorial of coffees, played with its own SDK.

What is decided by comes some seconds late, as rewards are waited for five.
"""

from collections.abc import Callable
from random import Random

import pytest

from batch.command.decisions.tutorial import CONFIGURATION, ask, play
from batch.datasets import coffee
from batch.datasets.coffee import Situation
from tests.sdk import food
from tests.sdk.conftest import Service

pytestmark = [  # the SDK's own
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.mark.parametrize(
    ("meet", "events", "least"), [(food.meet, 5_000, 0.85), (coffee.meet, 10_000, 0.6)]
)
def test_it_learns(
    service: Service, meet: Callable[[Random], Situation], events: int, least: float
) -> None:
    ask(service.url, "PUT", "/configurations/service", CONFIGURATION, key=service.key)
    rewards = list(play(service.url, meet, events, 1, service.key))
    assert sum(rewards[-1_000:]) / 1_000 >= least
