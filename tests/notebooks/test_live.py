"""The notebooks about lists that follow what users do, and what the owner of them orders."""

from tests.notebooks.conftest import Execute


def test_06_feels_a_click_and_learns_from_it(execute: Execute) -> None:
    figures = execute("06")
    assert figures["sources"] == ["personal", "personal+recent"]
    assert figures["clicked film is gone"] and figures["films that came"] >= 2
    assert 0.05 < figures["share of the click"] < 1
    assert figures["newcomer"] == ["popular", "recent", "personal", "popular"]
    assert figures["session"] == ["recent", "recent"]
    assert figures["in files"] == [1, 0]
    gone = {"generations": 1, "models": 0, "events": 1, "recents": 1, "files": 1}
    assert figures["deleted"] == gone


def test_07_shows_what_filters_and_rules_let_through(execute: Execute) -> None:
    figures = execute("07")
    assert figures["filtered"] == [10, 10] and min(figures["oldest"]) >= 1990
    assert figures["why"][0] == 10 and 0.5 < figures["why"][1] <= 1
    changed, users = figures["reach"]
    assert 100 <= changed <= users
    found = figures["lists with"]
    assert found["before"] == found["rolled back"] > 10
    assert found["hidden"] == 0 and found["pinned"] == 100
    assert figures["first film"] == [True, False, True]
    assert figures["most of a genre"]["with all rules"] <= 4
    assert figures["most of a genre"]["without rules"] > 4
    assert figures["as before"] and figures["history"] == "rolled back to version 0"
