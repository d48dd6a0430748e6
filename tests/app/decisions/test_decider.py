"""A decision is chosen by the live model, logged, and answered."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

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
from app.contracts.learning import policies
from app.contracts.recommendations import Namespace
from app.decisions.decider import Decider
from app.decisions.refusals import Refused
from tests.app.served import patient
from tests.decisions import ACTIONS, ONE, SLOTS, WANTED, body, publish_by_hand
from tests.servers import Server, wait_until


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


def test_what_only_logs_shows_the_baseline(decider: Decider, client: Any, space: Decisions) -> None:
    client.hset(space.desk, "configuration", Configuration(mode="LoggingOnly").to_json())
    publish_by_hand(client, space)
    decider.poll()
    assert told(decider, body(excludedActions=["soup"]))["ranking"] == [
        {"id": "soup", "probability": 0.0},
        {"id": "tea", "probability": 1.0},
        {"id": "beer", "probability": 0.0},
    ]
    (ranked,) = logged(client, space)
    assert isinstance(ranked, Ranked) and ranked.mode == "LoggingOnly" and not ranked.imitated
    assert ranked.slots == (Slot("", (1, 2), (1.0, 0.0)),)


def test_what_was_excluded_keeps_its_place(decider: Decider, client: Any, space: Decisions) -> None:
    publish_by_hand(client, space)
    decider.poll()
    seen = set()
    for number in range(40):
        answer = told(decider, body("evening", eventId=f"e{number}", excludedActions=["tea"]))
        first, second, third = answer["ranking"]
        assert second == {"id": "tea", "probability": 0.0}
        assert answer["rewardActionId"] == first["id"]
        assert {first["id"], third["id"]} == {"soup", "beer"}
        seen.add((first["id"], first["probability"], third["probability"]))
    assert seen == {("beer", 0.9, 0.1), ("soup", 0.1, 0.9)}


def test_slots_that_cannot_be_filled_get_their_baselines_which_nobody_learns(
    decider: Decider, client: Any, space: Decisions
) -> None:
    client.hset(space.desk, "policy", Policy("slots", SLOTS).to_json())
    decider.poll()
    slots = [
        {"id": "top", "baselineAction": "soup"},
        {"id": "side", "baselineAction": "tea", "excludedActions": ["soup", "beer"]},
    ]
    for number in range(40):
        decider.rank_slots(body(slots=slots, eventId=f"e{number}"))
    modes: Counter[str] = Counter()
    for ranked in logged(client, space):
        assert isinstance(ranked, Ranked)
        modes[ranked.mode] += 1
        if ranked.mode == "LoggingOnly":
            assert ranked.slots == (Slot("top", (1,), (1.0,), 1), Slot("side", (2,), (1.0,), 2))
    assert min(modes["Online"], modes["LoggingOnly"]) > 0


def test_slots_have_modes_too(decider: Decider, client: Any, space: Decisions) -> None:
    client.hset(space.desk, "policy", Policy("slots", SLOTS).to_json())
    client.hset(space.desk, "configuration", Configuration(mode="Apprentice").to_json())
    publish_by_hand(client, space, arguments=SLOTS)
    decider.poll()
    slots = [{"id": "top", "baselineAction": "tea"}]
    for number in range(40):
        answer = json.loads(decider.rank_slots(body(slots=slots, eventId=f"e{number}")).body)
        assert answer["slots"] == [{"id": "top", "rewardActionId": "tea"}]
    found = [each for each in logged(client, space) if isinstance(each, Ranked)]
    assert {each.slots for each in found} == {(Slot("top", (2,), (1.0,), 2),)}
    assert 25 < sum(each.imitated for each in found) < 40


def test_each_api_is_that_of_its_policy(decider: Decider, client: Any, space: Decisions) -> None:
    slots = [{"id": "top", "baselineAction": "soup"}]
    with pytest.raises(Refused, match="Multi-slot feature is currently disabled") as refused:
        decider.rank_slots(body(slots=slots))
    assert (refused.value.status, refused.value.code) == (400, "InvalidMultiSlotApiAccess")
    publish_by_hand(client, space)
    client.hset(space.desk, "policy", Policy("slots", SLOTS).to_json())
    decider.poll()
    assert decider.rank_slots(body(slots=slots)).logged, "though the model is of one slot still"
    with pytest.raises(Refused, match="disabled .* call /multislot/rank") as refused:
        decider.rank(body())
    assert (refused.value.status, refused.value.code) == (403, "InvalidApiAccess")


def test_what_the_policy_could_not_learn_is_refused_before_there_is_a_model(
    decider: Decider, client: Any, space: Decisions
) -> None:
    client.hset(space.desk, "policy", policies.ORIGINAL.to_json())
    decider.poll()
    actions = [{"id": f"a{n}", "features": [{"b": [1] * 1_950}]} for n in range(50)]
    with pytest.raises(Refused, match="Exceeds maximum allowed payload size"):
        decider.rank(body(actions=actions, contextFeatures=[{"b": [1] * 2_000}]))
    assert not client.exists(space.log)


def test_an_explanation_comes_where_it_is_switched_on(
    decider: Decider, client: Any, space: Decisions
) -> None:
    publish_by_hand(client, space)
    decider.poll()
    assert "inferenceExplanation" not in told(decider, body())
    client.hset(space.desk, "configuration", Configuration(explains=True).to_json())
    decider.poll()
    answer = told(decider, body(excludedActions=["soup"]))
    (explained,) = answer["inferenceExplanation"]
    assert explained["id"] == answer["rewardActionId"]
    assert {each["name"] for each in explained["features"]} == {"time", "name", "id"}


def test_nothing_is_acknowledged_that_is_not_stored(own_server: Server) -> None:
    namespace, space = Namespace("shop"), Decisions("shop")
    with deciding(own_server, namespace) as decider:
        with redis.Redis.from_url(own_server.url) as client:
            publish_by_hand(client, space)
            decider.poll()
            client.config_set("maxmemory", "1kb")
            with pytest.raises(Refused, match="see that it runs and has room") as refused:
                decider.reward("e1", b'{"value": 1}')
            assert (refused.value.status, refused.value.code) == (503, "OperationNotAllowed")
            with pytest.raises(Refused, match="see that it runs and has room"):
                decider.activate("e1")
            answer = decider.rank(body(eventId="e1"))
            assert not answer.logged and json.loads(answer.body)["eventId"] == "e1"
            client.config_set("maxmemory", "0")
            assert decider.rank(body(eventId="e1")).logged
            assert client.xlen(space.log) == 1
        own_server.kill()
        assert not decider.rank(body()).logged
        own_server.start()
        wait_until(lambda: decider.rank(body()).logged)


def test_a_full_log_takes_no_more(server: Server, client: Any, namespace: Namespace) -> None:
    space = Decisions(namespace.name)
    with deciding(server, namespace, events_max=1000) as decider:
        decider.poll()
        pipeline = client.pipeline()
        for _ in range(999):
            pipeline.xadd(space.log, Activated("e").encode())
        pipeline.execute()
        decider.activate("last")
        with pytest.raises(Refused, match="the stream holds 1000 decisions of at most 1000"):
            decider.reward("e1", b'{"value": 1}')
        assert not decider.rank(body()).logged
        client.xtrim(space.log, maxlen=1, approximate=False)
        assert decider.rank(body()).logged


def test_a_worker_that_never_saw_the_desk_decides_nothing(
    server: Server, namespace: Namespace
) -> None:
    with deciding(server, namespace) as decider:
        with pytest.raises(Refused, match="nobody can tell how to decide") as refused:
            decider.rank(body())
        assert refused.value.status == 503
        decider.reward("e1", b'{"value": 1}')
