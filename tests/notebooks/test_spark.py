"""The notebook that runs Spark."""

from batch.datasets.movielens import SMALL
from tests.notebooks.conftest import Execute


def test_05_makes_the_same_lists_on_spark(java: None, execute: Execute) -> None:
    figures = execute("05")
    rated = len((SMALL / "ratings.csv").read_text().splitlines()) - 1
    assert figures["rows"] == figures["ratings charted"] == rated
    assert figures["engines"] == ["als", "spark", "spark"]
    assert figures["interactions"] == [rated] * 3
    assert all(0.32 < ndcg < 0.40 for ndcg in figures["ndcg"])
    assert max(figures["ndcg"]) - min(figures["ndcg"]) < 0.02
    assert abs(figures["ndcg"][1] - figures["ndcg"][2]) < 0.001
    assert figures["overlap with a cluster"] > 0.99
    assert figures["overlap with Spark"] > 0.98
