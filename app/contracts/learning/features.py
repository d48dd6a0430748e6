"""Features of decisions, made safe for Vowpal Wabbit, which reads them as JSON.

To that reader a name that begins with ``_`` is a command, an item of an array that is no number may
be a label, and a number beyond 32 bits is infinite; products of those that are nearly so are, too.
An object or array whose name begins outside of ASCII makes it write outside of its memory (release
9.11), so these get a ``~`` before their names.
"""

from typing import Any

MAX_DEPTH = 16
"""Of objects in each other."""
MAX_NUMBER = 3.4028234e38
"""Of a 32-bit float."""
LARGEST = 1e9
"""What larger numbers count as: products of theirs are not finite, and spoil a model for good."""

NO_PAIRS = "Features are not in key value pair format."
_EMPTY_NAME = "Context features and action features cannot use the empty string as an id."
_NO_NUMBERS = "Features should not contain array with non-number items."
_TOO_LARGE = "Features should not contain numbers beyond the range of a 32-bit float."
_TOO_DEEP = f"Features should not be nested deeper than {MAX_DEPTH} levels."


class BadFeatures(ValueError):
    """A sentence that says why features cannot be taken."""


def clean(told: Any, depth: int = 1) -> int:
    """Take out, in place, what Vowpal Wabbit must not see; returns how many features are left.

    Names that begin with ``_`` and nulls are passed over. Raises BadFeatures.
    """
    if type(told) is not dict:
        raise BadFeatures(NO_PAIRS)
    if depth > MAX_DEPTH:
        raise BadFeatures(_TOO_DEEP)
    count, others = len(told), []
    for name, value in told.items():
        kind = type(value)
        if not name:
            raise BadFeatures(_EMPTY_NAME)
        if name[0] == "_" or value is None:
            others.append(name)
        elif kind is float or kind is int:
            if not -LARGEST <= value <= LARGEST:
                told[name] = _clipped(value)
        elif kind is dict or kind is list:
            count += (clean(value, depth + 1) if kind is dict else _numbers(value)) - 1
            if name > "\x7f":
                others.append(name)
    for name in others:
        value = told.pop(name)
        if name[0] == "_" or value is None:
            count -= 1
        else:
            told["~" + name] = value
    return count


def _numbers(told: list[Any]) -> int:
    if not {type(each) for each in told} <= {int, float}:
        raise BadFeatures(_NO_NUMBERS)
    if told and not (-LARGEST <= min(told) and max(told) <= LARGEST):
        told[:] = map(_clipped, told)
    return len(told)


def _clipped(value: float) -> float:
    if not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise BadFeatures(_TOO_LARGE)
    return max(-LARGEST, min(value, LARGEST))
