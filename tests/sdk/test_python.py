"""Every operation of the official Python SDKs, unmodified."""

import asyncio
import datetime
import io
from typing import Any

import pytest
from azure.ai import personalizer
from azure.ai.personalizer import aio
from azure.cognitiveservices.personalizer import PersonalizerClient
from azure.cognitiveservices.personalizer.models import (
    ErrorResponseException,
    RankableAction,
    RankRequest,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from msrest.authentication import CognitiveServicesCredentials

from tests.sdk import sent
from tests.sdk.conftest import Service
from tests.sdk.sent import ACTIONS, ODD_EVENT, RANK
from tests.sdk.table import Table, Walk

pytestmark = [  # the SDKs' own
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
FIRST, LAST, LAST_ASYNC = "Python 1.0", "Python 2022", "Python 2022 async"


def test_the_first_sdk(service: Service, table: Table) -> None:
    client = PersonalizerClient(service.url, CognitiveServicesCredentials(service.key))
    asyncio.run(_three(client, Walk(table, FIRST)))
    assert (table.failed(FIRST), table.count(FIRST)) == ({}, 3)


async def _three(client: Any, walk: Walk) -> None:
    asked = RankRequest(
        actions=[RankableAction(**each) for each in ACTIONS],
        context_features=sent.CONTEXT,
        excluded_actions=RANK["excludedActions"],
        event_id=ODD_EVENT,
        defer_activation=True,
    )
    answer = await walk.once("rank", lambda it: _right(it.as_dict()), client.rank, asked)
    await walk.once("rank", lambda it: it.as_dict() == answer.as_dict(), client.rank, asked)
    await walk.once("activate", _nothing, client.events.activate, ODD_EVENT)
    await walk.once("reward", _nothing, client.events.reward, ODD_EVENT, 0.5)
    await walk.once("reward", _nothing, client.events.reward, "never decided", -1.0)


def test_the_last_sdk(service: Service, table: Table) -> None:
    key = AzureKeyCredential(service.key)
    with personalizer.PersonalizerClient(service.url, key) as client:
        with personalizer.PersonalizerAdministrationClient(service.url, key) as administrator:
            asyncio.run(_every(client, administrator, Walk(table, LAST)))
    assert (table.failed(LAST), table.count(LAST)) == ({}, 26)


def test_the_last_sdk_awaited(service: Service, table: Table) -> None:
    asyncio.run(_awaited(service, Walk(table, LAST_ASYNC)))
    assert (table.failed(LAST_ASYNC), table.count(LAST_ASYNC)) == ({}, 26)


async def _awaited(service: Service, walk: Walk) -> None:
    key = AzureKeyCredential(service.key)
    async with aio.PersonalizerClient(service.url, key) as client:
        async with aio.PersonalizerAdministrationClient(service.url, key) as administrator:
            await _every(client, administrator, walk)


def test_what_is_refused_is_understood(service: Service) -> None:
    """The code of an error is where each SDK looks for it."""
    first = PersonalizerClient(service.url, CognitiveServicesCredentials(service.key))
    many = RankRequest(actions=[RankableAction(id=f"{each}", features=[{}]) for each in range(51)])
    with pytest.raises(ErrorResponseException) as refused:
        first.rank(many)
    problem = refused.value.error.error  # type: ignore[union-attr]  # what the SDK has read
    assert problem.code == "InvalidRankRequest" and "between 1 and 50" in problem.message
    nobody = AzureKeyCredential("nobody's key, that is sure")
    with pytest.raises(ClientAuthenticationError):
        personalizer.PersonalizerAdministrationClient(service.url, nobody).get_policy()
    administrator = personalizer.PersonalizerAdministrationClient(
        service.url, AzureKeyCredential(service.key)
    )
    with pytest.raises(HttpResponseError, match="InvalidPolicyConfiguration"):
        administrator.update_policy({"name": "mine", "arguments": "--cb_explore_adf -f /tmp/x"})
    with pytest.raises(ResourceNotFoundError, match="FeatureImportanceNotFound"):
        administrator.get_feature_importance("none")


async def _every(client: Any, administrator: Any, walk: Walk) -> None:
    await _configuration(administrator, walk)
    await _decisions(client, walk)
    await _logs_and_model(administrator, walk)
    await _evaluations(administrator, walk)
    await _importances(administrator, walk)
    await _policy_and_slots(client, administrator, walk)
    await walk.once("reset_model", _nothing, administrator.reset_model)
    await walk.once("delete_logs", _nothing, administrator.delete_logs)


async def _configuration(administrator: Any, walk: Walk) -> None:
    wanted = sent.CONFIGURATION
    got = administrator.get_service_configuration
    put = administrator.update_service_configuration
    await walk.once("get_service_configuration", lambda it: it["logRetentionDays"] == 90, got)
    await walk.once("update_service_configuration", _as_wanted, put, wanted)
    await walk.once("get_service_configuration", _as_wanted, got)


async def _decisions(client: Any, walk: Walk) -> None:
    asked = {**RANK, "eventId": ODD_EVENT, "deferActivation": True}
    await walk.once("rank", _right, client.rank, asked)
    await walk.once("activate", _nothing, client.activate, ODD_EVENT)
    await walk.once("reward", _nothing, client.reward, ODD_EVENT, {"value": 0.5})
    for number in range(sent.TRAINING):
        event = {"actions": ACTIONS, "eventId": f"training {number}"}
        answer = await walk.once("rank", lambda it: "rewardActionId" in it, client.rank, event)
        value = {"value": float(answer["rewardActionId"] == "Sports")}
        await walk.once("reward", _nothing, client.reward, event["eventId"], value)


async def _logs_and_model(administrator: Any, walk: Walk) -> None:
    logs, model = administrator.get_log_properties, administrator.get_model_properties
    await walk.soon("get_log_properties", lambda it: "dateRange" in it, logs)
    await walk.soon("get_model_properties", lambda it: it["lastModifiedTime"] > "2000", model)
    parts = await walk.once("export_model", any, administrator.export_model)
    exported = io.BytesIO(b"".join(parts or ()))
    await walk.once("import_model", _nothing, administrator.import_model, exported)


async def _evaluations(administrator: Any, walk: Walk) -> None:
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    asked = {"name": "which is best", **sent.span(), "policies": [sent.POLICY]}

    def got() -> Any:
        return administrator.get_evaluation("first", start_time=now - day, end_time=now + day)

    await walk.once("create_evaluation", _nothing, administrator.create_evaluation, "first", asked)
    await walk.soon("get_evaluation", _evaluated, got)
    await walk.once("list_evaluations", _has_first, administrator.list_evaluations)
    applied = {"evaluationId": "first", "policyName": "mine"}
    await walk.once("apply_from_evaluation", _nothing, administrator.apply_from_evaluation, applied)
    await walk.once("delete_evaluation", _nothing, administrator.delete_evaluation, "first")


async def _importances(administrator: Any, walk: Walk) -> None:
    asked = {"name": "what counts", **sent.span()}
    created, got = administrator.create_feature_importance, administrator.get_feature_importance
    await walk.once("create_feature_importance", _nothing, created, "first", asked)
    await walk.soon("get_feature_importance", _scored, got, "first")
    await walk.once("list_feature_importances", _has_first, administrator.list_feature_importances)
    await walk.once(
        "delete_feature_importance", _nothing, administrator.delete_feature_importance, "first"
    )


async def _policy_and_slots(client: Any, administrator: Any, walk: Walk) -> None:
    mine, slots = sent.POLICY, sent.SLOT_POLICY
    put, reset = administrator.update_policy, administrator.reset_policy
    await walk.once("get_policy", lambda it: it["name"] == "mine", administrator.get_policy)
    await walk.once("update_policy", lambda it: it["name"] == "slots", put, slots)
    asked = {**sent.SLOTS, "eventId": "slots", "deferActivation": True}
    await walk.soon("rank_multi_slot", _both_slots, client.rank_multi_slot, asked)
    await walk.once("activate_multi_slot", _nothing, client.activate_multi_slot, "slots")
    rewards = sent.SLOT_REWARDS
    await walk.once("reward_multi_slot", _nothing, client.reward_multi_slot, "slots", rewards)
    await walk.once("reset_policy", lambda it: it["name"] not in (mine["name"], "slots"), reset)


def _as_wanted(answer: Any) -> bool:
    return bool(sent.CONFIGURATION.items() <= answer.items())


def _right(answer: dict[str, Any]) -> bool:
    """The excluded action stays where it was, and is never chosen."""
    ranking = {each["id"]: each["probability"] for each in answer["ranking"]}
    chosen = answer.get("rewardActionId") or answer["reward_action_id"]
    event = answer.get("eventId") or answer["event_id"]
    whole = sum(ranking.values()) == pytest.approx(1)
    places = list(ranking) == [each["id"] for each in ACTIONS]
    return bool(
        event == ODD_EVENT and places and whole and not ranking["Sports"] and ranking[chosen]
    )


def _nothing(answer: Any) -> bool:
    return answer is None


def _succeeded(answer: Any) -> bool:
    return bool(answer["status"] == "Succeeded")


def _evaluated(answer: Any) -> bool:
    wanted = {"online", "baseline1", "baselineRand", "mine"}
    return _succeeded(answer) and wanted == {each["name"] for each in answer["content"]["value"]}


def _scored(answer: Any) -> bool:
    return bool(_succeeded(answer) and answer["featureScores"])


def _has_first(answer: Any) -> bool:
    return [each["id"] for each in answer] == ["first"]


def _both_slots(answer: Any) -> bool:
    chosen = {each["id"]: each["rewardActionId"] for each in answer["slots"]}
    return chosen.keys() == {"Main", "Side Bar"} and len(set(chosen.values())) == 2
