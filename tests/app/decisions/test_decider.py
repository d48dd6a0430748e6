"""A decision is chosen by the live model, logged, and answered."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.cache.link import Link
from app.contracts.decisions import (
    Activated,
    Configuration,
    Decisions,
    Logged,
    Policy,
    Ranked,
    Rewarded,
    Slot,
    decode,
)
from app.contracts.recommendations import Namespace
from app.decisions.decider import Decider
from tests.app.served import patient
from tests.decisions import ACTIONS, ONE, SLOTS, WANTED, body, publish_by_hand
from tests.servers import Server


@contextmanager
def deciding(server: Server, namespace: Namespace, **told: Any) -> Iterator[Decider]:
    """A decider that looks when it is told to."""
    settings = patient(server, namespace, decisions="only", **told)
    link = Link("the cache", server.url, settings.cache_timeout_ms, lambda: None)
    link.opened()
    link.answered()
    made = Decider(settings, link)
    try:
        yield made
    finally:
        made.stop()
        link.close()


@pytest.fixture
def space(namespace: Namespace) -> Decisions:
    return Decisions(namespace.name)


@pytest.fixture
def decider(server: Server, namespace: Namespace) -> Iterator[Decider]:
    with deciding(server, namespace) as made:
        made.poll()
        yield made


def told(decider: Decider, request: bytes) -> Any:
    """The answer to a request to rank, which was logged."""
    answer = decider.rank(request)
    assert answer.logged
    return json.loads(answer.body)


def logged(client: Any, space: Decisions) -> list[Logged]:
    return [decode(entry) for _, entry in client.xrange(space.log)]


def test_without_a_model_every_action_is_as_likely(decider: Decider) -> None:
    found = Counter(told(decider, body(eventId=f"e{n}"))["rewardActionId"] for n in range(300))
    assert found.keys() == set(ACTIONS) and min(found.values()) > 70


def test_the_live_model_decides_and_explores(
    decider: Decider, client: Any, space: Decisions
) -> None:
    publish_by_hand(client, space)
    decider.poll()
    for time, wanted in WANTED.items():
        answers = [told(decider, body(time, eventId=f"e{number}")) for number in range(200)]
        chosen = Counter(answer["rewardActionId"] for answer in answers)
        assert chosen[wanted] > 150 and len(chosen) == 3
        for answer in answers:
            by_name = {each["id"]: each["probability"] for each in answer["ranking"]}
            assert answer["ranking"][0]["id"] == answer["rewardActionId"]
            assert by_name == {n: 0.8666667 if n == wanted else 0.06666667 for n in ACTIONS}


def test_what_was_answered_stands_in_the_log(
    decider: Decider, client: Any, space: Decisions
) -> None:
    publish_by_hand(client, space)
    decider.poll()
    answer = told(decider, body(eventId="e1", deferActivation=True))
    decider.activate("e1")
    decider.reward("e1", b'{"value": 0.5}')
    ranked, *others = logged(client, space)
    assert others == [Activated("e1"), Rewarded("e1", 0.5)]
    assert isinstance(ranked, Ranked) and ranked.deferred
    assert (ranked.id, ranked.generation, ranked.mode) == ("e1", ONE, "Online")
    (slot,) = ranked.slots
    shown = [
        {"id": ACTIONS[number - 1], "probability": p}
        for number, p in zip(slot.actions, slot.probabilities, strict=True)
    ]
    assert answer["ranking"] == shown
    assert [each["_tag"] for each in json.loads(ranked.context)["_multi"]] == list(ACTIONS)


def test_slots_are_decided_together(decider: Decider, client: Any, space: Decisions) -> None:
    client.hset(space.desk, "policy", Policy("slots", SLOTS).to_json())
    publish_by_hand(client, space, arguments=SLOTS)
    decider.poll()
    slots = [
        {"id": "top", "baselineAction": "soup", "features": [{"size": "large"}]},
        {"id": "side", "baselineAction": "tea", "excludedActions": ["beer"]},
    ]
    answer = json.loads(decider.rank_slots(body(slots=slots, eventId="e1")).body)
    (ranked,) = logged(client, space)
    assert isinstance(ranked, Ranked)
    chosen = [ACTIONS[slot.actions[0] - 1] for slot in ranked.slots]
    assert answer["slots"] == [
        {"id": "top", "rewardActionId": chosen[0]},
        {"id": "side", "rewardActionId": chosen[1]},
    ]
    assert [slot.baseline for slot in ranked.slots] == [1, 2]
    assert json.loads(ranked.context)["_slots"] == [
        {"_id": "top", "_inc": [0, 1, 2], "size": "large"},
        {"_id": "side", "_inc": [0, 1]},
    ]
    decider.reward_slots("e1", b'{"reward": [{"slotId": "side", "value": 1}]}')
    assert logged(client, space)[-1] == Rewarded("e1", 1.0, "side")


def test_an_apprentice_shows_the_baseline_and_tells_whether_it_would_have(
    decider: Decider, client: Any, space: Decisions
) -> None:
    client.hset(space.desk, "configuration", Configuration(mode="Apprentice").to_json())
    publish_by_hand(client, space)
    decider.poll()
    others: list[Any] = [{"id": "tea", "features": [{"name": "tea"}]}]
    answer = told(decider, body(eventId="e1"))
    assert [each["probability"] for each in answer["ranking"]] == [1.0, 0.0, 0.0]
    assert [each["id"] for each in answer["ranking"]] == list(ACTIONS)
    assert answer["rewardActionId"] == "soup"
    told(decider, body(eventId="e1", actions=others))
    first, second = logged(client, space)
    assert isinstance(first, Ranked) and isinstance(second, Ranked)
    assert first.slots == (Slot("", (1, 2, 3), (1.0, 0.0, 0.0)),)
    assert first.mode == "Apprentice" and (first.imitated, second.imitated) == (False, True)
