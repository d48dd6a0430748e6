"""What ``make demo-clicks`` says of a model and of an item; .ci/run runs it whole."""

import re

import pytest

from batch.clicks.examples.generate import Truth
from batch.command.clicks.demo import explained, log_odds, verdict

COLUMNS = {"c22": -0.9, "i13": 0.5, "i1": 0.4, "c1": 0.3, "c2": 0.2, "i2": -0.1, "i3": 0.0}


def test_what_is_said_for_and_against_an_item_adds_up_to_its_score() -> None:
    score = 0.3
    lines = explained({"base": -1.2, "columns": COLUMNS}, score)
    assert [line.split()[:3] for line in lines[:6]] == [
        ["where", "all", "items"],
        ["for", "it:", "i13,"],
        ["for", "it:", "i1,"],
        ["for", "it:", "c1,"],
        ["against", "it:", "c22,"],
        ["against", "it:", "i2,"],
    ]
    assert "i13, of the item" in lines[1] and "i1, of the user" in lines[2]
    *parts, total = (float(line.split()[-1]) for line in lines)
    assert sum(parts) == pytest.approx(total, abs=0.005) == round(log_odds(score), 3)


def test_a_model_is_held_against_what_is_possible() -> None:
    truth = Truth(rows=1000, clicks=250, auc=0.8, log_loss=0.4)
    said = verdict({"log_loss": 0.45, "ne": 0.9, "auc": 0.7}, truth)
    assert re.findall(r"[0-9.]+%", said) == ["20.0%", "10.0%", "50%"]
    assert "Its AUC is 0.700, where 0.800 is possible" in said
