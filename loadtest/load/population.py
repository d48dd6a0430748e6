"""Who asks: users of the real population, drawn by a Zipf law, and a few strangers."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate
from pathlib import Path
from random import Random

from loadtest.api import Api, CannotRun, excerpt

SAMPLE = 1000
STRANGERS = 0.05


@dataclass(frozen=True, slots=True)
class Population:
    """The known users, in the order of the file or the API, and the generation that has them.

    The first come most often; the API spreads its sample over all users, active or not.
    """

    users: Sequence[str]
    generation: str | None
    source: str


class Role(Enum):
    """What a user does beside asking for lists, as far as the load test knows."""

    ASKS = "nothing is known"
    ACTS = "may have done something in this run"
    STANDS_BY = "has done nothing in this run"


@dataclass(frozen=True, slots=True)
class Caller:
    """One draw: a user id, and whether it was made up.

    gone: items that must not be shown to the user any more, and the type of the event with each.
    """

    user: str
    is_stranger: bool
    role: Role = Role.ASKS
    gone: Mapping[str, str] = field(default_factory=dict)


class Draw:
    """Draws callers: the user of rank r with a weight of 1 / r ** exponent.

    0 makes all users alike; 1 is the classic law. One draw serves all who ask: the weights of a
    million users take 32 MB. The randomness is passed in.
    """

    def __init__(self, population: Population, exponent: float) -> None:
        self._users = population.users
        self._weights = list(accumulate(r**-exponent for r in range(1, len(self._users) + 1)))

    def caller(self, chance: Random) -> Caller:
        """A known user, or with a probability of 5 % a stranger."""
        if chance.random() < STRANGERS:
            made_up = uuid.UUID(int=chance.getrandbits(128))
            return Caller(f"stranger-{made_up}", is_stranger=True)
        (user,) = chance.choices(self._users, cum_weights=self._weights)
        return Caller(user, is_stranger=False)


def read(path: Path) -> Population:
    """Read a file of user ids, one a line. Raises CannotRun."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotRun(f"the population {path} cannot be read: {error}") from error
    users = [line for line in lines if line.strip()]
    if not users:
        raise CannotRun(f"the population {path} is empty: it needs one user id a line")
    return Population(users, None, f"{len(users):,} users of {path}")


def sample(api: Api) -> Population:
    """Ask the API for a sample of its users. Raises CannotRun when it gives none."""
    status, body = api.get(f"/users/sample?n={SAMPLE}")
    if status == 404:
        raise CannotRun(
            f"{api.url} does not give a sample of its users (GET /users/sample answers 404): "
            "pass a file of user ids, one a line, with --population FILE"
        )
    try:
        said = json.loads(body)
        users, generation = said["users"], said["generation"]
    except (ValueError, KeyError, TypeError):
        raise CannotRun(
            f"GET {api.url}/users/sample answers {status} without a sample: {excerpt(body)}"
        ) from None
    if not isinstance(users, list) or not all(isinstance(user, str) for user in users):
        raise CannotRun(f"GET {api.url}/users/sample must list user ids, not {excerpt(body)}")
    if not users:
        raise CannotRun(f"the generation {generation} of {api.url} has no users to draw from")
    return Population(users, str(generation), f"a sample of {len(users):,} users from the API")
