"""What the load test has decided, and what it makes of the answers."""

import json
from random import Random

import pytest

from loadtest.load.decisions import ACTIONS, LIKED, REWARDED, chosen, questions


def test_a_request_has_twenty_features_of_each() -> None:
    asked = questions()
    assert len({each.body for each in asked}) == len(asked) == 240
    for each in (asked[0], asked[-1]):
        told = json.loads(each.body)
        assert len(told["contextFeatures"][0]) == 20 and len(told["actions"]) == ACTIONS
        assert {len(action["features"][0]) for action in told["actions"]} == {20}


def test_one_action_is_worth_more_than_the_others() -> None:
    asked, chance = questions()[-1], Random(1)
    likes, others = (
        [asked.reward(name, chance) for _ in range(5_000)] for name in ("action-9", "action-2")
    )
    told = [each for each in likes if each is not None]
    assert len(told) / len(likes) == pytest.approx(REWARDED, abs=0.02)
    assert sum(told) / len(told) == pytest.approx(LIKED, abs=0.02)
    assert sum(each or 0 for each in others) < sum(told) / 4


RANKING = [{"id": f"action-{n}", "probability": 0.1} for n in range(ACTIONS)]


def _answer(ranking: object, action: str) -> bytes:
    return json.dumps({"ranking": ranking, "eventId": "e", "rewardActionId": action}).encode()


def test_a_decision_is_read() -> None:
    assert chosen(_answer(RANKING, "action-3")) == ("e", "action-3")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}",
        _answer(RANKING[1:], "action-3"),
        _answer(RANKING, "another"),
        _answer([*RANKING[1:], {"id": "action-0", "probability": 0.2}], "action-3"),
        _answer(
            [
                *RANKING[2:],
                {"id": "action-0", "probability": 0},
                {"id": "action-1", "probability": 0.2},
            ],
            "action-0",
        ),
    ],
)
def test_what_is_no_decision_is_told(body: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        chosen(body)
