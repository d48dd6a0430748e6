"""Decisions as lines that ``vw --dsjson`` learns from: the format of the service's own logs.

Of one decision in one place, and of one in several (``_a`` counts from 0 there)::

    {"_label_cost":-1.0,"_label_probability":0.8,"_label_Action":2,"_labelIndex":1,
     "o":[{"v":1.0,"EventId":"e1","ActionTaken":false}],"Timestamp":"2026-11-21T08:00:00.0000000Z",
     "Version":"1","EventId":"e1","a":[2,1],"c":{"FromUrl":[...],"_multi":[...]},"p":[0.8,0.2],
     "VWState":{"m":"N/A"},"_original_label_cost":-1.0}
    {"Timestamp":...,"Version":"1","EventId":"e2","c":{...,"_slots":[...]},"_outcomes":[
     {"_label_cost":0.0,"_id":"top","_a":[1,0],"_p":[0.8,0.2],"_o":[]}],"VWState":{"m":"N/A"}}

A cost is a reward below zero. ``"_skipLearn":true`` is of a decision that no model learns. What the
service did not log stands in ``Larder``, where it is not as usual; Vowpal Wabbit passes it over.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from orjson import Fragment, dumps

from app.contracts.decisions import MODES, Slot
from app.contracts.learning.features import BadFeatures, clean
from batch.decisions.learner import problem_of
from batch.decisions.terms import Joined, utc

_NO_MODEL = "N/A"
_OURS = frozenset({"_multi", "_slots", "_tag", "_id", "_inc"})
"""Names that mean something to Vowpal Wabbit, where they stand."""


class BadLine(ValueError):
    """A line that is no decision: its sentence says why."""


def _refuse(constant: str) -> float:
    raise BadLine(f"no JSON: {constant}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a name that comes twice nobody would look at what comes first."""
    if len(told := dict(pairs)) < len(pairs):
        raise BadLine("a name comes twice")
    return told


_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once)


def line(joined: Joined) -> str:
    """One decision as a line, without its newline."""
    several, context = bool(joined.slots[0].id), Fragment(joined.context)
    seconds, ms = divmod(joined.time, 1000)
    head = {"Timestamp": f"{_second(seconds)}.{ms:03}0000Z", "Version": "1", "EventId": joined.id}
    told: dict[str, Any] = {"VWState": {"m": joined.generation or _NO_MODEL}}
    told |= {} if joined.counts else {"_skipLearn": True}
    told |= {"Larder": ours} if (ours := _ours(joined)) else {}
    pairs = zip(joined.slots, joined.rewards, strict=True)
    if several:
        outcomes = [_outcome(joined, slot, reward) for slot, reward in pairs]
        return dumps({**head, "c": context, "_outcomes": outcomes, **told}).decode()
    ((slot, reward),) = pairs
    action, cost = slot.actions[0], 0.0 - reward
    whole = {
        "_label_cost": cost,
        "_label_probability": slot.probabilities[0],
        "_label_Action": action,
        "_labelIndex": action - 1,
        "o": _observed(joined, ""),
        **head,
        "a": slot.actions,
        "c": context,
        "p": slot.probabilities,
        **told,
        "_original_label_cost": cost,
    }
    return dumps(whole).decode()


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _outcome(joined: Joined, slot: Slot, reward: float) -> dict[str, Any]:
    return {
        "_label_cost": 0.0 - reward,
        "_id": slot.id,
        "_a": [action - 1 for action in slot.actions],
        "_p": slot.probabilities,
        "_o": _observed(joined, slot.id),
    }


def _observed(joined: Joined, slot: str) -> list[dict[str, Any]]:
    name = joined.id
    return [
        {"v": value, "EventId": name, "ActionTaken": False}
        for of, value in joined.observed
        if of == slot
    ]


def _ours(joined: Joined) -> dict[str, Any]:
    """What the service did not log, and is not as usual."""
    baselines = [slot.baseline for slot in joined.slots]
    ours: dict[str, Any] = {"mode": joined.mode} if joined.mode != "Online" else {}
    ours |= {"imitated": True} if joined.imitated else {}
    return ours | ({"baselines": baselines} if any(each != 1 for each in baselines) else {})


def parse(text: str) -> Joined:
    """Read a line, whatever the order of its members.

    Its context is written anew, without what Vowpal Wabbit must not see. Raises BadLine: also for
    an observation without its decision, as the service's logs hold some.
    """
    try:
        found = _DECODER.decode(text)
        if "c" not in found:
            raise BadLine("no decision: it has no context")
        joined = _joined(found, _safe(found["c"]))
    except BadLine:
        raise
    except BadFeatures as error:
        raise BadLine(f"bad features: {error}") from error
    except (LookupError, TypeError, AttributeError) as error:
        raise BadLine(f"member missing or of another kind: {error}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadLine(f"no JSON: {error}") from error
    except (ValueError, OverflowError) as error:
        raise BadLine(f"no right value: {error}") from error
    if problem := problem_of(joined):
        raise BadLine(problem)
    return joined


def _safe(told: dict[str, Any]) -> bytes:
    """A context as text, in its order where there is nothing to clean."""
    before = _compact(told)
    for part in (told, *told["_multi"], *told.get("_slots", ())):
        _clean(part)
    return (before if json.loads(before) == told else _compact(told)).encode()


def _compact(told: object) -> str:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _clean(part: dict[str, Any]) -> None:
    kept = {name: part.pop(name) for name in _OURS & part.keys()}
    lists = [name for name, value in part.items() if _is_of_objects(value)]
    several = {name if name.isascii() else f"~{name}": part.pop(name) for name in lists}
    for each in chain(*several.values()):
        clean(each)
    clean(part)
    part |= several | kept


def _is_of_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _joined(found: Mapping[str, Any], context: bytes) -> Joined:
    several = "_outcomes" in found
    outcomes = found["_outcomes"] if several else [found]
    ours = found.get("Larder", {})
    baselines = ours.get("baselines", [1] * len(outcomes))
    read = _slot_of_several if several else _only_slot
    pairs = [
        (read(outcome, number, int(baseline)), outcome)
        for number, (outcome, baseline) in enumerate(zip(outcomes, baselines, strict=True))
    ]
    mode, model = ours.get("mode", "Online"), _text(found.get("VWState", {}).get("m", _NO_MODEL))
    if mode not in MODES:
        raise BadLine(f"there is no mode {mode!r:.40}")
    return Joined(
        "",
        _text(found.get("EventId", "")),
        _moment(found["Timestamp"]),
        context,
        tuple(slot for slot, _ in pairs),
        tuple(_finite(0.0 - float(outcome["_label_cost"])) for _, outcome in pairs),
        tuple(
            (slot.id, _finite(float(each["v"])))
            for slot, outcome in pairs
            for each in outcome.get("_o" if several else "o", ())
            if "v" in each
        ),
        not found.get("_skipLearn", False),
        "" if model == _NO_MODEL else model,
        mode,
        bool(ours.get("imitated", False)),
    )


def _only_slot(outcome: Mapping[str, Any], number: int, baseline: int) -> Slot:
    actions, probabilities = outcome["a"], outcome["p"]
    if outcome.get("_label_Action", actions[0]) != actions[0]:
        raise BadLine("the action of the label is not the first of the answer")
    return Slot("", tuple(map(int, actions)), tuple(map(float, probabilities)), baseline)


def _slot_of_several(outcome: Mapping[str, Any], number: int, baseline: int) -> Slot:
    name = _text(outcome.get("_id", "")) or str(number + 1)
    actions = tuple(int(action) + 1 for action in outcome["_a"])
    return Slot(name, actions, tuple(map(float, outcome["_p"])), baseline)


def _text(value: object) -> str:
    text = str(value)
    text.encode()  # raises ValueError for what no file can hold
    return text


def _moment(written: str) -> int:
    """A time in ms since 1970, in UTC where it names no zone."""
    seconds = utc(written).timestamp()
    if seconds < 0:
        raise BadLine(f"a time before 1970: {written}")
    return round(seconds * 1000)


def _finite(number: float) -> float:
    if not abs(number) <= 1e9:
        raise BadLine(f"a reward of {number}")
    return number
