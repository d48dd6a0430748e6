"""Policies replayed on logs so short that every figure can be counted by hand."""

import pytest
from vowpalwabbit import Workspace

from app.contracts.decisions import Slot
from app.contracts.learning.estimates import Z
from batch.decisions import dsjson
from batch.decisions.judge.replay import (
    FIVE_MINUTES,
    MOST_SLOTS,
    Baseline,
    Judged,
    Learning,
    Online,
    Random,
    Replay,
)
from batch.decisions.terms import Joined
from tests.batch.decisions.rows import START, joined, several

POLICY = "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q ::"


def decided(number: int, chosen: int, chance: float, reward: float) -> Joined:
    """One of three actions, the two others as likely as each other."""
    others = tuple(each for each in (1, 2, 3) if each != chosen)
    rest = (1 - chance) / 2
    slot = Slot("", (chosen, *others), (chance, rest, rest))
    return joined(number, slots=(slot,), rewards=(reward,))


LOGS = [
    decided(0, 1, 0.5, 1.0),
    decided(1, 2, 0.25, 4.0),
    decided(2, 1, 0.5, 0.0),
    decided(3, 3, 0.25, 2.0),
]


def replayed(judged: Judged, logs: list[Joined], slotted: bool = False) -> Replay:
    replay = Replay([judged], slotted)
    replay.run(logs)
    return replay


def test_what_was_in_use_earned_what_was_observed() -> None:
    judged = Judged("online", "", "Online", Online())
    replayed(judged, LOGS)
    sums = judged.total()
    assert (sums.events, sums.matched, sums.w, sums.wr, sums.w2r2) == (4, 4, 4.0, 7.0, 21.0)
    assert sums.ips == sums.snips == 7 / 4


def test_the_baseline_is_weighed_by_how_likely_it_was() -> None:
    judged = Judged("baseline1", "", "Baseline", Baseline())
    replayed(judged, LOGS)
    sums = judged.total()
    # Shown twice, with a chance of one half: each stands for two.
    assert (sums.events, sums.matched, sums.w, sums.wr) == (4, 2, 4.0, 2.0)
    assert (sums.ips, sums.snips, sums.effective) == (0.5, 0.5, 2.0)


def test_chance_takes_each_action_alike() -> None:
    judged = Judged("baselineRand", "", "Random", Random())
    replayed(judged, LOGS)
    sums = judged.total()
    weights = [2 / 3, 4 / 3, 2 / 3, 4 / 3]
    rewards = [1.0, 4.0, 0.0, 2.0]
    assert sums.w == pytest.approx(sum(weights))
    assert sums.ips == pytest.approx(sum(map(lambda w, r: w * r, weights, rewards)) / 4)
    assert sums.snips == pytest.approx((2 / 3 + 16 / 3 + 8 / 3) / 4)
    deviations = [(w * (r - sums.snips)) ** 2 for w, r in zip(weights, rewards)]
    assert sums.half_width == pytest.approx(1.959964 * sum(deviations) ** 0.5 / 4, rel=1e-6)


def test_a_policy_says_what_it_would_do_before_it_learns_what_came_of_it() -> None:
    judged, model = Judged("p", POLICY, "Custom", Learning(POLICY)), Workspace(
        f"{POLICY} --dsjson --quiet"
    )
    logs = [joined(number) for number in range(60)]
    expected = []
    for each in logs:
        line = dsjson.line(each)
        said = model.predict(line)
        slot = each.slots[0]
        expected.append(said[slot.actions[0] - 1] / slot.probabilities[0])
        model.learn(line)
    replayed(judged, logs)
    assert judged.total().w == pytest.approx(sum(expected))
    assert judged.total().w2 == pytest.approx(sum(each**2 for each in expected))
    assert expected[0] == pytest.approx(1 / 3 / 0.8)


def test_what_a_model_of_rewards_gets_right_needs_no_weights() -> None:
    # Only the first of the actions is ever worth anything, and always: soon that is known.
    logs = [decided(number, number % 3 + 1, 1 / 3, float(number % 3 == 0)) for number in range(900)]
    judged = Judged("baseline1", "", "Baseline", Baseline())
    replayed(judged, logs)
    sums = judged.total()
    assert sums.snips == 1.0
    assert sums.doubly_robust == pytest.approx(1.0, abs=0.02)
    # Weights of 3 and of 0 alone would spread it so far.
    assert sums.doubly_robust_half_width < 0.5 * Z * (2 / 900) ** 0.5


def test_what_does_not_count_is_neither_judged_nor_learned() -> None:
    with_others, alone = (Judged("p", POLICY, "Custom", Learning(POLICY)) for _ in range(2))
    deferred = [decided(number, 3, 0.1, 9.0)._replace(counts=False) for number in range(10)]
    replayed(with_others, [*LOGS[:2], *deferred, *LOGS[2:]])
    replayed(alone, LOGS)
    assert with_others.total() == alone.total()


def test_what_an_apprentice_decided_is_learned_and_judges_nobody() -> None:
    judged = Judged("p", POLICY, "Custom", Learning(POLICY))
    apprentice = [decided(number, 1, 1.0, 1.0)._replace(mode="Apprentice") for number in range(50)]
    replay = replayed(judged, [*apprentice, LOGS[0]])
    assert (replay.decided, replay.imitated, judged.total().events) == (1, 50, 1)
    # It takes the first action for the best by now, and explores by a fifth.
    assert judged.total().w == pytest.approx((0.8 + 0.2 / 3) / 0.5)


def test_sums_are_kept_by_five_minutes() -> None:
    judged = Judged("online", "", "Online", Online())
    logs = [joined(0), joined(299), joined(300), joined(301)]
    replayed(judged, logs)
    times = {at: sums.events for at, sums in judged.rows[""].items()}
    assert times == {START: 2, START + FIVE_MINUTES: 2}


def test_each_slot_has_sums_and_all_together_have() -> None:
    judged = Judged("baseline1", "", "Baseline", Baseline())
    replayed(judged, [several(number) for number in range(10)], slotted=True)
    # The baseline of "top" is action 1, and 2 was shown; that of "side" is 3, and 1 was shown.
    assert {slot: judged.total(slot).events for slot in judged.rows} == {
        "": 20,
        "top": 10,
        "side": 10,
    }
    assert judged.total().matched == 0
    slots = [result["slot"] for result in judged.results()]
    assert slots[0] == "" and sorted(slots) == ["", "side", "top"]


def test_a_policy_of_slots_is_judged_given_what_was_shown_before() -> None:
    arguments = "--ccb_explore_adf --epsilon 0.2 -q ::"
    judged = Judged("p", arguments, "Custom", Learning(arguments))
    replay = replayed(judged, [several(0, rewards=(0.0, 0.0))], slotted=True)
    assert (replay.decided, replay.passed) == (1, 0)
    # Untrained it takes each of the two that are left alike, of .9 and of .6 as logged.
    assert judged.total("top").w == pytest.approx(0.5 / 0.9)
    assert judged.total("side").w == pytest.approx(0.5 / 0.6)


def test_more_slots_than_can_be_told_apart_are_in_the_sum_of_all() -> None:
    judged = Judged("online", "", "Online", Online())
    for number in range(MOST_SLOTS + 10):
        for sums in judged.sums_of(f"slot{number}", START):
            sums.add(1.0, 1.0)
    assert len(judged.rows) == MOST_SLOTS + 1
    assert judged.total().events == MOST_SLOTS + 10


@pytest.mark.parametrize(
    "broken",
    [
        joined(1, context=b'{"_multi":[]}'),
        joined(1, context=b"{"),
        several(1),
        joined(1, slots=(Slot("", (1, 2, 3), (0.0, 0.5, 0.5)),)),
    ],
)
def test_what_cannot_be_judged_is_passed_over_by_all(broken: Joined) -> None:
    judged = Judged("p", POLICY, "Custom", Learning(POLICY))
    replay = replayed(judged, [LOGS[0], broken, *LOGS[1:]])
    assert (replay.decided, replay.passed) == (4, 1)
    assert judged.total().events == 4
