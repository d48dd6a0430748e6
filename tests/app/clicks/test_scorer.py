"""Scores of rows, and which row comes first."""

import math

import pytest

from app.clicks.scorer import Scorer
from app.contracts.clicks import Calibration
from tests.clicks import log_odds, manifest_of, model


def test_rows_of_one_score_are_told_apart_by_the_members_and_then_by_their_order() -> None:
    """Beyond the outermost knot all scores are alike; so many rows are not sorted as few are."""
    made = model(Calibration(knots=((-2.0, -2.0), (-1.0, -1.0))))
    scorer = Scorer(manifest_of(made), b"".join(made.sections().values()))
    kinds = [("acme", "desk"), ("bolt", "phone"), ("bolt", "desk")]
    rows = scorer.encoder.rows({"price": 3}, 60)
    for row in range(60):
        brand, device = kinds[row % 3]
        scorer.encoder.fill(rows, row, {"brand": brand, "device": device})
    found = scorer.scores(rows)
    assert found.members[:3] == pytest.approx([log_odds(3, *each) for each in kinds])
    assert found.scores == pytest.approx(1 / (1 + math.e))
    assert found.order() == [*range(1, 60, 3), *range(2, 60, 3), *range(0, 60, 3)]
