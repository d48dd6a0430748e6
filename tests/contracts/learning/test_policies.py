"""A policy is an allow list of what Vowpal Wabbit can do: nothing reads, writes, or fails."""

import json
from typing import Any

import pytest
from vowpalwabbit import Workspace

from app.contracts.learning import policies
from app.contracts.learning.policies import (
    BadPolicy,
    check,
    is_bounded,
    is_for_slots,
    products,
    with_exploration,
)
from tests.decisions import context, trained

GOOD = (
    policies.ORIGINAL.arguments,
    policies.DEFAULT.arguments,
    "--cb_explore_adf --epsilon 0.2 --cb_type ips -l 0.5 --l1 1E-07 --power_t 0.5",
    "--cb_explore_adf --squarecb --elim --gamma_scale 9 --gamma_exponent 1 --interactions Fij",
    "--cb_explore_adf --softmax --lambda 10 --cb_type dr --quadratic ij -b 24 --coin",
    "--cb_explore_adf --cover 3 --nounif --psi 1 --first_only --ftrl --ftrl_alpha 1 --ftrl_beta 1",
    "--cb_explore_adf --bag 5 --greedify --epsilon 0.01 --cb_type dm --cubic ::: --ignore i",
    "--cb_explore_adf --regcb --mellowness 0.1 --cb_min_cost -1 --cb_max_cost 0 --pistol",
    "--cb_explore_adf --rnd 3 --rnd_alpha 0.1 --rnd_invlambda 0.1 --sgd --noconstant",
    "--cb_explore_adf --first 100 --clip_p 0.01 --hash all --random_seed 7 --keep F --keep j",
    "--ccb_explore_adf --epsilon 0.2 --ccb_no_slot_index --ignore_linear i --initial_t 1 -q ::",
    "--cb_explore_adf --adaptive --invariant --normalized --decay_learning_rate 0.9 --l2 1e-6",
)
PARTS = {"q": "quadratic", "b": "bit_precision", "l": "learning_rate"}


@pytest.mark.parametrize("arguments", GOOD)
def test_what_is_allowed_learns_and_chooses(arguments: str) -> None:
    check(arguments)
    told = context("morning") | ({"_slots": [{"_id": "top"}]} if is_for_slots(arguments) else {})
    workspace: Any = Workspace(f"{arguments} --json --quiet")
    found = workspace.predict(json.dumps(told))
    assert len(found[0] if is_for_slots(arguments) else found) == 3
    workspace.finish()
    assert trained(arguments)


def _options() -> dict[str, Any]:
    workspace: Any = Workspace("--cb_explore_adf --quiet")
    found = workspace.get_config(filtered_enabled_reductions_only=False)
    workspace.finish()
    groups = [options for parts in found.values() for _, options in parts]
    return {option.name: option for options in groups for option in options}


def test_no_other_option_of_the_library_is_allowed() -> None:
    options = _options()
    allowed = set()
    for name, option in options.items():
        for word in (f"--{name}", f"-{option.short_name}"):
            for value in ("", " 1", " 10", " mtr", " ::", " :::", " :", " all"):
                try:
                    check(f"--cb_explore_adf --epsilon 0.2 {word}{value}")
                except BadPolicy:
                    continue
                allowed.add(name)
    words = {word for arguments in GOOD for word in arguments.split() if word[0] == "-"}
    names = {
        PARTS.get(word.strip("-"), word.strip("-")) for word in words if not word[1:].isdigit()
    }
    assert len(options) > 300 and {"final_regressor", "data", "invert_hash"} <= options.keys()
    assert allowed | {"epsilon", "cb_explore_adf"} == names, "each is tried above"


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ("-q ::", "The learning policy must contain --cb_explore_adf or --ccb_explore_adf."),
        ("--cb_explore_adf -f /tmp/model", "cannot have '-f'"),
        ("--cb_explore_adf --final_regressor=/tmp/model", "cannot have '--final_regressor=/tmp"),
        ("--cb_explore_adf -q --data", "--quadratic must be 2 to 2 first letters"),
        ("--cb_explore_adf --epsilon", "--epsilon must be a number from 0 to 1, not ''"),
        ("--cb_explore_adf --epsilon nan", "--epsilon must be a number from 0 to 1, not 'nan'"),
        ("--cb_explore_adf --epsilon 0.1 --epsilon 0.2", "has --epsilon more than once"),
        ("--cb_explore_adf -l 0.1 --learning_rate 1", "has --learning_rate more than once"),
        ("--cb_explore_adf -b 25", "whole number from 10 to 24, not '25'"),
        ("--cb_explore_adf --bag 1000", "--bag must be a whole number from 1 to 20"),
        ("--cb_explore_adf --bag 2 --cover 2", "cannot have --bag and --cover"),
        ("--cb_explore_adf --squarecb --cb_type dr", "cannot have --squarecb and --cb_type dr"),
        ("--cb_explore_adf --interactions ::::", "2 to 3 first letters of namespaces"),
        ("--cb_explore_adf" + " -q ::" * 33, "more than 32 interactions"),
        ("--cb_explore_adf " + "x" * 1024, "not be longer than 1024 characters"),
    ],
)
def test_what_is_not_says_why(arguments: str, sentence: str) -> None:
    with pytest.raises(BadPolicy) as raised:
        check(arguments)
    assert sentence in str(raised.value)


def test_exploration_takes_the_place_of_epsilon_alone() -> None:
    assert with_exploration(policies.DEFAULT.arguments, 0.05).split()[1:3] == ["--epsilon", "0.05"]
    assert with_exploration("--cb_explore_adf --squarecb", 0.05) == "--cb_explore_adf --squarecb"
    check(with_exploration(policies.ORIGINAL.arguments, 1 / 3e5))


def test_products_are_those_of_the_namespaces() -> None:
    told = context("morning")  # one feature each of F and j, two of i
    assert products("-q :: --first_only", told) == 1 + 3 * (4 + 8)
    assert products("-q ii -q F: --cubic :ij --bag 4 -q zi", told) == 50 * (1 + 3 * (4 + 4 + 4 + 8))
    told["FromUrl"].append({"zoo": {"a": 1, "b": 2}, "zebra": [1, 2, 3]})
    assert products("--interactions zi", told | {"_slots": [{}, {}]}) == 2 * (1 + 3 * (9 + 10))


def test_a_decision_is_bounded_by_what_its_policy_multiplies() -> None:
    def many(actions: int, features: int) -> bytes:
        one = {
            "_tag": "a",
            "i": {"constant": 1, "id": "a"},
            "j": [{f"f{n}": 1 for n in range(features)}],
        }
        return json.dumps(
            {"FromUrl": [], "_multi": [one] * actions}, separators=(",", ":")
        ).encode()

    assert is_bounded(policies.DEFAULT.arguments, many(10, 20))
    assert is_bounded(policies.DEFAULT.arguments, many(50, 1000))
    assert not is_bounded(policies.DEFAULT.arguments, many(50, 3000))
    assert not is_bounded("--cb_explore_adf --cubic :::", many(50, 1000))
    assert is_bounded("--cb_explore_adf --first_only", many(50, 4000))
