"""Both wings read one environment: each name is known, and a misspelt one gets a hint."""

import pytest

from app.contracts.environment import unknown
from app.contracts.variables import BATCH, SERVING
from tests.contracts import variables


def test_the_names_are_those_of_the_settings_and_options() -> None:
    assert variables.PATH.read_text() == variables.text(), "run: make variables"


def test_known_names_and_those_of_others_pass() -> None:
    environment = {name: "" for name in SERVING | BATCH} | {
        "PATH": "",
        "LARDERS": "",
        "larder_x": "",
    }
    assert unknown(environment) == []


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("LARDER_CACHE_ULR", "LARDER_CACHE_URL"),
        ("LARDER_NAMESPCE", "LARDER_NAMESPACE"),
        ("LARDER_WORKER", "LARDER_WORKERS"),
        ("LARDER_TIMEOUT_MS", "LARDER_CACHE_TIMEOUT_MS"),
        ("LARDER_REGULARISATION", "LARDER_REGULARIZATION"),
    ],
)
def test_a_misspelt_name_gets_the_right_one(misspelt: str, meant: str) -> None:
    assert unknown({misspelt: "secret"}) == [f"unknown setting {misspelt}: did you mean {meant}?"]


def test_a_name_like_no_other_gets_a_way_out() -> None:
    assert unknown({"LARDER_XQZ": ""}) == [
        "unknown setting LARDER_XQZ: remove it, or see larder --help"
    ]


def test_several_unknown_names_are_all_named_in_order() -> None:
    sentences = unknown({"LARDER_ZZZZ": "", "LARDER_QQQQ": "", "LARDER_K": "3"})
    assert [sentence.split(":")[0] for sentence in sentences] == [
        "unknown setting LARDER_QQQQ",
        "unknown setting LARDER_ZZZZ",
    ]
