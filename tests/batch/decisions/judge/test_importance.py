"""Features that say something of rewards, beside some that say nothing."""

import json
from pathlib import Path
from random import Random

import pytest

from app.contracts.decisions import Importance, Slot
from batch.decisions import logs
from batch.decisions.judge.importance import importances
from batch.decisions.terms import Joined
from batch.errors import BadInteractions
from tests.batch.decisions.rows import joined, several

ASKED = Importance("i1", "", "2025-11-21", "2025-11-22", "")


def decided(number: int, random: Random) -> Joined:
    """One of two colours; which is worth something says the mood, and never the weather."""
    mood, colours = random.choice("ab"), ["red", "blue"]
    random.shuffle(colours)
    multi = [
        {"i": {"constant": 1, "id": f"n{random.randrange(9)}"}, "j": [{"look": {"colour": each}}]}
        for each in colours
    ]
    shared = [{"mood": mood}, {"air": {"weather": random.choice("xyz"), "heat": random.random()}}]
    chosen = random.randrange(2)
    worth = float((colours[chosen] == "red") == (mood == "a"))
    slot = Slot("", (chosen + 1, 2 - chosen), (0.5, 0.5))
    context = json.dumps({"FromUrl": shared, "_multi": multi}).encode()
    return joined(number, context=context, slots=(slot,), rewards=(worth,))


def test_what_says_something_has_a_score(tmp_path: Path) -> None:
    random = Random(1)
    logs.append(tmp_path, [decided(number, random) for number in range(1500)], [])
    scores = {(namespace, name): score for namespace, name, score in importances(tmp_path, ASKED)}
    assert set(scores) == {
        *(("FromUrl", "mood"), ("air", "weather"), ("air", "heat")),
        *(("i", "constant"), ("i", "id"), ("look", "colour")),
    }
    telling = {("FromUrl", "mood"), ("look", "colour")}
    assert max(scores.values()) == 1.0
    assert all(scores[each] > 0.8 for each in telling)
    assert all(scores[each] < 0.1 for each in scores.keys() - telling)


def test_logs_of_several_slots_or_too_many_features_say_nothing(tmp_path: Path) -> None:
    wide = {"FromUrl": [{"q": [1] * 25_000}], "_multi": [{"i": {"id": "a"}}]}
    slot = Slot("", (1,), (1.0,))
    large = joined(3, context=json.dumps(wide).encode(), slots=(slot,), rewards=(1.0,))
    logs.append(tmp_path, [*(several(number) for number in range(3)), large], [])
    with pytest.raises(BadInteractions, match="no decision of one slot"):
        importances(tmp_path, ASKED)
