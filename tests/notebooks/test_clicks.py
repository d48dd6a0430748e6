"""The notebook about clicks."""

import pytest

from tests.notebooks.conftest import Execute


def test_08_ranks_candidates(execute: Execute) -> None:
    """Known: an AUC of .747 where .81 is possible, and a log loss .865 of that of chance."""
    figures = execute("08")
    assert 0.72 < figures["auc"] < figures["best auc"] == pytest.approx(0.81, abs=0.01)
    assert figures["normalised entropy"] < 0.9
    assert figures["calibration error"] < 0.03 and figures["furthest off"] < 0.12
    assert figures["ranked"] == 10
    assert figures["apart in bulk"] < 1e-4
    assert figures["mean over rate"] == pytest.approx(1, abs=0.05)
    assert figures["best tenth over rate"] > 2
    assert figures["examples"] == {"rows": 10, "clicked": 1}
