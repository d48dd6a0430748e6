"""The walk with a known answer: a CSV on disk, ``larder refresh``, the API under gunicorn, HTTP.

Even users like even items and odd users odd ones; each has all items of the own colour but three.
These three must come first, with their titles, whatever the ids look like.
"""

import csv
import json
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.contracts.filtering.filters import Clause
from app.contracts.recommendations import Namespace
from tests.app.served import watching
from tests.servers import Api, Served, Server, run, run_here, wait_until

Run = Callable[..., subprocess.CompletedProcess[str]]
ODD_IDS = [
    "a/b",
    "/",
    "a//b/",
    "smile \N{GRINNING FACE}",
    'say "hello"',
    "it's; a, list",
    " padded ",
    "a:b|c",
    "100%",
    "%2F",
    "a?b=c&d#e",
    "1+1",
    "x" * 200,
    "1",
    "01",
    "Ärger über Öl",
    "日本語",
    "back\\slash",
    "null",
    "../../etc",
]
USERS = [*ODD_IDS, *(f"user {n}" for n in range(40))]
ITEMS = [*ODD_IDS[:15], *(f"item {n}" for n in range(15))]
K = 10


def missing(user: int) -> set[int]:
    """Three items of the user's colour; all fifteen take their turn."""
    return {(user % 2 + 2 * (user // 2 + step)) % len(ITEMS) for step in (0, 5, 10)}


def liked(user: int) -> list[int]:
    return [item for item in range(user % 2, len(ITEMS), 2) if item not in missing(user)]


def colour(item: str) -> int:
    return ITEMS.index(item) % 2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The interactions and the items, written as any program would write CSV."""
    folder = tmp_path_factory.mktemp("checkerboard")
    pairs = [(USERS[user], ITEMS[item]) for user in range(len(USERS)) for item in liked(user)]
    titles = [(item, f'The "{item[:9]}", no. {n}', n, n > 9) for n, item in enumerate(ITEMS)]
    for name, head, rows in (
        ("interactions.csv", ("user", "item"), pairs),
        ("items.csv", ("item", "title", "price", "sold"), titles),
    ):
        with open(folder / name, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([head, *rows])
    return folder / "interactions.csv", folder / "items.csv"


def larder(run: Run, server: Server, *arguments: str) -> str:
    variables = {"LARDER_CACHE_URL": server.url, "LARDER_NAMESPACE": "checkerboard"}
    done = run(*arguments, variables=variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refresh(run: Run, server: Server, files: tuple[Path, Path]) -> str:
    """Refresh and return the generation's name."""
    interactions, items = files
    rejects = str(items.with_name("rejects.csv"))
    types = ("--document-types", "price=number, sold=boolean", "--rejects", rejects)
    more = (*types, "--filter-columns", "price, sold, title:category")
    said = larder(run, server, "refresh", str(interactions), "--items", str(items), *more)
    assert "documents for 30 of 30 items" in said
    assert "filter by: price (number of 30), sold (flag of 30), title (category of 30)" in said
    return said.split("published generation ")[1].split(":")[0]


@pytest.fixture(scope="module")
def generation(server: Server, files: tuple[Path, Path]) -> str:
    return refresh(run, server, files)


@pytest.fixture(scope="module")
def api(server: Server, generation: str) -> Iterator[Api]:
    with Served(server.url, "checkerboard") as started:
        yield started


def get(api: Api, path: str) -> Any:
    with urllib.request.urlopen(api.url + path) as answer:
        return json.load(answer)


def recommendations(api: Api, user: str) -> Any:
    return get(api, f"/recommendations/{quote(user, safe='')}")


@pytest.mark.parametrize("user", range(len(USERS)), ids=lambda user: f"user {user}")
def test_a_user_gets_the_unseen_items_of_the_own_colour_first(api: Api, user: int) -> None:
    answer = recommendations(api, USERS[user])
    assert (answer["user"], answer["source"]) == (USERS[user], "personal")
    items = [entry["item"] for entry in answer["recommendations"]]
    assert len(set(items)) == len(items) == K
    assert {ITEMS.index(item) for item in items[:3]} == missing(user)
    assert not {ITEMS.index(item) for item in items} & set(liked(user)), "seen items came back"
    assert all(colour(item) != user % 2 for item in items[3:])
    scores = [entry["score"] for entry in answer["recommendations"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[2] > 0.5 > abs(scores[3])


def test_each_recommendation_comes_with_its_document(api: Api) -> None:
    for user in range(0, len(USERS), 7):
        for entry in recommendations(api, USERS[user])["recommendations"]:
            number = ITEMS.index(entry["item"])
            assert entry["title"] == f'The "{ITEMS[number][:9]}", no. {number}'
            assert (entry["price"], entry["sold"]) == (number, number > 9)
            assert isinstance(entry["price"], int) and isinstance(entry["sold"], bool)


def test_requests_may_filter_by_the_columns(server: Server, generation: str) -> None:
    with watching(server, Namespace("checkerboard")) as watcher:
        live = watcher.live()
    assert live.columns is not None
    numbers = [live.find(item) for item in ITEMS]
    for text, wanted in {
        "price:3..11": range(3, 12),
        "-sold:true": range(10),
        f'title:The "{ITEMS[4][:9]}", no. 4': {4},
    }.items():
        name, _, value = text.partition(":")
        mask = live.columns.mask(Clause.of(name, [value]))
        assert [bool(mask[number]) for number in numbers] == [n in wanted for n in range(30)]


@pytest.mark.parametrize("item", range(len(ITEMS)), ids=lambda item: f"item {item}")
def test_similar_items_are_of_the_same_colour(api: Api, item: int) -> None:
    answer = get(api, f"/items/{quote(ITEMS[item], safe='')}/similar")
    assert answer["item"] == ITEMS[item]
    others = [entry["item"] for entry in answer["similar"]]
    assert len(set(others)) == K
    assert ITEMS[item] not in others
    assert all(colour(other) == item % 2 for other in others)
    assert all(0.5 < entry["score"] <= 1 for entry in answer["similar"])


def test_a_stranger_gets_what_is_popular(api: Api) -> None:
    answer = recommendations(api, "nobody of this name")
    assert answer["source"] == "popular"
    counts = Counter(ITEMS[item] for user in range(len(USERS)) for item in liked(user))
    shares = [entry["score"] for entry in answer["recommendations"]]
    expected = [counts[entry["item"]] / len(USERS) for entry in answer["recommendations"]]
    assert shares == pytest.approx(expected, abs=1e-3)
    most = sorted(counts.values(), reverse=True)[:K]
    assert [round(share * len(USERS)) for share in shares] == most
    assert all(entry["title"].startswith("The ") for entry in answer["recommendations"])


def test_many_users_in_one_call_get_what_each_gets_alone(api: Api) -> None:
    body = json.dumps({"users": USERS, "n": 4}).encode()
    request = urllib.request.Request(
        f"{api.url}/recommendations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        answers = json.load(response)["answers"]
    assert [answer["user"] for answer in answers] == USERS
    for answer in answers:
        alone = recommendations(api, answer["user"])["recommendations"][:4]
        assert answer["recommendations"] == alone


def test_a_second_refresh_says_the_same_and_a_rollback_is_felt(
    api: Api, server: Server, files: tuple[Path, Path], generation: str
) -> None:
    def told(by: str) -> bool:
        """Whether every worker answers from that generation now."""
        return all(get(api, "/generation")["generation"] == by for _ in range(20))

    def all_answers() -> list[Any]:
        answers = [recommendations(api, user) for user in USERS]
        answers += [get(api, f"/items/{quote(item, safe='')}/similar") for item in ITEMS]
        return [{**answer, "generation": ""} for answer in answers]

    wait_until(lambda: told(by=generation))
    before = all_answers()
    second = refresh(run_here, server, files)
    assert second > generation
    wait_until(lambda: told(by=second))
    assert all_answers() == before
    assert f"live is {generation}" in larder(run_here, server, "rollback")
    wait_until(lambda: told(by=generation))
    assert recommendations(api, "1")["generation"] == generation
