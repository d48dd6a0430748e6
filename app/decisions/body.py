"""The bodies of rank, reward and their likes for several slots, checked as they are documented."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import orjson

from app.contracts.decisions import MAX_ACTIONS, MAX_EVENT_ID, Rewarded
from app.decisions import context
from app.decisions.refusals import BAD_REQUEST, RANK, REWARD, Refused

MAX_ID = 256
"""Characters of the id of an action or a slot."""
MAX_FEATURES = 4_000
"""Of an action or a slot, and of an action with those that all share."""
MAX_FEATURES_IN_ALL = 100_000
MAX_REWARD = 1e9
"""Either way: what many of them sum to is within what a model can learn."""

_ACTION = '{"id": "tea", "features": [{"kind": "drink"}]}'


_NAMES = frozenset(
    ("contextFeatures", "actions", "excludedActions", "eventId", "deferActivation", "slots")
    + ("value", "reward")
)
_OF_CASES = {name.lower(): name for name in _NAMES}
"""The service took these in any case."""


class Place(NamedTuple):
    """A slot of a request: which actions it may show, and its baseline; indexes from 0."""

    id: str
    offered: tuple[int, ...]
    baseline: int


class Asked(NamedTuple):
    """A request to rank.

    actions: the ids, in its order; offered: the indexes of those that may be chosen; context: of
    these, as Vowpal Wabbit reads it.
    """

    id: str
    actions: Sequence[str]
    offered: Sequence[int]
    context: bytes
    deferred: bool
    slots: Sequence[Place] = ()


def rank(body: bytes) -> Asked:
    """Read a request for one slot. Raises Refused."""
    told = _object(body)
    common, count = context.shared(told.get("contextFeatures"))
    actions = _actions(told.get("actions"), count)
    ids = [id for id, _ in actions]
    offered: Sequence[int] = range(len(ids))
    if excluded := set(_texts(told.get("excludedActions"))):
        offered = [number for number, id in enumerate(ids) if id not in excluded]
        actions = [actions[number] for number in offered]
    if not offered:
        raise _refused("At least one action must not be excluded.", "excludedActions")
    text = context.encode(common, actions)
    return Asked(_event_id(told), ids, offered, text, _deferred(told))


def rank_slots(body: bytes) -> Asked:
    """Read a request for several slots. Raises Refused."""
    told = _object(body)
    common, count = context.shared(told.get("contextFeatures"))
    actions = _actions(told.get("actions"), count)
    ids = [id for id, _ in actions]
    slots, places = _slots(told.get("slots"), ids)
    text = context.encode(common, actions, slots)
    return Asked(_event_id(told), ids, range(len(ids)), text, _deferred(told), places)


def reward(event_id: str, body: bytes) -> Rewarded:
    """Read what an event was worth. Raises Refused."""
    return Rewarded(known(event_id), _value(_object(body, REWARD)))


def reward_slots(event_id: str, body: bytes) -> list[Rewarded]:
    """Read what some slots of an event were worth. Raises Refused."""
    told, name = _object(body, REWARD).get("reward"), known(event_id)
    if type(told) is not list or not 1 <= len(told) <= MAX_ACTIONS:
        message = 'Invalid reward request. Send {"reward": [{"slotId": "top", "value": 1}]}.'
        raise Refused(400, REWARD, message, "reward")
    return [Rewarded(name, _value(each), _slot_id(each)) for each in told]


def _object(body: bytes, code: str = BAD_REQUEST) -> dict[str, Any]:
    message = "Request could not be understood by the server."
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, code, f"{message} It is not JSON: {error}") from error
    if type(told) is not dict:
        like = '{"value": 1}' if code == REWARD else f'{{"actions": [{_ACTION}]}}'
        raise Refused(400, code, f"{message} Send an object, such as {like}.")
    if told.keys() <= _NAMES:
        return told
    found: dict[str, Any] = told
    return {_OF_CASES.get(name.lower(), name): value for name, value in found.items()}


def _refused(message: str, target: str = "") -> Refused:
    return Refused(400, RANK, message, target)


def _actions(told: Any, shared: int) -> list[tuple[str, context.Features]]:
    """Each id and its features, beside so many that they share."""
    if type(told) is not list or not 1 <= len(told) <= MAX_ACTIONS:
        message = f"Action count should be between 1 and {MAX_ACTIONS}."
        if type(told) is not list:
            message += f' Send a list "actions", each such as {_ACTION}.'
        raise _refused(message, "actions")
    actions, total = [], shared
    for each in told:
        if type(each) is not dict:
            raise _refused(f"Actions contains null value. Each is such as {_ACTION}.", "actions")
        found, count = context.own(each.get("features"))
        if not found:
            message = "Every action should have at least one non-null action feature."
            raise _refused(message, "actions")
        actions.append((_action_id(each), found))
        total += count
        if shared + count > MAX_FEATURES or total > MAX_FEATURES_IN_ALL:
            raise _refused("Exceeds maximum allowed payload size. It has too many features.")
    if len({id for id, _ in actions}) < len(actions):
        raise _refused("Action ids must be unique.", "actions")
    return actions


def _action_id(told: dict[str, Any]) -> str:
    name = told.get("id")
    if type(name) is not str or not name:
        raise _refused('Action ids must not be empty. Each is text, such as "7".', "actions")
    if len(name) > MAX_ID:
        raise _refused(f"Action ids must not be longer than {MAX_ID} characters.", "actions")
    return name


def _texts(told: Any) -> list[str]:
    if told is None:
        return []
    if type(told) is not list or not all(type(each) is str for each in told):
        raise _refused("Excluded actions must be a list of action ids.", "excludedActions")
    return told


def _event_id(told: dict[str, Any]) -> str:
    name = told.get("eventId")
    if name is None:
        return str(uuid4())
    if type(name) is not str or not name:
        raise _refused("EventId should be non-empty or null.", "eventId")
    if len(name) > MAX_EVENT_ID:
        raise _refused(f"EventId must not be longer than {MAX_EVENT_ID} characters.", "eventId")
    return name


def _deferred(told: dict[str, Any]) -> bool:
    found = told.get("deferActivation")
    if found is not None and type(found) is not bool:
        raise _refused("DeferActivation must be true or false.", "deferActivation")
    return bool(found)


def _slots(told: Any, ids: Sequence[str]) -> tuple[list[dict[str, Any]], list[Place]]:
    """The slots for Vowpal Wabbit, and for us."""
    if type(told) is not list or not told:
        raise _refused("At least one slot must be defined in a multi-slot rank request.", "slots")
    if len(told) > len(ids):
        raise _refused("Slots count should be between 1 and the number of actions", "slots")
    if not all(type(each) is dict for each in told):
        raise _refused("Slots contain null value.", "slots")
    numbers = {id: number for number, id in enumerate(ids)}
    places = [_place(each, numbers) for each in told]
    if len({each.id for each in places}) < len(places):
        raise _refused("All slot's must contain unique, non empty ID", "slots")
    if len({each.baseline for each in places}) < len(places):
        raise _no_baseline()
    slots = []
    for each, place in zip(told, places, strict=True):
        found, count = context.own(each.get("features", each.get("positionFeatures")))
        slot: dict[str, Any] = {"_id": place.id, "_inc": place.offered}
        for one in found:
            slot |= one
        slots.append(slot)
        if count > MAX_FEATURES:
            raise _refused("Exceeds maximum allowed payload size. It has too many features.")
    return slots, places


def _place(told: dict[str, Any], numbers: dict[str, int]) -> Place:
    name, baseline = told.get("id"), told.get("baselineAction")
    if type(name) is not str or not 1 <= len(name) <= MAX_ID:
        raise _refused("All slot's must contain unique, non empty ID", "slots")
    if type(baseline) is not str or baseline not in numbers:
        raise _no_baseline()
    excluded = set(_texts(told.get("excludedActions")))
    if not excluded <= numbers.keys():
        raise _refused("All excluded action ID's must have corresponding action ID", "slots")
    if baseline in excluded:
        raise _refused("BaselineAction cannot be part of ExcludedActions.", "slots")
    offered = tuple(number for id, number in numbers.items() if id not in excluded)
    return Place(name, offered, numbers[baseline])


def _no_baseline() -> Refused:
    return _refused(
        "Each slot must contain a unique BaselineAction with an ID corresponding to an element of "
        "Actions.",
        "slots",
    )


def known(event_id: str) -> str:
    """An id as a path gives it. Raises Refused."""
    is_text = not any("\ud800" <= character <= "\udfff" for character in event_id)
    if not 1 <= len(event_id) <= MAX_EVENT_ID or not is_text:
        message = f"An event id has 1 to {MAX_EVENT_ID} characters of Unicode."
        raise Refused(400, BAD_REQUEST, message)
    return event_id


def _value(told: Any) -> float:
    value: Any = told.get("value") if type(told) is dict else None
    if type(value) not in (int, float) or not -MAX_REWARD <= value <= MAX_REWARD:
        message = f"Invalid reward request. Its value must be a number, of {MAX_REWARD:g} at most."
        raise Refused(400, REWARD, message, "value")
    return float(value)


def _slot_id(told: dict[str, Any]) -> str:
    name = told.get("slotId")
    if type(name) is not str or not 1 <= len(name) <= MAX_ID:
        raise Refused(400, REWARD, "Invalid reward request. Each needs a slotId.", "slotId")
    return name
