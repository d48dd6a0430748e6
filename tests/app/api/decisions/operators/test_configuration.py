"""How operators say how decisions are made and learned: what is taken, refused and answered."""

import json
import threading
from typing import Any

import pytest

from app.api.decisions import VERSIONS
from app.contracts.decisions import Configuration
from tests.app.api.decisions.office import Office, at_desk, linked
from tests.servers import Server

PATH = "/configurations/service"
WHOLE: dict[str, Any] = {
    "rewardWaitTime": "PT4H",
    "defaultReward": 1.0,
    "rewardAggregation": "average",
    "explorationPercentage": 0.3,
    "modelExportFrequency": "PT3M",
    "logRetentionDays": -1,
    "isAutoOptimizationEnabled": True,
    "autoOptimizationFrequency": "P27D",
    "autoOptimizationStartDate": "2022-09-01T21:02:42Z",
    "modelRetrainDays": 2,
    "isInferenceExplainabilityEnabled": False,
}


def test_a_configuration_comes_back_as_it_was_put(office: Office) -> None:
    answered = office.ask("PUT", PATH, WHOLE)
    assert answered.status_code == 200
    found = office.ask("GET", PATH).json
    assert found == answered.json
    assert {name: found[name] for name in WHOLE} == WHOLE
    assert found["learningMode"] == "Online" and found["logMirrorEnabled"] is False
    assert found["lastConfigurationEditDate"].endswith("Z")
    assert "latestApprenticeModeMetrics" not in found


@pytest.mark.parametrize(
    ("given", "told", "ms"),
    [
        ("00:00:15", "PT15S", 15_000),
        ("1.02:03:04.5", "P1DT2H3M4.5S", 93_784_500),
        ("PT600S", "PT10M", 600_000),
        ("P1D", "P1D", 86_400_000),
    ],
)
def test_durations_are_those_of_iso_8601_and_of_net(
    office: Office, given: str, told: str, ms: int
) -> None:
    answered = office.ask("PATCH", PATH, {"rewardWaitTime": given}).json
    assert answered["rewardWaitTime"] == told
    assert office.desk.look().configuration.wait_ms == ms


@pytest.mark.parametrize(
    ("member", "value", "code", "allowed"),
    [
        ("rewardWaitTime", "PT4S", "InvalidRewardWaitTime", "a duration from PT5S to P2D"),
        ("rewardWaitTime", "P2DT1S", "InvalidRewardWaitTime", "a duration from PT5S to P2D"),
        ("rewardWaitTime", "P", "InvalidRewardWaitTime", "a duration"),
        ("rewardWaitTime", "PT", "InvalidRewardWaitTime", "a duration"),
        ("rewardWaitTime", 600, "InvalidRewardWaitTime", "a duration"),
        ("rewardWaitTime", f"PT{'9' * 30}H", "InvalidRewardWaitTime", "a duration"),
        ("defaultReward", 1.1, "InvalidServiceConfiguration", "a number from -1 to 1"),
        ("defaultReward", True, "InvalidServiceConfiguration", "a number from -1 to 1"),
        ("rewardAggregation", "mode", "InvalidServiceConfiguration", "one of earliest, average"),
        ("explorationPercentage", -0.1, "InvalidServiceConfiguration", "a number from 0 to 1"),
        ("explorationPercentage", "all", "InvalidServiceConfiguration", "a number from 0 to 1"),
        ("modelExportFrequency", "PT0S", "InvalidServiceConfiguration", "from PT1S to P1D"),
        ("logRetentionDays", -2, "InvalidLogRetentionDays", "a whole number from -1 to 36500"),
        ("logRetentionDays", 1, "InvalidLogRetentionDays", "must be -1, for ever"),
        ("learningMode", "Asleep", "InvalidServiceConfiguration", "one of Online, Apprentice"),
        ("autoOptimizationFrequency", "PT36H", "InvalidServiceConfiguration", "whole days"),
        ("autoOptimizationStartDate", "soon", "InvalidServiceConfiguration", "a time of ISO 8601"),
        ("modelRetrainDays", 1.5, "InvalidServiceConfiguration", "a whole number from 0 to 365"),
        ("isAutoOptimizationEnabled", "no", "InvalidServiceConfiguration", "true or false"),
        ("logMirrorEnabled", True, "InvalidServiceConfiguration", "larder decisions logs export"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name_with_what_is_allowed(
    office: Office, member: str, value: object, code: str, allowed: str
) -> None:
    response = office.ask("PUT", PATH, {**WHOLE, member: value})
    error = response.json["error"]
    assert (response.status_code, error["code"], error["target"]) == (400, code, member)
    assert member in error["message"] and allowed in error["message"]
    assert not office.cache.exists(office.space.desk, office.space.orders)


def test_nan_is_no_reward(office: Office) -> None:
    body = json.dumps({**WHOLE, "defaultReward": float("nan")}).encode()
    assert "defaultReward" in office.refused("PUT", PATH, body)[1]


def test_an_object_in_place_of_a_value_is_refused_however_deep(office: Office) -> None:
    for depth in range(100, 1100, 100):
        body = b'{"rewardWaitTime":' + b"[" * depth + b"]" * depth + b"}"
        assert office.refused("PATCH", PATH, body)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'"text"'])
def test_a_body_that_is_no_object_is_refused(office: Office, body: bytes) -> None:
    assert office.refused("PUT", PATH, body)[0] == "InvalidServiceConfiguration"


def test_an_older_client_changes_only_what_it_knows(office: Office) -> None:
    office.ask("PATCH", PATH, {"learningMode": "apprentice", "modelRetrainDays": 7})
    office.version = VERSIONS[0]
    old = {name: WHOLE[name] for name in list(WHOLE)[:6]}
    answered = office.ask("PUT", PATH, {**old, "logMirrorEnabled": None})
    assert answered.status_code == 200
    assert answered.json["learningMode"] == "Apprentice"
    assert answered.json["modelRetrainDays"] == 7


@pytest.mark.parametrize("version", ["v1.0", "v1.1-preview.3", "2022-09-01-preview"])
def test_what_a_version_requires_must_be_there(office: Office, version: str) -> None:
    office.version = version
    for member in list(WHOLE)[:6]:
        part = {name: value for name, value in WHOLE.items() if name != member}
        assert office.refused("PUT", PATH, part)[1] == f"{member} is required."
    without = {name: value for name, value in WHOLE.items() if name != "modelRetrainDays"}
    status = 400 if version == "2022-09-01-preview" else 200
    assert office.ask("PUT", PATH, without).status_code == status


def test_all_that_is_missing_is_told_at_once(office: Office) -> None:
    _, found = office.refused("PUT", PATH, {"rewardWaitTime": "PT5S", "logRetentionDays": 9})
    assert found.startswith("defaultReward, rewardAggregation, explorationPercentage, ")
    assert found.endswith(" are required.")


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("explorationPercentag", "did you mean explorationPercentage?"),
        ("LearningMode", "did you mean learningMode?"),
        ("\ud800", "there are rewardWaitTime, defaultReward"),
    ],
)
def test_a_member_that_nobody_knows_is_refused(office: Office, member: str, said: str) -> None:
    code, message = office.refused("PATCH", PATH, {member: 0.2, "defaultReward": 1})
    assert code == "InvalidServiceConfiguration" and said in message
    assert not office.cache.exists(office.space.desk)


def test_what_was_answered_may_be_sent_back(office: Office) -> None:
    test_how_the_model_imitates_is_told(office)
    found = office.ask("PUT", PATH, WHOLE).json
    assert office.ask("PUT", PATH, {**found, "logMirrorSasUri": ""}).status_code == 200


def test_another_reward_is_learned_anew_and_nothing_else_is(office: Office) -> None:
    office.ask("PUT", PATH, WHOLE)
    assert office.orders == ["retrain"]
    others = {"explorationPercentage": 0.5, "modelExportFrequency": "PT1M", "modelRetrainDays": 3}
    office.ask("PUT", PATH, {**WHOLE, **others, "learningMode": "LoggingOnly"})
    assert office.orders == ["retrain"]
    office.ask("PATCH", PATH, {"defaultReward": 0})
    assert office.orders == ["retrain", "retrain"]


def test_mode_and_reward_do_not_change_together(office: Office) -> None:
    change = {"learningMode": "Apprentice", "rewardWaitTime": "PT1M"}
    code, _ = office.refused("PATCH", PATH, change)
    assert code == "InvalidLearningModeServiceConfiguration"
    assert office.desk.look().configuration == Configuration()
    assert office.ask("PATCH", PATH, {"learningMode": "Apprentice"}).status_code == 200


def test_how_the_model_imitates_is_told(office: Office) -> None:
    counts = {"events": 9, "imitated": 6, "rewards": 3.5, "imitated_rewards": 2.5}
    record = {"start": "2026-01-01T00:00:00Z", "last": "2026-01-02T00:00:00Z", **counts}
    text = json.dumps({**record, "batch": counts})
    office.cache.hset(office.space.desk, "apprentice", text)
    told = {
        "numberOfEvents": 9,
        "numberOfImitatedEvents": 6,
        "sumOfRewards": 3.5,
        "sumOfImitatedRewards": 2.5,
    }
    assert office.ask("GET", PATH).json["latestApprenticeModeMetrics"] == {
        "startTime": record["start"],
        "lastProcessedEventTime": record["last"],
        **told,
        "lastBatchMetrics": told,
    }


def test_what_another_release_wrote_stays(office: Office) -> None:
    text = json.dumps({"wait_ms": 7000, "of_tomorrow": [1], "mode": "Apprentice"})
    office.cache.hset(office.space.desk, "configuration", text)
    office.ask("PATCH", PATH, {"explorationPercentage": 0.1})
    found = json.loads(office.cache.hget(office.space.desk, "configuration"))
    assert found["of_tomorrow"] == [1] and found["wait_ms"] == 7000
    assert (found["exploration"], found["mode"]) == (0.1, "Apprentice")


def test_of_several_at_once_the_last_wins_whole(office: Office) -> None:
    shares = [n / 100 for n in range(8)]
    bodies = [{**WHOLE, "defaultReward": n, "explorationPercentage": n} for n in shares]
    threads = [threading.Thread(target=office.ask, args=("PUT", PATH, each)) for each in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = office.desk.look().configuration
    assert found.exploration == found.default_reward
    assert len(office.orders) == len(bodies)


def test_while_the_cache_is_away_nothing_is_changed(own_server: Server) -> None:
    with linked(own_server) as link:
        office = at_desk(link, "shop")
        own_server.kill()
        for method, body in (("GET", None), ("PUT", WHOLE)):
            response = office.ask(method, PATH, body)
            assert response.status_code == 503
            assert response.json["error"]["code"] == "OperationNotAllowed"
