"""Which policy is in force, and how it gets there."""

import json

import pytest

from app.contracts.decisions import Evaluation
from app.contracts.learning.policies import DEFAULT
from tests.app.api.decisions.office import Office

PATH = "/configurations/policy"
APPLY = "/configurations/applyFromEvaluation"
CUBIC = "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q :: --cubic :::"


def test_until_somebody_sets_one_the_policy_is_the_default(office: Office) -> None:
    told = {"name": DEFAULT.name, "arguments": DEFAULT.arguments}
    assert office.ask("GET", PATH).json == told


def test_a_policy_comes_back_as_it_was_put_and_is_learned(office: Office) -> None:
    policy = {"name": "cubic", "arguments": CUBIC}
    answered = office.ask("PUT", PATH, policy)
    assert (answered.status_code, answered.json) == (200, policy)
    assert office.ask("GET", PATH).json == policy
    office.ask("PUT", PATH, policy)
    assert office.orders == ["retrain"], "the second changed nothing"


def test_a_reset_is_the_default_again(office: Office) -> None:
    office.ask("PUT", PATH, {"name": "cubic", "arguments": CUBIC})
    assert office.ask("DELETE", PATH).json["arguments"] == DEFAULT.arguments
    assert office.orders == ["retrain", "retrain"]


def test_policy_and_configuration_agree_on_how_much_is_explored(office: Office) -> None:
    service = "/configurations/service"
    office.ask("PUT", PATH, {"name": "wide", "arguments": CUBIC.replace("0.2", "0.5")})
    assert office.ask("GET", service).json["explorationPercentage"] == 0.5
    office.ask("PATCH", service, {"explorationPercentage": 0.05})
    assert office.ask("GET", PATH).json["arguments"] == CUBIC.replace("0.2", "0.05")
    assert office.orders == ["retrain"], "another exploration alone is not learned anew"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"arguments": "-q ::"}, "InvalidPolicyConfiguration"),
        ({"arguments": f"{CUBIC} -f /etc/motd"}, "InvalidPolicyConfiguration"),
        ({"arguments": "x" * 1025}, "InvalidPolicyContract"),
        ({"arguments": None}, "InvalidPolicyContract"),
        ({"arguments": ""}, "InvalidPolicyContract"),
        ({"name": "x" * 257}, "InvalidPolicyContract"),
        ({"name": "\ud800"}, "InvalidPolicyContract"),
        ({"name": 7}, "InvalidPolicyContract"),
    ],
)
def test_a_policy_that_is_not_allowed_changes_nothing(
    office: Office, change: dict[str, object], code: str
) -> None:
    assert office.refused("PUT", PATH, {"name": "mine", "arguments": CUBIC, **change})[0] == code
    assert not office.cache.exists(office.space.desk, office.space.orders)


def test_what_an_evaluation_tried_is_applied(office: Office) -> None:
    results = [
        {"name": "baseline1", "arguments": "", "source": "Baseline", "slot": "", "rows": []},
        {"name": "hyper1", "arguments": CUBIC, "source": "Custom", "slot": "", "rows": []},
    ]
    times = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")
    office.desk.evaluations.add(Evaluation("e1", "first", *times))
    office.cache.hset(office.space.results, "e1", json.dumps(results))
    assert (
        office.ask("POST", APPLY, {"evaluationId": "e1", "policyName": "hyper1"}).status_code == 204
    )
    assert office.ask("GET", PATH).json == {"name": "hyper1", "arguments": CUBIC}
    assert office.orders == ["retrain"]
    for id, policy, status, code in (
        ("e2", "hyper1", 404, "EvaluationNotFound"),
        ("e1", "hyper2", 404, "LearningSettingsNotFound"),
        ("e1", "baseline1", 400, "InvalidPolicyConfiguration"),
    ):
        response = office.ask("POST", APPLY, {"evaluationId": id, "policyName": policy})
        assert (response.status_code, response.json["error"]["code"]) == (status, code)
