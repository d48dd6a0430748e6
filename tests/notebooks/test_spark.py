"""The notebook that runs Spark."""

import pytest

from batch.datasets.movielens import SMALL
from batch.errors import BadSettings
from batch.spark.java import require
from tests.notebooks.conftest import Execute


@pytest.fixture
def java(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip, and say why, where Spark cannot start; its pages stay on loopback."""
    try:
        require()
    except BadSettings as error:
        pytest.skip(str(error))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")


def test_05_makes_the_same_lists_on_spark(java: None, execute: Execute) -> None:
    figures = execute("05")
    rated = len((SMALL / "ratings.csv").read_text().splitlines()) - 1
    assert figures["rows"] == figures["ratings charted"] == rated
    assert figures["engines"] == ["als", "spark", "spark"]
    assert figures["interactions"] == [rated] * 3
    assert all(0.32 < ndcg < 0.40 for ndcg in figures["ndcg"])
    assert max(figures["ndcg"]) - min(figures["ndcg"]) < 0.02
    assert figures["overlap"] > 0.99
