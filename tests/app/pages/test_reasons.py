"""What of a user's items makes their list, on a generation of two tastes."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask.testing import FlaskClient

from app.contracts.recommendations import Namespace
from tests.app.pages.test_pages import told
from tests.app.served import Worker, following
from tests.servers import Server, run_here

SHOP = Namespace("reasoned")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Half of the users have items a0 to a11, the others b0 to b11, each all but four of them."""
    path = tmp_path_factory.mktemp("reasons") / "pairs.csv"
    rows = (
        f"u{user},{'ab'[user % 2]}{(user // 2 + n) % 12}\n" for user in range(60) for n in range(8)
    )
    path.write_text("user,item\n" + "".join(rows))
    return str(path)


@contextmanager
def serving(server: Server, shop: Namespace, pairs: str, *options: str) -> Iterator[Worker]:
    variables = {"LARDER_CACHE_URL": server.url, "LARDER_NAMESPACE": shop.name}
    quick = ("--holdout", "0", "--force", "--engine", "als", "--factors", "4", "--k", "4", *options)
    done = run_here("refresh", pairs, "--live", *quick, variables=variables)
    assert done.returncode == 0, done.stderr
    with following(server, shop, explorer=True) as worker:
        yield worker


@pytest.fixture(scope="module")
def worker(server: Server, pairs: str) -> Iterator[Worker]:
    with serving(server, SHOP, pairs) as started:
        yield started


@pytest.fixture
def asked(worker: Worker) -> FlaskClient:
    return worker.app.test_client()


def test_the_items_of_a_user_are_there_to_be_dropped(asked: FlaskClient) -> None:
    found = told(asked, "/explorer/user?id=u0")
    assert {each["item"] for each in found["history"]} == {f"a{n}" for n in range(8)}
    assert found["what_if"] is None
    page = asked.get("/explorer/user?id=u0").text
    assert page.count('type="checkbox"') == 8


def test_with_other_items_the_list_is_of_the_other_taste(asked: FlaskClient) -> None:
    assert {each["item"][0] for each in told(asked, "/explorer/user?id=u0")["recommendations"]} == {
        "a"
    }
    all_of = "".join(f"&drop=a{n}" for n in range(8))
    change = told(asked, f"/explorer/user?id=u0{all_of}&add=b3")["what_if"]["change"]
    items = [each["item"] for each in change["list"]]
    assert len(items) == 4 and {item[0] for item in items} == {"b"} and "b3" not in items
    assert {each["item"] for each in change["left"]} == {"a8", "a9", "a10", "a11"}
    page = asked.get(f"/explorer/user?id=u0{all_of}&add=b3").text
    assert "Would enter" in page and page.count(" checked") == 8


def test_what_is_dropped_may_come_back_and_what_is_kept_may_not(asked: FlaskClient) -> None:
    change = told(asked, "/explorer/user?id=u0&drop=a5")["what_if"]["change"]
    items = {each["item"] for each in change["list"]}
    assert items <= {"a5", "a8", "a9", "a10", "a11"} and len(items) == 4


def test_of_whom_only_a_part_is_stored_nothing_comes_back_that_they_may_have(
    server: Server, namespace: Namespace, pairs: str
) -> None:
    with serving(server, namespace, pairs, "--history", "3") as worker:
        asked = worker.app.test_client()
        found = told(asked, "/explorer/user?id=u0")["history"]
        assert len(found) == 3
        dropped = found[0]["item"]
        change = told(asked, f"/explorer/user?id=u0&drop={dropped}")["what_if"]["change"]
    items = {each["item"] for each in change["list"]}
    assert items <= {dropped, "a8", "a9", "a10", "a11"} and len(items) == 4


def test_what_they_did_lately_is_theirs_too(worker: Worker, asked: FlaskClient) -> None:
    worker.did("purchase", "b1", "u2")
    assert "b1" in {each["item"] for each in told(asked, "/explorer/user?id=u2")["history"]}


def test_a_stranger_has_nothing_to_drop(asked: FlaskClient) -> None:
    assert told(asked, "/explorer/user?id=nobody")["history"] == []
    change = told(asked, "/explorer/user?id=nobody&add=a1")["what_if"]["change"]
    assert {each["item"][0] for each in change["list"]} == {"a"}


def test_an_item_that_is_not_there_is_said(asked: FlaskClient) -> None:
    answer = asked.get("/explorer/user?id=u0&add=none")
    assert answer.status_code == 404 and "does not hold item" in answer.text


def test_why_names_the_items_that_add_most(asked: FlaskClient) -> None:
    found = told(asked, "/explorer/why?id=u0&item=a9")
    assert (found["user"], found["item"]) == ("u0", "a9")
    assert {each["item"] for each in found["because"]} <= {f"a{n}" for n in range(8)}
    added = [each["contribution"] for each in found["because"]]
    assert added == sorted(added, reverse=True) and added[0] > 0
    assert len(added) == 5 and sum(added) == pytest.approx(
        found["score"] * sum(each["share"] for each in found["because"])
    )
    assert 0.8 < found["covered"] < 1.2
    assert "add most to its score" in asked.get("/explorer/why?id=u0&item=a9").text
    nobody = told(asked, "/explorer/why?id=nobody&item=a9")
    assert nobody["because"] == []
    assert asked.get("/explorer/why?id=u0&item=none").status_code == 404
    page = asked.get("/explorer/user?id=u0").text
    assert page.count('href="/explorer/why?id=u0') == 4
