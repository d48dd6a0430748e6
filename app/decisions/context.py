"""What a decision is made of, checked and turned into the JSON that Vowpal Wabbit reads.

::

    {"FromUrl": [<features>...],
     "_multi": [{"_tag": id, "i": {"constant": 1, "id": id}, "j": [<features>...]}...],
     "_slots": [{"_id": id, "_inc": [0, 2], <features>...}...]}          only with several slots

To that reader a name that begins with ``_`` is a command, an item of an array that is no number
may be a label, and a number beyond 32 bits is infinite: none of them gets there.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from app.decisions.refusals import RANK, Refused

MAX_DEPTH = 16
"""Of objects in each other."""
MAX_NUMBER = 3.4028234e38
"""Of a 32-bit float."""

_NO_PAIRS = "Features are not in key value pair format."
_EMPTY_NAME = "Context features and action features cannot use the empty string as an id."
_NO_NUMBERS = "Features should not contain array with non-number items."
_TOO_LARGE = "Features should not contain numbers beyond the range of a 32-bit float."
_TOO_DEEP = f"Features should not be nested deeper than {MAX_DEPTH} levels."

Features = list[dict[str, Any]]


def shared(told: Any) -> tuple[Features, int]:
    """The features of a context, and how many they are. Raises Refused."""
    if told is None:
        return [], 0
    if type(told) is not list:
        raise Refused(400, RANK, _NO_PAIRS, "contextFeatures")
    if None in told:
        raise Refused(400, RANK, "Context features contains null value.", "contextFeatures")
    return told, _count(told)


def own(told: Any) -> tuple[Features, int]:
    """The features of an action or a slot without nulls, and how many. Raises Refused."""
    if type(told) is not list:
        raise Refused(400, RANK, _NO_PAIRS, "features")
    if None in told:
        told = [each for each in told if each is not None]
    return told, _count(told)


def _count(told: list[Any]) -> int:
    count = 0
    for each in told:
        if type(each) is not dict:
            raise Refused(400, RANK, _NO_PAIRS)
        count += _clean(each, 1)
    return count


def _clean(told: dict[str, Any], depth: int) -> int:
    """Take out names that begin with ``_``, and nulls; returns how many features are left."""
    if depth > MAX_DEPTH:
        raise Refused(400, RANK, _TOO_DEEP)
    count = len(told)
    passed_over = []
    for name, value in told.items():
        kind = type(value)
        if name[:1] == "_" or value is None:
            passed_over.append(name)
        elif not name:
            raise Refused(400, RANK, _EMPTY_NAME)
        elif kind is float or kind is int:
            if not -MAX_NUMBER <= value <= MAX_NUMBER:
                raise Refused(400, RANK, _TOO_LARGE)
        elif kind is dict:
            count += _clean(value, depth + 1) - 1
        elif kind is list:
            count += _numbers(value) - 1
    for name in passed_over:
        del told[name]
    return count - len(passed_over)


def _numbers(told: list[Any]) -> int:
    if not {type(each) for each in told} <= {int, float}:
        raise Refused(400, RANK, _NO_NUMBERS)
    if told and not (-MAX_NUMBER <= min(told) and max(told) <= MAX_NUMBER):
        raise Refused(400, RANK, _TOO_LARGE)
    return len(told)


def encode(
    shared: Features,
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
