"""Bodies are taken as they are documented, and hostile ones never reach Vowpal Wabbit."""

import json
from random import Random
from typing import Any

import pytest

from app.contracts.decisions import Rewarded
from app.contracts.learning import policies
from app.decisions.body import Place, rank, rank_slots, reward, reward_slots
from app.decisions.chooser import Model, Stranded
from app.decisions.refusals import Refused
from tests.decisions import ACTIONS, SLOTS, body, context, manifest_of, trained

SLOT = {"id": "top", "baselineAction": "soup", "features": [{"size": "large"}]}
SIDE = {"id": "side", "baselineAction": "tea", "positionFeatures": [{"size": 1}]}


def action(id: Any = "a", features: Any = ({"b": 1},)) -> dict[str, Any]:
    return {"id": id, "features": features}


def test_a_request_becomes_what_vowpal_wabbit_reads() -> None:
    asked = rank(body("morning", eventId="e1", excludedActions=["tea", "unknown"]))
    told = context("morning")
    del told["_multi"][1]
    assert json.loads(asked.context) == told
    assert (asked.id, asked.actions, asked.offered) == ("e1", list(ACTIONS), [0, 2])
    assert not asked.deferred
    bare = rank(b'{"actions": [{"id": "a", "features": [null, {"b": null, "c": 1}]}]}')
    assert bare.context.endswith(b'"j":[{"c":1}]}]}') and len(bare.id) == 36


def test_names_of_members_are_taken_in_any_case() -> None:
    told = json.loads(body("morning", eventId="e1"))
    odd = rank(json.dumps({name.upper(): value for name, value in told.items()}).encode())
    assert odd == rank(json.dumps(told).encode())
    assert reward("e1", b'{"Value": 0.5}') == Rewarded("e1", 0.5)


def test_slots_become_what_it_reads_too() -> None:
    asked = rank_slots(body(slots=[SLOT | {"excludedActions": ["beer"]}, SIDE]))
    assert json.loads(asked.context) == context("morning") | {
        "_slots": [
            {"_id": "top", "_inc": [0, 1], "size": "large"},
            {"_id": "side", "_inc": [0, 1, 2], "size": 1},
        ]
    }
    assert asked.slots == [Place("top", (0, 1), 0), Place("side", (0, 1, 2), 1)]


@pytest.mark.parametrize(
    "told, message",
    [
        ({"actions": []}, "Action count should be between 1 and 50."),
        ({"actions": [action(str(n)) for n in range(51)]}, "Action count should be between 1 and"),
        ({"actions": [None]}, "Actions contains null value."),
        ({"actions": [action("")]}, "Action ids must not be empty."),
        ({"actions": [action(7)]}, 'Action ids must not be empty. Each is text, such as "7".'),
        ({"actions": None}, 'Action count should be between 1 and 50. Send a list "actions"'),
        ({"actions": [action("x" * 257)]}, "Action ids must not be longer than 256 characters."),
        ({"actions": [action(), action()]}, "Action ids must be unique."),
        ({"actions": [action(features=None)]}, "Every action should have at least one non-null"),
        ({"actions": [action(features=[None])]}, "Every action should have at least one non-null"),
        ({"actions": [action(features=["b"])]}, "Features are not in key value pair format."),
        ({"actions": [action(features={"b": 1})]}, "Features are not in key value pair format."),
        ({"contextFeatures": [None]}, "Context features contains null value."),
        ({"contextFeatures": [{"": 1}]}, "Context features and action features cannot use the"),
        ({"contextFeatures": [{"a": ["b"]}]}, "Features should not contain array with non-number"),
        ({"actions": [action(features=[{"b": [1] * 4_001}])]}, "Exceeds maximum allowed payload"),
        ({"contextFeatures": [{"b": [1] * 4_000}]}, "Exceeds maximum allowed payload size."),
        (
            {"actions": [action(str(n), [{"b": [1] * 2_001}]) for n in range(50)]},
            "Exceeds maximum allowed payload size.",
        ),
        ({"excludedActions": list(ACTIONS)}, "At least one action must not be excluded."),
        ({"excludedActions": [1]}, "Excluded actions must be a list of action ids."),
        ({"eventId": ""}, "EventId should be non-empty or null."),
        ({"eventId": "x" * 257}, "EventId must not be longer than 256 characters."),
        ({"deferActivation": "yes"}, "DeferActivation must be true or false."),
    ],
)
def test_what_cannot_be_ranked_says_why(told: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as raised:
        rank(body(**told))
    assert (raised.value.status, raised.value.code) == (400, "InvalidRankRequest")
    assert raised.value.message.startswith(message)


@pytest.mark.parametrize(
    "slots, message",
    [
        ([], "At least one slot must be defined in a multi-slot rank request."),
        ([SLOT] * 4, "Slots count should be between 1 and the number of actions"),
        ([None], "Slots contain null value."),
        ([SLOT | {"features": [{"b": [1] * 4_001}]}], "Exceeds maximum allowed payload size."),
        ([SLOT, SIDE | {"id": "top"}], "All slot's must contain unique, non empty ID"),
        ([SLOT | {"id": ""}], "All slot's must contain unique, non empty ID"),
        ([SLOT, SIDE | {"baselineAction": "soup"}], "Each slot must contain a unique Baseline"),
        ([SLOT | {"baselineAction": "wine"}], "Each slot must contain a unique BaselineAction"),
        ([SLOT | {"excludedActions": ["wine"]}], "All excluded action ID's must have correspond"),
        ([SLOT | {"excludedActions": ["soup"]}], "BaselineAction cannot be part of Excluded"),
    ],
)
def test_slots_that_cannot_be_ranked_say_why(slots: Any, message: str) -> None:
    with pytest.raises(Refused, match=message) as raised:
        rank_slots(body(slots=slots))
    assert raised.value.code == "InvalidRankRequest"


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b'{"a": NaN}', b'"\\ud800"', b"\xff", b"[" * 9999]
)
def test_what_is_no_object_of_json_is_refused(text: bytes) -> None:
    with pytest.raises(Refused, match="Request could not be understood by the server."):
        rank(text)


def test_what_is_no_object_is_told_what_to_send() -> None:
    with pytest.raises(Refused, match='Send an object, such as {"value": 1}.'):
        reward("e", b"1")
    with pytest.raises(Refused, match='Send an object, such as {"actions": '):
        rank(b"1")


def test_rewards_are_numbers_that_can_be_learned() -> None:
    assert reward("e/1", b'{"value": 1}') == Rewarded("e/1", 1.0)
    told = b'{"reward": [{"slotId": "top", "value": -7.5}, {"slotId": "side", "value": 0}]}'
    assert reward_slots("e", told) == [Rewarded("e", -7.5, "top"), Rewarded("e", 0.0, "side")]


@pytest.mark.parametrize("value", ["null", '"1"', "true", "1e300", "-2000000000", "NaN", "[1]"])
def test_a_reward_that_is_no_such_number_is_refused(value: str) -> None:
    for read, text in (
        (reward, f'{{"value": {value}}}'),
        (reward_slots, f'{{"reward": [{{"slotId": "top", "value": {value}}}]}}'),
    ):
        with pytest.raises(Refused) as raised:
            read("e", text.encode())
        assert (raised.value.status, raised.value.code) == (400, "InvalidRewardRequest")


@pytest.mark.parametrize("text", ["{}", '{"reward": []}', '{"reward": [{"value": 1}]}'])
def test_rewards_of_no_slot_are_refused(text: str) -> None:
    with pytest.raises(Refused, match="Invalid reward request."):
        reward_slots("e", text.encode())


def test_a_reward_of_no_event_is_refused() -> None:
    for event_id in ("", "x" * 257, "e\udc80"):
        with pytest.raises(Refused, match="An event id has 1 to 256 characters of Unicode."):
            reward(event_id, b'{"value": 1}')


NAMES = (*"ab_é🎉\x00:|", "_label", "_multi", "_tag", "_slots", "_text", "constant", "i", "FromUrl")


def _hostile(random: Random, depth: int = 0) -> dict[str, Any]:
    values: tuple[Any, ...] = (
        0,
        1.5,
        -3e38,
        1e300,
        2**70,
        "x",
        "_x",
        True,
        None,
        [1, 2],
        [],
        ["a"],
        [{}],
    )
    return {
        random.choice(NAMES): (
            _hostile(random, depth + 1)
            if depth < 4 and random.random() < 0.5
            else random.choice(values)
        )
        for _ in range(random.randrange(4))
    }


def test_whatever_is_taken_is_chosen_from() -> None:
    """A crash of the library would end this process."""
    models = [
        Model(manifest_of(trained(each), arguments=each), trained(each), 0.2)
        for each in (policies.DEFAULT.arguments, SLOTS)
    ]
    random, taken = Random(1), 0
    for number in range(600):
        names = [random.choice(NAMES) + str(n) for n in range(3)]
        actions = [action(name, [_hostile(random)]) for name in names]
        slots = [SLOT | {"baselineAction": names[0], "features": [_hostile(random)]}]
        text = body(actions=actions, slots=slots, contextFeatures=[_hostile(random)])
        try:
            if number % 2:
                assert sorted(models[0].rank(rank(text)).actions) == [1, 2, 3]
            else:
                assert len(models[1].rank_slots(rank_slots(text))) == 1
            taken += 1
        except (Refused, Stranded):
            continue
    assert taken > 100
    asked = rank(body("evening"))
    assert [round(each, 3) for each in models[0].probabilities(asked)] == [0.067, 0.067, 0.867]
