"""The notebooks about lists."""

from tests.notebooks.conftest import Execute


def test_00_serves_films(execute: Execute) -> None:
    figures = execute("00")
    assert figures["source"] == "personal" and figures["recommendations"] == 10
    assert figures["model ndcg"] > 0.3 > 0.2 > figures["popular ndcg"]
