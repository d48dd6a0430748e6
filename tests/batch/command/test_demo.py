"""What ``make demo`` shows of a click; .ci/run runs it whole."""

from batch.command.demo import Shown, changes, side_by_side

BEFORE = Shown("personal", {"1": "Alien", "2": "Brazil", "3": "Clue"})
AFTER = Shown("personal+recent", {"3": "Clue", "4": "Dune"})


def test_what_left_and_what_came_is_marked_in_two_columns() -> None:
    rows = [line.split() for line in side_by_side(BEFORE, AFTER).splitlines()]
    assert rows == [
        ["before:", "personal", "after:", "personal+recent"],
        ["-", "Alien", "Clue"],
        ["-", "Brazil", "+", "Dune"],
        ["Clue"],
    ]


def test_why_something_left_or_came_is_told() -> None:
    assert [line.strip() for line in changes(BEFORE, AFTER, "Alien")] == [
        "left, for it was clicked: Alien",
        "left, for others fit better now: Brazil",
        "came, for it fits the click: Dune",
        "source: personal until now, personal+recent from now on",
    ]
    (only,) = changes(BEFORE, BEFORE, "Dune")
    assert only.startswith("  source: ")
