"""Nothing in features is a command to Vowpal Wabbit, a label, infinite, or beyond its memory."""

from typing import Any

import pytest

from app.contracts.learning.features import MAX_DEPTH, BadFeatures, clean


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth > 1 else {"a": 1}


def test_what_is_good_stays_and_is_counted() -> None:
    told = {"user": {"age": 3, "tags": [1, 2.5], "new": True}, "price": -1e9, "Ü": "Ü", "no": {}}
    before = repr(told)
    assert clean(told) == 6 and repr(told) == before
    assert clean(nested(MAX_DEPTH)) == 1


def test_commands_and_nulls_are_passed_over() -> None:
    told = {"_label": {"x": [{}]}, "a": {"_multi": 1e300, "b": None, "c": 1}, "_": 1, "d": None}
    assert clean(told) == 1
    assert told == {"a": {"c": 1}}


def test_what_no_model_can_multiply_is_made_less() -> None:
    told = {"id": 2**63, "a": {"b": -3e38, "c": 1.7e12}, "d": [1, 1e20, -1e20]}
    assert clean(told) == 6
    assert told == {"id": 1e9, "a": {"b": -1e9, "c": 1e9}, "d": [1, 1e9, -1e9]}


def test_namespaces_begin_in_ascii() -> None:
    told = {"Über": {"é": [1], "a": 1}, "🎉": [], "ü": 1}
    assert clean(told) == 3
    assert told == {"~Über": {"~é": [1], "a": 1}, "~🎉": [], "ü": 1}


@pytest.mark.parametrize(
    "told, sentence",
    [
        ("text", "Features are not in key value pair format."),
        ({"": 1}, "Context features and action features cannot use the empty string as an id."),
        ({"a": ["b"]}, "Features should not contain array with non-number items."),
        ({"a": [True]}, "Features should not contain array with non-number items."),
        ({"a": [[1]]}, "Features should not contain array with non-number items."),
        ({"a": [1, 1e39]}, "numbers beyond the range of a 32-bit float"),
        ({"a": {"b": 2**70 * 2**70}}, "numbers beyond the range of a 32-bit float"),
        ({"a": float("nan")}, "numbers beyond the range of a 32-bit float"),
        ({"a": [float("nan")]}, "numbers beyond the range of a 32-bit float"),
        (nested(MAX_DEPTH + 1), "nested deeper than 16 levels"),
    ],
)
def test_what_is_not_good_is_refused(told: Any, sentence: str) -> None:
    with pytest.raises(BadFeatures) as raised:
        clean(told)
    assert sentence in str(raised.value)
