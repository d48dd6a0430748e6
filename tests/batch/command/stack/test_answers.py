"""Lists of before and after, as ``make demo`` and notebooks show them; .ci/run runs the demo."""

import json
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from batch.command.stack.answers import Answer, changes, side_by_side, titles, wait_for_another
from batch.errors import Transient


def answer(source: str, *films: str) -> Answer:
    found = [{"item": film[0], "title": film} for film in films]
    return {"user": "15", "source": source, "recommendations": found}


BEFORE = answer("personal", "Alien", "Brazil", "Clue")
AFTER = answer("personal+recent", "Clue", "Dune")


class Telling(HTTPServer):
    """Answers one thing after the other, and the last one from then on."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Teller)
        self.answers = list(answers)
        self.url = f"http://127.0.0.1:{self.server_port}/recommendations/15"


class Teller(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Telling)
        told = self.server.answers
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told.pop(0) if len(told) > 1 else told[0]).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def telling() -> Iterator[Telling]:
    with Telling([BEFORE, BEFORE, AFTER]) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_it_is_asked_until_the_answer_is_another_one(telling: Telling) -> None:
    felt = wait_for_another(telling.url, BEFORE)
    assert felt.answer == AFTER and felt.seconds > 0


def test_an_answer_that_stays_as_it_was_is_said(telling: Telling) -> None:
    wait_for_another(telling.url, BEFORE)
    with pytest.raises(Transient, match="/recommendations/15 answered the same for 0 seconds"):
        wait_for_another(telling.url, AFTER, seconds=0)


def test_an_item_without_a_title_has_its_id() -> None:
    assert titles({"recommendations": [{"item": "9"}, {"item": "8", "title": "Heat"}]}) == {
        "9": "9",
        "8": "Heat",
    }


def test_what_left_and_what_came_is_marked_in_two_columns() -> None:
    rows = [line.split() for line in side_by_side(BEFORE, AFTER).splitlines()]
    assert rows == [
        ["before:", "personal", "after:", "personal+recent"],
        ["-", "Alien", "Clue"],
        ["-", "Brazil", "+", "Dune"],
        ["Clue"],
    ]


def test_a_long_title_is_cut_where_one_sees_it() -> None:
    _, line = side_by_side(answer("personal", "A" * 50), answer("personal", "B")).splitlines()
    assert line == f"- {'A' * 43}…  + B"


def test_why_something_left_or_came_is_told() -> None:
    assert [line.strip() for line in changes(BEFORE, AFTER, "A").splitlines()] == [
        "left, for it was clicked: Alien",
        "left, for others fit better now: Brazil",
        "came, for it fits the click: Dune",
        "source: personal until now, personal+recent from now on",
    ]
    assert changes(BEFORE, BEFORE, "D").startswith("  source: ")
