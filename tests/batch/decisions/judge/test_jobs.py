"""What stands queued in the cache is answered, one at a time, and nothing runs for ever."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.contracts.decisions import Configuration, Decisions, Evaluation, Importance, Order, Policy
from app.contracts.recommendations import Namespace
from batch.decisions import logs
from batch.decisions.judge import jobs, optimise
from batch.decisions.judge.jobs import Jobs, answer
from batch.errors import BadSettings
from tests.batch.decisions.judge.test_evaluate import served
from tests.batch.decisions.rows import joined
from tests.servers import Server, wait_until

NOW = datetime(2025, 11, 22, tzinfo=UTC)
ASKED = Evaluation("e1", 'the "first"', "2025-11-21", "2025-11-22", "2025-11-22T00:00:00Z")
PLAIN = Policy("plain", "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q ::")


@pytest.fixture
def space(namespace: Namespace) -> Decisions:
    return Decisions(namespace.name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs")
    logs.append(path, served(1200), [])
    return path


@pytest.fixture
def running(
    client: Any, space: Decisions, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Jobs]:
    monkeypatch.setattr(jobs, "EVERY_SECONDS", 0.0)
    made = Jobs(client, space, server.url, folder)
    yield made
    made.close()


def ask(client: Any, space: Decisions, *asked: Evaluation | Importance) -> None:
    for each in asked:
        importance = isinstance(each, Importance)
        key = space.importances if importance else space.evaluations
        client.hset(key, each.id, each.to_json())


def evaluation(client: Any, space: Decisions, id: str = "e1") -> Evaluation:
    return Evaluation.from_json(client.hget(space.evaluations, id))


def test_the_trainer_has_them_answered_by_a_process(
    client: Any, space: Decisions, running: Jobs
) -> None:
    client.hset(space.desk, "configuration", Configuration(optimises=False).to_json())
    second = Importance("e1", "what says most", "2025-11-21", "2025-11-22", "2025-11-23T00:00:00Z")
    ask(client, space, ASKED, second)
    running.poll()
    assert evaluation(client, space).status == "running"
    assert Importance.from_json(client.hget(space.importances, "e1")).status == "queued"

    def answered() -> bool:
        running.poll()
        status = Importance.from_json(client.hget(space.importances, "e1")).status
        return status in ("succeeded", "failed")

    wait_until(answered)
    assert Importance.from_json(client.hget(space.importances, "e1")).status == "succeeded"
    found = evaluation(client, space)
    assert (found.status, found.problem, found.optimal) == ("succeeded", "", "online")
    assert not found.results, "these would be read by every list"
    told = json.loads(client.hget(space.results, "e1"))
    assert [each["name"] for each in told] == ["online", "baseline1", "baselineRand"]


def test_one_whose_process_is_killed_has_failed(
    client: Any, space: Decisions, running: Jobs
) -> None:
    ask(client, space, replace(ASKED, search=True))
    running.poll()
    assert running._child is not None
    os.kill(running._child.pid, signal.SIGKILL)
    running._child.wait()
    running.poll()
    found = evaluation(client, space)
    assert found.status == "failed" and "its process ended by itself (-9)" in found.problem


def test_one_that_a_dead_trainer_left_has_failed(
    client: Any, space: Decisions, running: Jobs
) -> None:
    others = replace(ASKED, id="e2", status="succeeded", optimal="online")
    ask(client, space, replace(ASKED, status="running"), others)
    running.poll()
    found = evaluation(client, space)
    assert (found.status, found.problem) == (
        "failed",
        "the trainer ended before this was done: ask again",
    )
    assert evaluation(client, space, "e2").status == "succeeded"


def test_one_that_is_deleted_stays_deleted(client: Any, space: Decisions, running: Jobs) -> None:
    ask(client, space, replace(ASKED, search=True))
    running.poll()
    child = running._child
    client.hdel(space.evaluations, "e1")
    running.poll()
    assert child is not None and child.returncode is not None
    assert not client.exists(space.evaluations)


def test_a_trainer_that_is_stopped_leaves_it_to_the_next(
    client: Any, space: Decisions, running: Jobs
) -> None:
    ask(client, space, replace(ASKED, search=True))
    running.poll()
    running.close()
    assert evaluation(client, space).status == "queued"


def test_one_that_takes_too_long_has_failed(
    client: Any, space: Decisions, running: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LONGEST_SECONDS", 0.0)
    ask(client, space, replace(ASKED, search=True))
    running.poll()
    running.poll()
    found = evaluation(client, space)
    assert found.status == "failed" and "ask for less time" in found.problem


def test_what_cannot_be_answered_says_why(client: Any, space: Decisions, folder: Path) -> None:
    ask(client, space, replace(ASKED, start="2026-01-01", end="2026-01-02"))
    answer(client, space, folder, space.evaluations, "e1")
    found = evaluation(client, space)
    assert found.status == "failed" and "the logs hold no decision that counts" in found.problem
    with pytest.raises(BadSettings, match="nothing of id 'e7' is asked for"):
        answer(client, space, folder, space.importances, "e7")


def test_an_id_that_no_process_takes_ends_nothing(
    client: Any, space: Decisions, running: Jobs
) -> None:
    ask(client, space, replace(ASKED, id="\0"))
    running.poll()
    found = evaluation(client, space, "\0")
    assert found.status == "failed" and "embedded null byte" in found.problem


AUTOMATIC = replace(ASKED, search=True, automatic=True)


def test_what_is_better_for_sure_is_applied(client: Any, space: Decisions, folder: Path) -> None:
    client.hset(space.desk, "policy", PLAIN.to_json())
    ask(client, space, AUTOMATIC)
    answer(client, space, folder, space.evaluations, "e1")
    found, policy = evaluation(client, space), Policy.from_json(client.hget(space.desk, "policy"))
    assert found.status == "applied" and found.optimal.startswith("hyper")
    assert policy.name == f"{found.optimal} of {AUTOMATIC.name}"
    # What an operator has said of exploration goes on.
    assert policy.arguments.startswith("--cb_explore_adf --epsilon 0.2 ")
    (order,) = map(Order.from_json, client.lrange(space.orders, 0, -1))
    asked = datetime.fromisoformat(AUTOMATIC.end) - datetime.fromisoformat(AUTOMATIC.start)
    assert (order.do, order.days) == ("retrain", asked.days)


def test_what_is_not_better_changes_nothing(client: Any, space: Decisions, tmp_path: Path) -> None:
    logs.append(tmp_path, [joined(number, rewards=(1.0,)) for number in range(300)], [])
    ask(client, space, AUTOMATIC)
    answer(client, space, tmp_path, space.evaluations, "e1")
    assert evaluation(client, space).status == "retained"
    assert not client.exists(space.desk, space.orders)


def test_a_policy_that_an_operator_set_meanwhile_stays(client: Any, space: Decisions) -> None:
    client.hset(space.desk, "policy", PLAIN.to_json())
    results = [{"name": "hyper1", "arguments": "--cb_explore_adf", "slot": "", "rows": []}]
    found = replace(AUTOMATIC, status="succeeded", optimal="hyper1", results=results)
    ask(client, space, found)
    assert not optimise.settle(client, space, found, before=b"another")
    assert evaluation(client, space).status == "retained"
    assert client.hget(space.desk, "policy") == PLAIN.to_json().encode()


def test_better_policies_are_looked_for_every_so_many_days(client: Any, space: Decisions) -> None:
    def begun(days: float) -> int:
        optimise.begin(client, space, NOW + timedelta(days=days))
        return int(client.hlen(space.evaluations))

    assert [begun(days) for days in (0, 27.9, 28, 28.1, 55.9, 56)] == [0, 0, 1, 1, 1, 2]
    first = min(map(Evaluation.from_json, client.hvals(space.evaluations)), key=lambda e: e.created)
    assert (first.automatic, first.search, first.status) == (True, True, "queued")
    assert (first.start, first.end) == ("2025-11-22T00:00:00+00:00", "2025-12-20T00:00:00+00:00")


@pytest.mark.parametrize(
    ("wanted", "begun"),
    [
        (Configuration(optimises=False), 0),
        (Configuration(mode="Apprentice"), 0),
        (Configuration(optimise_from="2025-11-21T00:00:00Z"), 1),
        (Configuration(optimise_from="2025-11-23T00:00:00"), 0),
    ],
)
def test_when_they_are_looked_for_is_for_operators_to_say(
    client: Any, space: Decisions, wanted: Configuration, begun: int
) -> None:
    client.hset(space.desk, "configuration", wanted.to_json())
    for _ in range(2):
        optimise.begin(client, space, NOW)
    assert client.hlen(space.evaluations) == begun
    assert begun == 0 or json.loads(client.hget(space.desk, optimise.BEGUN))
