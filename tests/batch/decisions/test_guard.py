"""A policy that is worse than none is not used for long."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.contracts.decisions import Decisions, Order, Policy, Slot
from app.contracts.recommendations import Namespace
from batch.decisions import logs
from batch.decisions.guard import FEWEST, Guard
from batch.decisions.terms import Joined
from batch.generations.registry import Generations
from tests.batch.decisions.rows import START, joined
from tests.decisions import ONE, TWO, publish_by_hand

GOOD = Policy("good", "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q ::")
NEW = Policy("new", "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q :: -l 0.001")
PREVIOUS = {"policy": {"name": GOOD.name, "arguments": GOOD.arguments}, "generation": ONE}


@pytest.fixture
def space(namespace: Namespace, client: Any) -> Decisions:
    made = Decisions(namespace.name)
    for generation, policy in ((ONE, GOOD), (TWO, NEW)):
        publish_by_hand(client, made, generation, policy=policy.name, arguments=policy.arguments)
    client.hset(made.desk, "policy", NEW.to_json())
    client.hset(made.desk, "previous", json.dumps(PREVIOUS | {"at": START}))
    return made


def decided(number: int, chosen: int, chance: float, reward: float) -> Joined:
    slot = Slot("", (chosen, 3 - chosen), (chance, 1 - chance))
    return joined(number, slots=(slot,), rewards=(reward,))


def bad(count: int = 600) -> Iterator[Joined]:
    """The second action is chosen most, the first is worth more."""
    for number in range(count):
        chosen = 2 if number % 5 else 1
        yield decided(number, chosen, 0.8 if chosen == 2 else 0.2, float(chosen == 1))


def guard(client: Any, space: Decisions, folder: Path, seconds: float = 3600.0) -> Guard:
    return Guard(client, space, folder, clock=lambda: START / 1000 + seconds)


def live(client: Any, space: Decisions) -> str | None:
    return Generations(client, space).live()


def test_it_goes_back_to_the_policy_before_and_says_so(
    client: Any, space: Decisions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logs.append(tmp_path, [*bad()], [])
    watching = guard(client, space, tmp_path)
    assert watching.check()
    assert live(client, space) == ONE
    assert Policy.from_json(client.hget(space.desk, "policy")) == GOOD
    said = json.loads(client.hget(space.desk, "guard"))
    assert said["generation"] == ONE and said["at"] == "2025-11-21T01:00:00.000+00:00"
    assert "policy 'new' earned 0.2000 of 600 decisions" in said["why"] in caplog.text
    assert not watching.check() and live(client, space) == ONE


@pytest.mark.parametrize(
    "rows",
    [
        [*bad(FEWEST - 1)],
        [decided(each, 1 + each % 2, 0.5, 0.5) for each in range(600)],
        # The first action is shown where it is right, and hardly ever elsewhere: what was seen of
        # it is all good, and says nothing of what it would earn.
        [decided(each, 1 if each % 3 == 0 else 2, 0.99, 1.0) for each in range(600)],
        [each._replace(counts=False) for each in bad()],
    ],
    ids=["too few", "as good", "hardly tried", "they do not count"],
)
def test_it_stays_where_nothing_says_that_it_is_worse(
    client: Any, space: Decisions, tmp_path: Path, rows: list[Joined]
) -> None:
    logs.append(tmp_path, rows, [])
    assert not guard(client, space, tmp_path).check()
    assert live(client, space) == TWO
    assert Policy.from_json(client.hget(space.desk, "policy")) == NEW


def test_what_was_decided_before_the_change_says_nothing(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    logs.append(tmp_path, [*bad()], [])
    client.hset(space.desk, "previous", json.dumps(PREVIOUS | {"at": START + 500_000}))
    assert not guard(client, space, tmp_path).check()


def test_a_look_is_twice_as_late_as_the_one_before(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    fine = [decided(each, 1, 0.5, 1.0) for each in range(600)]
    logs.append(tmp_path, fine, [])
    now = START / 1000 + 1000.0
    watching = Guard(client, space, tmp_path, clock=lambda: now)
    assert not watching.check()
    worse = [each._replace(position=f"{START + 900_000 + at}-0") for at, each in enumerate(bad())]
    logs.append(tmp_path, [each._replace(time=START + 900_000) for each in worse], [])
    now += 999.0
    assert not watching.check()
    now += 1.0
    assert watching.check()


def test_a_policy_that_an_operator_has_set_since_stays(
    client: Any, space: Decisions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.append(tmp_path, [*bad()], [])
    newer = Policy("newer", NEW.arguments).to_json()

    def now() -> float:
        client.hset(space.desk, "policy", newer)  # between its look and its word
        return START / 1000 + 3600

    assert not Guard(client, space, tmp_path, clock=now).check()
    assert live(client, space) == TWO
    assert client.hget(space.desk, "policy") == newer.encode()


def test_one_that_died_between_word_and_deed_is_finished(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    said = {"at": "2025-11-21T01:00:00+00:00", "why": "", "generation": ONE}
    client.hset(space.desk, "guard", json.dumps(said))
    assert guard(client, space, tmp_path).check()
    assert live(client, space) == ONE


def test_a_generation_that_is_gone_is_learned_anew(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    logs.append(tmp_path, [*bad()], [])
    gone = Generations(client, space).find(ONE)
    assert gone is not None and Generations(client, space).delete(gone)
    assert guard(client, space, tmp_path).check()
    assert Policy.from_json(client.hget(space.desk, "policy")) == GOOD
    assert Order.from_json(client.lindex(space.orders, 0)).do == "retrain"


def test_nothing_is_watched_where_nothing_was_changed(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    logs.append(tmp_path, [*bad()], [])
    client.hdel(space.desk, "previous")
    assert not guard(client, space, tmp_path).check()
