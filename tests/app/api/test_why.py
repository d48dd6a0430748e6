"""Why an item is in a list: from a real refresh to the answer."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from app.contracts.recommendations import Namespace
from tests.app.served import Worker, answering, following
from tests.generations import publish_by_hand
from tests.servers import Server, run_here

SPACE = Namespace("why")


@pytest.fixture(scope="module")
def worker(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Even users like even items, odd ones odd; each misses one, which is then the best."""
    folder = tmp_path_factory.mktemp("why")
    pairs = [
        f"u{user},i{item},{1 + item % 3}\n"
        for user in range(40)
        for item in range(user % 2, 20, 2)
        if item != user % 20
    ]
    (folder / "pairs.csv").write_text("user,item,rating\n" + "".join(pairs))
    titles = [f"i{item},Film {item}\n" for item in range(20)]
    (folder / "items.csv").write_text("item,title\n" + "".join(titles))
    done = run_here(
        *("refresh", str(folder / "pairs.csv"), "--items", str(folder / "items.csv")),
        *(
            "--live",
            "--engine",
            "als",
            "--factors",
            "8",
            "--k",
            "3",
            "--stored",
            "4",
            "--namespace",
            SPACE.name,
        ),
        *("--cache-url", server.url),
    )
    assert done.returncode == 0, done.stderr
    with following(server, SPACE) as started:
        yield started


def why(worker: Worker, user: str, item: str, **more: Any) -> Any:
    found = worker.app.test_client().get(
        f"/recommendations/{user}/why", query_string={"item": item, **more}
    )
    assert found.status_code == 200, found.data
    return found.get_json()


def test_a_list_is_told_by_what_its_user_had(worker: Worker) -> None:
    best = worker.get("/recommendations/u4")["recommendations"][0]
    found = why(worker, "u4", "i4")
    assert best["item"] == found["item"] == "i4"
    assert found["score"] == pytest.approx(best["score"], abs=0.02)
    assert found["covered"] == pytest.approx(1, abs=0.05)
    names = [each["item"] for each in found["because"]]
    assert sorted(names) == sorted(f"i{item}" for item in range(0, 20, 2) if item != 4)
    assert found["because"][0]["title"] == f"Film {names[0][1:]}"
    added = [each["contribution"] for each in found["because"]]
    assert added == sorted(added, reverse=True)
    shares = [each["share"] for each in found["because"]]
    assert sum(shares) == pytest.approx(found["covered"], abs=0.01)
    assert [each["item"] for each in why(worker, "u4", "i4", n=2)["because"]] == names[:2]


def test_what_somebody_did_lately_speaks_too(worker: Worker) -> None:
    assert why(worker, "stranger", "i3")["because"] == []
    worker.did("purchase", "i5", "stranger")
    found = why(worker, "stranger", "i3")
    assert [each["item"] for each in found["because"]] == ["i5"]
    assert found["because"][0]["contribution"] > 0
    worker.did("click", "i1", "u4")
    assert "i1" in [each["item"] for each in why(worker, "u4", "i4")["because"]]


def test_a_list_that_is_used_up_is_made_anew_without_what_its_user_had(worker: Worker) -> None:
    had = {f"i{item}" for item in range(0, 20, 2) if item != 6}
    for _ in range(5):  # of the four that are stored, and beyond
        first, *_ = worker.items("/recommendations/u6")
        assert first not in had
        worker.did("purchase", first, "u6")
        had.add(first)
    answer = worker.get("/recommendations/u6")
    assert answer["source"] == "personal+recent" and len(answer["recommendations"]) == 3
    assert not had & {each["item"] for each in answer["recommendations"]}


def test_a_user_whose_id_ends_in_why_has_a_list(worker: Worker) -> None:
    plain = worker.get("/recommendations/u4/why")
    assert plain["user"] == "u4/why" and plain["source"] == "popular"
    assert worker.get("/recommendations/u4/why?n=2")["user"] == "u4/why"
    assert why(worker, "u4/why", "i4")["user"] == "u4/why"


@pytest.mark.parametrize(
    "query, status, detail",
    [
        ("item=nowhere", 404, "does not hold item 'nowhere'"),
        ("item=", 400, "item must be text"),
        ("item=i4&n=0", 400, "n must be a whole number from 1 to 100"),
        ("item=i4&fallback=none", 400, "unknown parameter 'fallback'"),
        ("item=i4&item=i5", 400, "item is given more than once"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    worker: Worker, query: str, status: int, detail: str
) -> None:
    answer = worker.app.test_client().get(f"/recommendations/u4/why?{query}")
    assert answer.status_code == status
    assert detail in answer.get_json()["detail"]


def test_a_generation_without_factors_says_what_to_do(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, namespace)
    with answering(server, namespace) as app:
        answer = app.test_client().get("/recommendations/u1/why?item=i1")
    assert answer.status_code == 404
    assert "refresh with --live" in answer.get_json()["detail"]


def test_while_the_cache_is_away_nobody_can_tell() -> None:
    with Server() as away:
        with redis.Redis.from_url(away.url) as client:
            publish_by_hand(client, SPACE)
        with answering(away, SPACE) as app:
            away.kill()
            answer = app.test_client().get("/recommendations/u1/why?item=i1")
    assert answer.status_code == 503
