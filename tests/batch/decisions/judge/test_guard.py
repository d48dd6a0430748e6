"""A policy that is worse than none, and than the one before, is not used for long."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.contracts.decisions import Configuration, Decisions, Order, Policy, Slot
from app.contracts.learning.policies import with_exploration
from app.contracts.recommendations import Namespace
from batch.decisions import logs
from batch.decisions.judge.guard import FEWEST, Guard, compared, replaced, resumed
from batch.decisions.terms import Joined
from batch.generations.registry import Generations
from tests.batch.decisions.rows import START, joined
from tests.decisions import ONE, SLOTS, TWO, publish_by_hand

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


def write(folder: Path, rows: list[Joined], earned: float = 0.9) -> None:
    """What the new policy decided, behind as many decisions of the one before."""
    every = round(1 / (1 - earned)) if earned < 1 else 10**6
    before = [joined(each, at=START - 700_000) for each in range(600)]
    before = [each._replace(rewards=(float(at % every > 0),)) for at, each in enumerate(before)]
    logs.append(folder, before, [])
    logs.append(folder, rows, [])


def guard(client: Any, space: Decisions, folder: Path, seconds: float = 3600.0) -> Guard:
    return Guard(client, space, folder, clock=lambda: START / 1000 + seconds)


def live(client: Any, space: Decisions) -> str | None:
    return Generations(client, space).live()


def test_it_goes_back_to_the_policy_before_and_says_so(
    client: Any, space: Decisions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, [*bad()])
    watching = guard(client, space, tmp_path)
    assert watching.check()
    assert live(client, space) == ONE
    assert Policy.from_json(client.hget(space.desk, "policy")) == GOOD
    said = json.loads(client.hget(space.desk, "guard"))
    assert said["generation"] == ONE and said["at"] == "2025-11-21T01:00:00.000+00:00"
    assert "policy 'new' earned 0.2000 of 600 decisions" in said["why"] in caplog.text
    assert "the policy before earned 0.9000 of 600; policy 'good'" in said["why"]
    changed = Configuration.from_json(client.hget(space.desk, "configuration"))
    assert changed == Configuration(edited_at="2025-11-21T01:00:00.000Z")
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
    write(tmp_path, rows)
    assert not guard(client, space, tmp_path).check()
    assert live(client, space) == TWO
    assert Policy.from_json(client.hget(space.desk, "policy")) == NEW


def test_what_was_decided_before_the_change_says_nothing(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    write(tmp_path, [*bad()])
    client.hset(space.desk, "previous", json.dumps(PREVIOUS | {"at": START + 500_000}))
    assert not guard(client, space, tmp_path).check()


def test_a_look_is_twice_as_late_as_the_one_before(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    fine = [decided(each, 1, 0.5, 1.0) for each in range(600)]
    write(tmp_path, fine)
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
    write(tmp_path, [*bad()])
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
    assert not guard(client, space, tmp_path).check()  # somebody has set another one since
    client.hset(space.desk, "policy", GOOD.to_json())
    assert guard(client, space, tmp_path).check()
    assert live(client, space) == ONE


def test_a_generation_that_is_gone_is_learned_anew(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    write(tmp_path, [*bad()])
    gone = Generations(client, space).find(ONE)
    assert gone is not None and Generations(client, space).delete(gone)
    assert guard(client, space, tmp_path).check()
    assert Policy.from_json(client.hget(space.desk, "policy")) == GOOD
    assert Order.from_json(client.lindex(space.orders, 0)).do == "retrain"


def test_nothing_is_watched_where_nothing_was_changed(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    write(tmp_path, [*bad()])
    client.hdel(space.desk, "previous")
    assert not guard(client, space, tmp_path).check()


def exploring(count: int, share: float, seed: int) -> Iterator[Joined]:
    """The first action is right nearly always, and a share of decisions is spread over both."""
    random = Random(seed)
    for number in range(count):
        chosen = 2 if random.random() < share / 2 else 1
        chance = share / 2 if chosen == 2 else 1 - share / 2
        yield decided(number, chosen, chance, float((chosen == 1) == (random.random() < 0.99)))


@pytest.mark.parametrize(("share", "goes"), [(0.2, False), (0.25, False), (0.9, True)])
def test_a_baseline_that_is_nearly_always_right_moves_only_what_is_worse_than_before(
    client: Any, space: Decisions, tmp_path: Path, share: float, goes: bool
) -> None:
    before = [*exploring(800, 0.2, seed=1)]
    moved = [each.time - 900_000 for each in before]
    before = [
        each._replace(time=at, position=f"{at}-0") for each, at in zip(before, moved, strict=True)
    ]
    rows = [*exploring(800, share, seed=2)]
    logs.append(tmp_path, before, [])
    logs.append(tmp_path, rows, [])
    earned, baseline = compared(rows)
    assert earned.snips < baseline.interval[0]
    assert guard(client, space, tmp_path).check() is goes


@pytest.mark.parametrize(
    "before",
    [
        {},
        {"policy": {"name": "slots", "arguments": SLOTS}},
        {"policy": {"name": "left", "arguments": "--cb_explore_adf --epsilon 0.3"}},
        {"at": START - 600_000},
        {"since": START - 200_000},
    ],
    ids=["it goes", "of the other kind", "left before", "a step was taken", "hardly used"],
)
def test_it_goes_back_to_what_was_better_for_sure_and_once(
    client: Any, space: Decisions, tmp_path: Path, before: dict[str, Any]
) -> None:
    write(tmp_path, [*bad()])
    left = [with_exploration("--cb_explore_adf --epsilon 0.3", 0)]
    said = {"at": "2025-11-20T23:55:00+00:00", "why": "", "generation": "gone", "left": left}
    client.hset(space.desk, "guard", json.dumps(said))
    client.hset(space.desk, "previous", json.dumps(PREVIOUS | {"at": START} | before))
    assert guard(client, space, tmp_path).check() is (not before)
    assert live(client, space) == (TWO if before else ONE)
    assert Policy.from_json(client.hget(space.desk, "policy")) == (NEW if before else GOOD)


def test_what_an_apprentice_earned_is_the_baselines(
    client: Any, space: Decisions, tmp_path: Path
) -> None:
    write(tmp_path, [each._replace(mode="Apprentice") for each in bad()])
    assert not guard(client, space, tmp_path).check()


def test_who_moved_the_pointer_has_none_before(client: Any, space: Decisions) -> None:
    one, two = Generations(client, space).published()
    two = replace(two, settings={"since": 7, "previous": PREVIOUS, "wait_ms": 1})
    assert resumed(two, two, 9) == {"since": 7, "previous": PREVIOUS}
    assert resumed(one, two, 9) == {"since": 9, "previous": None}
    told = replaced({"since": 7}, GOOD, ONE, 9)
    assert told == {"since": 9, "previous": PREVIOUS | {"at": 9, "since": 7}}
