"""Rank and reward, for a newcomer: ``make demo-decisions``.

The tutorial of the cloud service, played with the service's own SDK: ten thousand customers ask for
a coffee, policies are evaluated by what was logged, the best one is applied, and two thousand more
come in. Everything ends with this process.
"""

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

from app.contracts.decisions import Decisions
from app.contracts.policies import ORIGINAL
from batch.command.decisions.container import Told
from batch.command.decisions.up import running
from batch.command.demo import begin, stack_of
from batch.command.table import table
from batch.command.up import Stack, stay
from batch.datasets import coffee
from batch.datasets.coffee import Situation
from batch.errors import Transient
from batch.generations.connect import connect
from batch.generations.registry import Generations

EVENTS, MORE = 10_000, 2_000
PART = 1_000
"""So many decisions are a line of the curve."""
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
SHOWN = 6
WIDTH = 50


def main() -> int:
    """Run the demo; the exit code says whether all of it worked."""
    return begin("Rank and reward, by the SDK of the service that was switched off.", walk)


def walk(folder: Path, port: str, once: bool) -> None:
    """Serve, play, evaluate, apply and play on; stay until interrupted unless ``once``."""
    stack = stack_of(folder, port, "make demo-decisions PORT=8001", {})
    with running(stack, Told()) as stack:
        ask(stack.url, "PUT", "/configurations/service", CONFIGURATION)
        _play(stack, EVENTS, 1, "By the policy that Larder begins with")
        best = _evaluate(stack)
        if best != "online":
            _apply(stack, best)
        _play(stack, MORE, 2, f"By the policy {best}")
        print("\nFrom your own application: app/decisions/README.md")
        if not once:
            print(f"The service answers on {stack.url} until you press Ctrl-C: {stack.url}/swagger")
            stay(stack)


def _play(stack: Stack, events: int, seed: int, by: str) -> None:
    print(f"\n{by}, {events:,} customers get a coffee, and some want another one:")
    for line in curve(play(stack.url, coffee.meet, events, seed)):
        print(line)


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


def curve(rewards: Iterable[float]) -> Iterator[str]:
    """A line for each thousand decisions: how many, their mean reward, and a bar of it."""
    rest, seen = iter(rewards), 0
    while part := list(islice(rest, PART)):
        seen += len(part)
        yield f"  {seen:6,}  {mean(part):.3f}  {'#' * round(mean(part) * WIDTH)}"


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


def _evaluate(stack: Stack) -> str:
    """The name of the best policy, by what was logged."""
    now, hour = datetime.now(UTC), timedelta(hours=1)
    start, end = (each.isoformat().replace("+00:00", "Z") for each in (now - hour, now + hour))
    print("\nWhat would other policies have earned of these customers? An offline evaluation says:")
    asked = {"name": "coffee", "startTime": start, "endTime": end, "enablePolicyOptimization": True}
    policies = [{"name": ORIGINAL.name, "arguments": ORIGINAL.arguments}]
    ask(stack.url, "PUT", "/evaluations/coffee", {**asked, "policies": policies})
    during = f"&startTime={start}&endTime={end}"

    def found() -> Mapping[str, Any]:
        told: Mapping[str, Any] = ask(stack.url, "GET", "/evaluations/coffee", query=during)
        return told if told["status"] != "Running" else {}

    evaluation = _soon(found, "the evaluation did not end")
    if evaluation["status"] != "Succeeded":
        raise Transient(f"the evaluation ended as {evaluation['status']}")
    print(estimated(evaluation["content"]["value"]))
    return str(evaluation["optimalPolicy"])


def estimated(results: Sequence[Mapping[str, Any]]) -> str:
    """A table of the best policies, and of those that were not searched for."""
    by_reward = sorted(results, key=lambda each: -float(each["summary"]["expectedReward"]))
    shown = [
        each
        for place, each in enumerate(by_reward)
        if place < SHOWN or each["policySource"] != "OfflineExperimentation"
    ]
    rows = [
        [
            f"  {each['name']}",
            f"{each['summary']['expectedReward']:.3f}",
            "{:.3f} to {:.3f}".format(*each["summary"]["confidenceInterval"]),
        ]
        for each in shown
    ]
    return table(["  policy", "reward", "95 % sure"], rows)


def _apply(stack: Stack, policy: str) -> None:
    chosen = {"evaluationId": "coffee", "policyName": policy}
    print(f"\nIt is applied, and learns all that was logged: {json.dumps(chosen)}")
    ask(stack.url, "POST", "/configurations/applyFromEvaluation", chosen)
    told = ask(stack.url, "GET", "/configurations/policy")
    print(f"  {told['arguments']}")
    published = Generations(connect(stack.cache.url), Decisions(stack.cache.namespace.name))

    def applied() -> bool:
        return published.all()[-1].policy == str(told["name"])

    _soon(applied, "the policy was not applied")


def _soon(found: Any, problem: str) -> Any:
    """What a function returns, once that is something. Raises Transient."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (it := found()):
        if time.monotonic() > deadline:
            raise Transient(f"{problem} within {PATIENCE_SECONDS:.0f} seconds")
        time.sleep(0.2)
    return it


if __name__ == "__main__":
    sys.exit(main())
