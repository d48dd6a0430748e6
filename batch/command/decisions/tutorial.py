"""The tutorial of the cloud service: somebody comes in, and what coffee do they get?

It is played over HTTP, with the service's own SDK, against whatever URL speaks its API. What is
asked of the cache is only whether the trainer has done what it was told.
"""

import contextlib
import json
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import quote

import click

from app.contracts.decisions import Decisions
from app.contracts.learning.policies import ORIGINAL
from batch.command.options import CacheOptions, cache_options
from batch.command.stack.up import get
from batch.command.stack.waiting import soon
from batch.datasets.coffee import Situation
from batch.decisions.desk import Desk
from batch.errors import Transient
from batch.generations.connect import connect
from batch.generations.registry import Generations

CALLERS = 4
CONFIGURATION = {
    "rewardWaitTime": "PT5S",
    "defaultReward": 0.0,
    "rewardAggregation": "earliest",
    "explorationPercentage": 0.2,
    "modelExportFrequency": "PT1S",
    "logRetentionDays": -1,
    "modelRetrainDays": 2,
}
PATIENCE_SECONDS = 120.0


def play(
    url: str, meet: Callable[[Random], Situation], events: int, seed: int, key: str = "any"
) -> Iterator[float]:
    """Rank and reward with the service's own SDK; yields the reward of each decision."""
    from azure.cognitiveservices.personalizer import PersonalizerClient
    from azure.cognitiveservices.personalizer.models import RankableAction, RankRequest
    from msrest.authentication import CognitiveServicesCredentials

    client = PersonalizerClient(url, CognitiveServicesCredentials(key))

    def one(situation: Situation) -> float:
        actions = [RankableAction(**action) for action in situation.actions]
        asked = RankRequest(actions=actions, context_features=situation.context)
        answer = client.rank(asked)
        reward = situation.rewards[answer.reward_action_id]
        client.events.reward(answer.event_id, reward)
        return reward

    random = Random(seed)
    with ThreadPoolExecutor(CALLERS) as callers:
        yield from callers.map(one, [meet(random) for _ in range(events)])


def ask(
    url: str, method: str, path: str, body: object = None, query: str = "", key: str = "any"
) -> Any:
    """What operators ask, in the last version of the service's API; the JSON of the answer."""
    request = urllib.request.Request(
        f"{url.rstrip('/')}/personalizer{path}?api-version=2022-09-01-preview{query}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json", "Ocp-Apim-Subscription-Key": key},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def begin_anew(url: str) -> None:
    """Put the tutorial's configuration in force, and have all forgotten that was learned before.

    So are logs and evaluations. Returns when that is done, by the cache and the namespace that
    ``larder`` would take. Raises Transient.
    """
    ask(url, "PUT", "/configurations/service", CONFIGURATION)
    for evaluation in ask(url, "GET", "/evaluations")["value"]:
        ask(url, "DELETE", f"/evaluations/{quote(evaluation['id'], safe='')}")
    for path in ("/configurations/policy", "/logs", "/model"):
        ask(url, "DELETE", path)
    wait_until_obeyed(url, cache_in_force())


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What policies would have earned, the best first.

    best: the name of the one to use, which is "online" for the one in use; policies: of each its
    name, expected reward, the ends of the 95 % interval of that, source and arguments.
    """

    best: str
    policies: Sequence[Mapping[str, Any]]


def evaluate(url: str) -> Evaluated:
    """Ask for an evaluation of the last hour with a search, and wait for it. Raises Transient."""
    now, hour = datetime.now(UTC), timedelta(hours=1)
    start, end = (each.isoformat().replace("+00:00", "Z") for each in (now - hour, now + hour))
    asked = {"name": "coffee", "startTime": start, "endTime": end, "enablePolicyOptimization": True}
    policies = [{"name": ORIGINAL.name, "arguments": ORIGINAL.arguments}]
    ask(url, "PUT", "/evaluations/coffee", {**asked, "policies": policies})
    during = f"&startTime={start}&endTime={end}"

    def found() -> Mapping[str, Any]:
        told: Mapping[str, Any] = ask(url, "GET", "/evaluations/coffee", query=during)
        return told if told["status"] != "Running" else {}

    evaluation = _soon(found, "the evaluation did not end")
    if evaluation["status"] != "Succeeded":
        raise Transient(f"the evaluation ended as {evaluation['status']}")
    return Evaluated(evaluation["optimalPolicy"], ranked(evaluation["content"]["value"]))


def ranked(results: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Results of an evaluation as rows, the best first."""
    rows: list[Mapping[str, Any]] = []
    for each in results:
        reward = each["summary"]["expectedReward"]
        low, high = each["summary"]["confidenceInterval"]
        figures = {"policy": each["name"], "reward": reward, "low": low, "high": high}
        more = {"source": each["policySource"], "arguments": each.get("arguments", "")}
        rows.append({**figures, **more})
    return sorted(rows, key=lambda row: -float(row["reward"]))


def apply(url: str, policy: str, cache: CacheOptions | None = None) -> str:
    """Put a policy of the evaluation in force, and wait until it has learned the logs.

    cache: None for what ``larder`` would take. Returns the arguments of the policy that is in force
    then. Raises Transient.
    """
    if policy != "online":
        chosen = {"evaluationId": "coffee", "policyName": policy}
        ask(url, "POST", "/configurations/applyFromEvaluation", chosen)
        wait_until_obeyed(url, cache or cache_in_force())
    return str(ask(url, "GET", "/configurations/policy")["arguments"])


def cache_in_force() -> CacheOptions:
    """The cache and the namespace of every command that is given neither."""
    command = click.command(cache_options(lambda cache: cache))
    found: CacheOptions = command.main([], standalone_mode=False)
    return found


def wait_until_obeyed(url: str, cache: CacheOptions) -> None:
    """Wait until the trainer has done all that was ordered, and the API decides by what came of it.

    Raises Transient.
    """
    client, space = connect(cache.url), Decisions(cache.namespace.name)
    desk, published = Desk(client, space), Generations(client, space)
    _soon(lambda: desk.order() is None, "the trainer did not do what was ordered")
    made = published.live() or ""

    def taken() -> bool:
        with contextlib.suppress(OSError):  # it is busy, or not ready
            return (get(f"{url}/health/ready")["generation"] or "") >= made
        return False

    _soon(taken, "the API did not take the model")


def _soon(found: Callable[[], Any], problem: str) -> Any:
    return soon(found, PATIENCE_SECONDS, f"{problem} within {PATIENCE_SECONDS:.0f} seconds")
