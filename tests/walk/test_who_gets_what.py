"""Who gets which kind of list, from a file to an answer: known, unknown, alone, and had it all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.contracts.recommendations import Namespace
from tests.app.served import answering
from tests.servers import Server, run_here

GROUPS, ITEMS = 4, 40
ALONE = [f"c{n}" for n in range(60)]


@pytest.fixture(scope="module")
def published(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Four groups who like the same; beside them 60 users with one item of their own, or one user
    who has every item."""
    pairs = [
        (f"u{user}", f"i{(user + step * step) % (ITEMS // GROUPS) * GROUPS + user % GROUPS}")
        for user in range(160)
        for step in range(5)
    ]
    alone = [*pairs, *((user, f"own of {user}") for user in ALONE)]
    whale = [*pairs, *(("whale", f"i{item}") for item in range(ITEMS))]
    folder = tmp_path_factory.mktemp("data")
    for space, made in (("alone", alone), ("whale", whale)):
        path = folder / f"{space}.csv"
        path.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in made))
        _refresh(server, path, space)
    _refresh(server, path, "again", "--repeat")
    return server


def _refresh(server: Server, path: Path, space: str, *options: str) -> None:
    url = {"LARDER_CACHE_URL": server.url}
    done = run_here("refresh", str(path), "--namespace", space, "--force", *options, variables=url)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def api(request: pytest.FixtureRequest, published: Server) -> Iterator[FlaskClient]:
    with answering(published, Namespace(request.param), user_sample=True) as app:
        yield app.test_client()


def items(answer: Any) -> list[str]:
    return [each["item"] for each in answer["recommendations"]]


@pytest.mark.parametrize("api", ["alone"], indirect=True)
def test_of_whom_nothing_is_known_gets_what_is_popular_without_what_they_have(
    api: FlaskClient,
) -> None:
    popular = api.get("/recommendations/nobody").get_json()
    answers = api.post("/recommendations", json={"users": ALONE}).get_json()["answers"]
    for user, answer in zip(ALONE, answers, strict=True):
        assert answer == api.get(f"/recommendations/{user}").get_json()
        assert (answer["source"], answer["recommendations"]) == (
            "popular",
            popular["recommendations"],
        )
        assert api.get(f"/recommendations/{user}?fallback=none").status_code == 404
    asked = {"users": ["u1", *ALONE], "fallback": "none"}
    known, *others = api.post("/recommendations", json=asked).get_json()["answers"]
    assert {each["source"] for each in others} == {"none"}
    assert not any(items(each) for each in others)
    assert known["source"] == "personal"
    assert all(each["score"] > 0.01 for each in known["recommendations"][:3])


@pytest.mark.parametrize("api", ["alone"], indirect=True)
def test_a_load_test_is_given_users_who_have_a_list_of_their_own(api: FlaskClient) -> None:
    users = api.get("/users/sample").get_json()["users"]
    assert sorted(users) == sorted(f"u{user}" for user in range(160))


@pytest.mark.parametrize("api", ["whale"], indirect=True)
def test_who_has_had_everything_gets_what_is_popular_or_is_told_so(api: FlaskClient) -> None:
    popular = api.get("/recommendations/nobody").get_json()
    answer = api.get("/recommendations/whale")
    assert answer.get_json() == {**popular, "user": "whale"}
    assert "ETag" in answer.headers
    answer = api.get("/recommendations/whale?fallback=none")
    assert answer.status_code == 200
    assert (answer.get_json()["source"], items(answer.get_json())) == ("exhausted", [])
    assert "whale" not in api.get("/users/sample").get_json()["users"]


@pytest.mark.parametrize("api", ["again"], indirect=True)
def test_where_things_are_bought_again_nothing_is_left_out(api: FlaskClient) -> None:
    assert api.get("/recommendations/whale").get_json()["source"] == "personal"
    answer = api.get("/recommendations/u1?n=5").get_json()
    bought = {f"i{(1 + step * step) % (ITEMS // GROUPS) * GROUPS + 1}" for step in range(5)}
    assert answer["source"] == "personal"
    assert len(bought & set(items(answer))) >= 3
    assert api.get("/generation").get_json()["settings"]["repeat"] is True


def test_the_command_says_the_same(published: Server) -> None:
    for user, space, source in (
        ("u1", "alone", "personal"),
        ("c1", "alone", "popular"),
        ("nobody", "alone", "popular"),
        ("whale", "whale", "exhausted"),
    ):
        done = run_here(
            "show", user, "--namespace", space, variables={"LARDER_CACHE_URL": published.url}
        )
        assert done.stdout.splitlines()[0].endswith(f": {source}"), done.stdout + done.stderr
