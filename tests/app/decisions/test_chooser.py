"""A model chooses by its probabilities, the same for the same id, whatever threads do."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from app.contracts.generations import BrokenRecord
from app.contracts.learning import policies
from app.decisions.body import rank, rank_slots
from app.decisions.chooser import Chance, Model, Stranded, drawn
from app.decisions.refusals import Refused
from tests.decisions import ACTIONS, SLOTS, TWO, body, context, manifest_of, trained

TIGHT = [
    {"id": "top", "baselineAction": "soup"},
    {"id": "side", "baselineAction": "tea", "excludedActions": ["soup", "beer"]},
]


def model(
    arguments: str = policies.DEFAULT.arguments, exploration: float = 0.2, **told: Any
) -> Model:
    made = trained(arguments)
    return Model(manifest_of(made, arguments=arguments, **told), made, exploration)


def test_the_configuration_says_how_much_is_explored() -> None:
    asked = rank(body("morning"))
    for exploration, best in ((0.0, 1.0), (0.2, 0.8667), (1.0, 0.3333)):
        found = model(exploration=exploration).probabilities(asked)
        assert [round(each, 4) for each in found][1] == best
    squares = model("--cb_explore_adf --squarecb -q ::", exploration=1.0)
    assert squares.probabilities(asked)[1] > 0.9


def test_the_same_id_and_model_give_the_same_answer() -> None:
    one, two = model(), model(generation=TWO)
    asked = [rank(body("morning", eventId=f"e{number}")) for number in range(50)]
    found = [one.rank(each) for each in asked]
    assert found == [model().rank(each) for each in asked]
    assert found != [two.rank(each) for each in asked]
    assert len({each.actions[0] for each in found}) == 3


def test_slots_have_an_answer_of_their_id_too() -> None:
    slots = [TIGHT[0], {"id": "side", "baselineAction": "tea"}]
    for make in (lambda: Chance(SLOTS), lambda: model(SLOTS)):
        answers = set()
        for number in range(15):
            asked = rank_slots(body("morning", slots=slots, eventId=f"e{number}"))
            found = make().rank_slots(asked)
            assert found == make().rank_slots(asked)
            top, side = found
            assert top.actions[0] not in side.actions and len(side.actions) == 2
            assert abs(sum(side.probabilities) - 1) < 1e-5
            answers.add((top.actions[0], side.actions[0]))
        assert len(answers) > 2


def test_a_slot_that_is_left_nothing_is_told() -> None:
    for chooser in (Chance(SLOTS), model(SLOTS)):
        stranded = 0
        for number in range(40):
            try:
                chooser.rank_slots(rank_slots(body("morning", slots=TIGHT, eventId=f"e{number}")))
            except Stranded:
                stranded += 1
        assert 0 < stranded < 40 or chooser.generation


def test_a_draw_follows_the_probabilities() -> None:
    found = [drawn(f"e{number}", [0.1, 0.0, 0.6, 0.3]) for number in range(4000)]
    counts = [sum(slot.actions[0] == action for slot in found) for action in (1, 2, 3, 4)]
    assert counts[1] == 0
    assert all(abs(count / 4000 - p) < 0.03 for count, p in zip(counts, [0.1, 0.0, 0.6, 0.3]))
    assert {slot.actions: slot.probabilities for slot in found}[1, 3, 4, 2] == (0.1, 0.6, 0.3, 0.0)
    assert drawn("e", [1.0]).actions == (1,)


@pytest.mark.parametrize("cut", [0, 1, 20, 100])
def test_what_is_no_model_is_a_broken_record(cut: int) -> None:
    made = trained()[:cut]
    with pytest.raises(BrokenRecord, match="Vowpal Wabbit does not take the model"):
        Model(manifest_of(made), made, 0.2)


def test_a_model_of_a_later_release_is_a_broken_record() -> None:
    with pytest.raises(BrokenRecord, match="does not take the model of release 9.100.0"):
        model(vowpal="9.100.0")
    assert model(vowpal="9.1.0") and model(vowpal="")


def test_a_model_of_another_kind_is_a_broken_record() -> None:
    for arguments, others in ((SLOTS, policies.DEFAULT.arguments), ("--cb_explore_adf", SLOTS)):
        with pytest.raises(BrokenRecord, match="the model does not choose by '--"):
            Model(manifest_of(b"", arguments=arguments), trained(others), 0.2)


def test_a_decision_that_would_take_minutes_is_refused() -> None:
    many = [{f"f{number}": 1 for number in range(1000)}]
    actions = [{"id": f"a{number}", "features": many} for number in range(50)]
    asked = rank(body(actions=actions))
    assert len(model().rank(asked).actions) == 50
    with pytest.raises(Refused, match="Exceeds maximum allowed payload size") as raised:
        model("--cb_explore_adf --cubic :::").rank(asked)
    assert raised.value.status == 400


def test_an_explanation_names_what_the_choice_hangs_on() -> None:
    chooser, told = model(), context("morning")
    told["FromUrl"].append({"user": {"unseen": 1}})
    for action, sign in (("tea", 1), ("beer", -1)):
        scores = chooser.explain(json.dumps(told).encode(), ACTIONS.index(action))
        assert {name for name, _ in scores} == {"time", "name", "id"}
        assert dict(scores)["time"] * sign > 0.1


def test_an_explanation_takes_no_longer_than_many_decisions() -> None:
    many = [{f"f{number}": 1 for number in range(3000)}]
    told = context("morning") | {"FromUrl": many}
    assert len(model("--cb_explore_adf -q ::").explain(json.dumps(told).encode(), 0)) <= 2
    small = model().explain(json.dumps(context("morning")).encode(), 1)
    assert len(small) == 3


def test_threads_share_a_model() -> None:
    chooser = model()
    asked = [rank(body(time, eventId=f"e{n}")) for n in range(50) for time in ("morning", "noon")]
    wanted = [chooser.rank(each) for each in asked]
    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(lambda _: [chooser.rank(each) for each in asked], range(16)):
            assert found == wanted


def test_memory_is_flat() -> None:
    chooser, process = model(), psutil.Process()
    slots = model(SLOTS)

    def rounds(count: int) -> int:
        for number in range(count):
            chooser.rank(rank(body(eventId=f"e{number}")))
            slots.rank_slots(rank_slots(body(slots=TIGHT[:1])))
        return int(process.memory_info().rss)

    before = rounds(500)
    assert rounds(2000) - before < 2_000_000, "a leak of one example is 244 KB a decision"


def test_models_come_and_go() -> None:
    process = psutil.Process()
    for _ in range(10):
        model()
    before = process.memory_info().rss
    for _ in range(50):
        model()
    assert process.memory_info().rss - before < 3_000_000
