"""What is to be decided, what was acknowledged, and whether all of it was learned exactly once.

Each user belongs to one of ten segments, and each segment likes another one of ten actions. So a
policy that learns earns more and more, and what it should earn at most is known.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from random import Random
from typing import Any

from loadtest.api import Api, CannotRun, excerpt

BASE = "/personalizer/v1.0"
ACTIONS, FEATURES, HOURS = 10, 20, 24
LIKED, DISLIKED = 0.8, 0.1
"""How often an action is rewarded."""
REWARDED = 0.8
"""Of the decisions: nobody says anything of the others."""
SOON_SECONDS, LATEST_SECONDS = 1.0, 3.0
"""How long a reward comes after its decision, on average and at most."""
MOST_SECONDS = 120
"""Of reward wait and export together: so long the end of a run is waited for."""
PATIENCE_SECONDS = 60.0
HUNDREDTHS = "hundredths of reward"
SETTINGS = {
    "rewardWaitTime": "PT10S",
    "modelExportFrequency": "PT2S",
    "defaultReward": 0,
    "rewardAggregation": "sum",
    "explorationPercentage": 0.2,
    "logRetentionDays": -1,
}
"""Of a stack of our own; sums, so that a reward that counts twice shows."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request: its body, which has 20 features of the user and 20 of each action."""

    segment: int
    body: bytes

    def reward(self, action: str, chance: Random) -> float | None:
        """What a user says of an action; None is nothing."""
        if chance.random() >= REWARDED:
            return None
        likes = action == _name(self.segment)
        return float(chance.random() < (LIKED if likes else DISLIKED))


@dataclass(frozen=True, slots=True)
class Settled:
    """What the logs say of a run, and by how many decisions the model has grown, if it tells."""

    decisions: int
    rewards: float
    learned: int | None


@cache
def questions() -> tuple[Question, ...]:
    """One for each segment and hour."""
    return tuple(Question(*each) for each in map(_made, product(range(ACTIONS), range(HOURS))))


def _made(asked: tuple[int, int]) -> tuple[int, bytes]:
    segment, hour = asked
    user = {"segment": f"s{segment}", "hour": str(hour), **_features(f"u{hour}", FEATURES - 2)}
    actions = [
        {"id": _name(each), "features": [_features(_name(each), FEATURES)]}
        for each in range(ACTIONS)
    ]
    body = {"contextFeatures": [user], "actions": actions}
    return segment, json.dumps(body, separators=(",", ":")).encode()


def _features(whose: str, count: int) -> dict[str, float | str]:
    """Half of them numbers, half words."""
    chance = Random(whose)
    return {
        f"f{n}": f"w{chance.randrange(5)}" if n % 2 else round(chance.random(), 3)
        for n in range(count)
    }


def _name(action: int) -> str:
    return f"action-{action}"


def chosen(body: bytes) -> tuple[str, str]:
    """Event and action of an answer. Raises ValueError for one that is none."""
    answer = json.loads(body)
    ranking = {each["id"]: each["probability"] for each in answer["ranking"]}
    if set(ranking) != {_name(each) for each in range(ACTIONS)}:
        raise ValueError("other actions than were asked for")
    if abs(sum(ranking.values()) - 1) > 1e-4 or not ranking[answer["rewardActionId"]] > 0:
        raise ValueError("probabilities that are none")
    return answer["eventId"], answer["rewardActionId"]


def put_settings(api: Api) -> None:
    """Give a stack of our own a configuration by which a run is soon learned. Raises CannotRun."""
    status, body = api.send("PUT", f"{BASE}/configurations/service", SETTINGS)
    if status != 200:
        raise CannotRun(f"PUT {BASE}/configurations/service answers {status}: {excerpt(body)}")


def settling_seconds(api: Api) -> float:
    """How long after a decision it is learned at the latest. Raises CannotRun."""
    status, body = api.get(f"{BASE}/configurations/service")
    try:
        told = json.loads(body)
        wait, export = map(_seconds, (told["rewardWaitTime"], told["modelExportFrequency"]))
        mode = told["learningMode"]
    except (ValueError, KeyError, TypeError):
        raise CannotRun(
            f"{api.url} makes no decisions (GET {BASE}/configurations/service answers {status}): "
            f"{excerpt(body)}"
        ) from None
    if wait <= LATEST_SECONDS or wait + export > MOST_SECONDS or mode != "Online":
        raise CannotRun(
            f"rewards come up to {LATEST_SECONDS:g} s late, and the end of the run is waited for: "
            f"set learningMode to Online and rewardWaitTime to PT10S or more, but with "
            f"modelExportFrequency at most {MOST_SECONDS} s"
        )
    return wait + export


def _seconds(duration: str) -> float:
    found = re.fullmatch(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?", duration)
    if not found:
        raise ValueError(duration)
    units = zip((86_400, 3_600, 60, 1), found.groups(), strict=True)
    return float(sum(unit * float(number or 0) for unit, number in units))


def learned(api: Api) -> int | None:
    """How many decisions the model has learned; None where that is not told."""
    _, body = api.get("/metrics")
    found = re.search(rb"^larder_decisions_learned (\S+)$", body, re.MULTILINE)
    return int(float(found[1])) if found else None


class Ledger:
    """Holds what was acknowledged in a run against what was learned of it. Raises CannotRun."""

    def __init__(self, api: Api) -> None:
        self._api, self._seconds = api, settling_seconds(api)
        self._since, self._before = datetime.now(UTC), learned(api)

    def settle(self, counts: Mapping[str, int]) -> Settled:
        """Wait until all that was acknowledged must be learned, and ask what was."""
        until = datetime.now(UTC) + timedelta(seconds=1)
        time.sleep(self._seconds + 1)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = self._found(until)
            if _is_whole(found, counts) or time.monotonic() > deadline:
                return found
            time.sleep(1)

    def _found(self, until: datetime) -> Settled:
        count, rewards = _evaluated(self._api, self._since, until)
        after = learned(self._api)
        known = self._before is not None and after is not None
        return Settled(count, rewards, (after or 0) - (self._before or 0) if known else None)


def _is_whole(found: Settled, counts: Mapping[str, int]) -> bool:
    wanted = counts.get("decisions", 0)
    return min(found.decisions, wanted if found.learned is None else found.learned) >= wanted


def _evaluated(api: Api, since: datetime, until: datetime) -> tuple[int, float]:
    """Decisions and the sum of their rewards, by an evaluation of what was done online."""
    name = f"loadtest {time.time()}"
    asked = {"name": name, "startTime": _moment(since), "endTime": _moment(until), "policies": []}
    status, body = api.send(
        "POST", f"{BASE}/evaluations", {**asked, "enableOfflineExperimentation": False}
    )
    if status == 400 and b"NoLogsExistInDateRange" in body:
        return 0, 0.0
    if status != 201:
        raise CannotRun(f"POST {BASE}/evaluations answers {status}: {excerpt(body)}")
    path = f"{BASE}/evaluations/{json.loads(body)['id']}"
    told = _completed(api, path)
    api.send("DELETE", path)
    online = [each for each in told["policyResults"] if each["name"] == "online"]
    totals = [each["totalSummary"] for each in online if not each.get("slotId")]
    if not totals:
        return 0, 0.0
    return int(totals[0]["ipsEstimatorDenominator"]), float(totals[0]["ipsEstimatorNumerator"])


def _completed(api: Api, path: str) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        told = json.loads(api.get(path)[1])
        if told["status"] == "completed":
            return told
        if told["status"] == "failed":
            raise CannotRun(f"GET {path}: the evaluation of the run failed; see the trainer's log")
        time.sleep(0.2)
    raise CannotRun(f"GET {path}: no evaluation of the run within {PATIENCE_SECONDS:.0f} seconds")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
