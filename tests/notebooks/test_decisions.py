"""The notebook about decisions."""

import pytest

from tests.notebooks.conftest import Execute


def test_09_makes_decisions(execute: Execute) -> None:
    """Known: .82 of .85 once it has learned, .95 by a policy that explores where it is in doubt."""
    figures = execute("09")
    assert figures["chance"] < 0.5 and figures["learned"] >= 0.7
    assert figures["policies"] >= 5
    assert figures["baseline"] == pytest.approx(11 / 36, abs=0.1)
    assert figures["best"] > figures["original"] + 0.2
    assert figures["applied"] >= 0.8
    assert figures["sure before"] == pytest.approx(0.25, abs=0.01)
    assert figures["sure after"] > 0.7
