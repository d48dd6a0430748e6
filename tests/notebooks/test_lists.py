"""The notebooks about lists."""

from pathlib import Path

import pandas as pd

from tests.notebooks.conftest import Execute


def test_00_serves_films(execute: Execute) -> None:
    figures = execute("00")
    assert figures["source"] == "personal" and figures["recommendations"] == 10
    assert figures["model ndcg"] > 0.3 > 0.2 > figures["popular ndcg"]


def test_01_finds_the_rows_that_it_made_wrong(execute: Execute) -> None:
    figures = execute("01")
    assert figures["pairs"] == 100_004 and figures["rejected"] == {}
    assert figures["rejected of the copy"] == figures["listed"] == 300
    assert figures["reasons"] == 3 and figures["merged"] == 500
    assert figures["exit code"] == 2
    assert 20_000 < figures["pairs counted"] < 30_000 and figures["capped"] > 500


def test_02_tells_good_lists_from_popular_and_from_predicted_ratings(
    execute: Execute, java: None
) -> None:
    figures = execute("02")
    assert figures["low"] > 0.32 and figures["model"] < 0.45
    assert figures["high of popular"] < 0.25 < figures["low"]
    assert figures["slices won"] == figures["slices"] >= 3
    assert figures["coverage"] > 3 * figures["coverage of popular"]
    assert 0 < figures["explicit"] < figures["popular"] / 4
    assert 0.8 < figures["rmse"] < 1.2


def test_03_compares_engines_and_tunes(execute: Execute) -> None:
    figures = execute("03", seconds=600)
    assert figures["tried"] == ["als", "blend", "ease", "knn"]
    assert figures["chosen"] == 1 and figures["chosen is best"]
    assert figures["model"] > 0.3 > 0.25 > figures["popular"]
    assert figures["trials"] == 6 and figures["trials of"] == ["als", "ease", "knn"]
    assert figures["tuned model"] > 0.3 and figures["tuned default"] > 0.3
    assert figures["tuned popular"] < 0.25


def test_04_publishes_compares_and_goes_back(execute: Execute) -> None:
    for _ in range(2):  # restart and run all
        figures = execute("04")
        assert figures["engines"] == ["knn", "als"] and figures["live was the second"]
        assert 0.3 < figures["overlap"] < 0.7 and figures["changed"] > 0.9
        assert figures["rolled back to the first"] and figures["live stayed"]
        assert figures["exit code"] == 2


def test_11_reads_the_example_as_if_it_were_a_file_of_yours(execute: Execute) -> None:
    figures = execute("11")
    assert figures["rows"] == 100_004 and figures["users"] == 671
    assert figures["entries"] == 6710 and figures["described"] and figures["same as the file"]
    assert figures["source"] == "personal"
    assert figures["model ndcg"] > 0.3 > 0.2 > figures["popular ndcg"]


def test_11_reads_a_file_of_yours(execute: Execute, tmp_path: Path) -> None:
    """Whose name, columns and ids are not what the example has."""
    users = [f"somebody/with?a#long%2Fname-{n:03}" for n in range(60) for _ in range(12)]
    plays = [f"song {(n // 12 % 3) * 20 + (n * 7 + n // 12) % 20}" for n in range(len(users))]
    (tmp_path / "bring").mkdir()
    orders = pd.DataFrame({"Kunden Nr": users, "was": plays})
    orders.to_csv(tmp_path / "bring" / "orders.csv", index=False)
    columns = {"user_column": "Kunden Nr", "item_column": "was", "options": ""}
    figures = execute("11", orders="bring/orders.csv", namespace="mine", k=5, **columns)
    assert figures["rows"] == 720 and figures["users"] == 60 and not figures["described"]
    assert figures["same as the file"] and figures["source"] == "personal"
    assert figures["model ndcg"] > figures["popular ndcg"]
    assert not (tmp_path / "rejects.csv").exists()
