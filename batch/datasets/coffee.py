"""What four customers drink: a world whose best policy is known, to learn it from rewards.

Each of them wants one of four coffees, by the weather and the time of day. Who always offers the
same one pleases them 11 times in 36, who chooses at random every fourth time. The preferences are
those of the tutorial of the cloud service (github.com/Azure-Samples/
cognitive-services-personalizer-samples, MIT licence), so that what was published can be compared.
"""

from collections.abc import Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

WEATHERS = ("Sunny", "Rainy", "Snowy")
TIMES = ("Morning", "Afternoon", "Evening")
COFFEES = MappingProxyType(
    {
        "Cappucino": {"type": "hot", "origin": "kenya", "organic": "yes", "roast": "dark"},
        "Cold brew": {"type": "cold", "origin": "brazil", "organic": "yes", "roast": "light"},
        "Iced mocha": {"type": "cold", "origin": "ethiopia", "organic": "no", "roast": "light"},
        "Latte": {"type": "hot", "origin": "brazil", "organic": "no", "roast": "dark"},
    }
)
WANTED = MappingProxyType(
    {"Alice": "BIB LCL CCC", "Bob": "CIB LLL III", "Cathy": "LBC CLI BIC", "Dave": "III LLL CCC"}
)
"""Of each customer, by weather, then time of day: Cappucino, cold Brew, Iced mocha, Latte."""
_BY_LETTER = dict(zip("CBIL", COFFEES))


class Situation(NamedTuple):
    """What a decision is asked for, as the interface of decisions takes it.

    rewards: what each action is worth now, by its id.
    """

    context: Sequence[Mapping[str, Any]]
    actions: Sequence[Mapping[str, Any]]
    rewards: Mapping[str, float]


def meet(random: Random) -> Situation:
    """Somebody comes in."""
    name = random.choice(list(WANTED))
    weather, time = random.randrange(3), random.randrange(3)
    wanted = _BY_LETTER[WANTED[name].split()[weather][time]]
    context = {"timeofday": TIMES[time], "weather": WEATHERS[weather], "name": name}
    return Situation(
        [context],
        [{"id": coffee, "features": [features]} for coffee, features in COFFEES.items()],
        {coffee: float(coffee == wanted) for coffee in COFFEES},
    )
