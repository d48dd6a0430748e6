"""What a decision is made of, checked and turned into the JSON that Vowpal Wabbit reads.

::

    {"FromUrl": [<features>...],
     "_multi": [{"_tag": id, "i": {"constant": 1, "id": id}, "j": [<features>...]}...],
     "_slots": [{"_id": id, "_inc": [0, 2], <features>...}...]}          only with several slots
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.contracts.learning.features import NO_PAIRS, BadFeatures, clean
from app.decisions.refusals import RANK, Refused

Features = list[dict[str, Any]]


def shared(told: Any) -> tuple[Features, int]:
    """The features of a context, and how many they are. Raises Refused."""
    if type(told) is list and None in told:
        raise Refused(400, RANK, "Context features contains null value.", "contextFeatures")
    return own(told, "contextFeatures")


def own(told: Any, member: str = "features") -> tuple[Features, int]:
    """The features of an action or a slot without nulls, and how many. Raises Refused."""
    if told is None:
        return [], 0
    if type(told) is not list:
        raise Refused(400, RANK, NO_PAIRS, member)
    if None in told:
        told = [each for each in told if each is not None]
    try:
        return told, sum([clean(each) for each in told])
    except BadFeatures as error:
        raise Refused(400, RANK, str(error)) from error


def encode(
    shared: Sequence[Mapping[str, Any]],
    actions: Sequence[tuple[str, Features]],
    slots: Sequence[dict[str, Any]] = (),
) -> bytes:
    """The text of checked features; actions by their ids, slots as that reader knows them."""
    told: dict[str, Any] = {
        "FromUrl": shared,
        "_multi": [
            {"_tag": id, "i": {"constant": 1, "id": id}, "j": features} for id, features in actions
        ],
    }
    if slots:
        told["_slots"] = slots
    return orjson.dumps(told)
